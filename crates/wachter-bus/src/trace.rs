//! Finds what led to what, by the causes that events name.

use rusqlite::{Connection, params};

use crate::stored::{Raw, Stored};
use crate::{Bus, ReadError, short_id};

/// An event and what followed from it, however deep: as a list, since a tree that grows by itself, as
/// where an agent wakes itself, would be deeper than a program can go.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Causes stand before their effects, effects of one cause in the journal's order. The first is the
    /// event that was asked about.
    pub events: Vec<Traced>,
    /// Whether these are all.
    pub complete: bool,
}

/// One event of a [`Trace`].
#[derive(Clone, Debug)]
pub struct Traced {
    /// The event.
    pub stored: Stored,
    /// The place of its cause in the list; none for the first.
    pub cause: Option<usize>,
}

/// Events that a trace shows at most.
const MOST_TRACED: usize = 10_000;

/// Effects of one event that a trace shows at most.
const MOST_EFFECTS: u32 = 1_000;

impl Bus {
    /// What followed from an event, as `causationid` tells it: about 10,000 events at most.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn trace(&self, root: Stored) -> Result<Trace, ReadError> {
        self.hub()
            .reader
            .ask(move |connection| {
                let mut trace =
                    Trace { events: vec![Traced { stored: root, cause: None }], complete: true };
                let mut next = 0;
                while next < trace.events.len() {
                    if trace.events.len() >= MOST_TRACED {
                        trace.complete = false;
                        break;
                    }
                    let cause = trace.events[next].stored.clone();
                    let effects = effects(connection, &cause)?;
                    trace.complete &= effects.len() < MOST_EFFECTS as usize;
                    let traced = |stored| Traced { stored, cause: Some(next) };
                    trace.events.extend(effects.into_iter().map(traced));
                    next += 1;
                }
                Ok(trace)
            })
            .await
    }
}

fn effects(connection: &Connection, cause: &Stored) -> Result<Vec<Stored>, ReadError> {
    let id = cause.event.id().as_str();
    let mut select = connection.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events
         WHERE causation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![short_id::short(id), cause.seq.to_sql(), MOST_EFFECTS])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = Raw::from_row(row)?.read();
        found.extend(stored.filter(|stored| stored.event.causation_id() == Some(id)));
    }
    Ok(found)
}
