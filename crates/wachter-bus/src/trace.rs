//! Finds what led to what, by the causes that events name.

use rusqlite::{Connection, params};

use crate::stored::{Raw, Stored};
use crate::{Bus, ReadError, short_id};

/// An event and what followed from it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The event.
    pub stored: Stored,
    /// What was caused by it, in the journal's order.
    pub effects: Vec<Trace>,
}

/// Events that a trace shows at most.
const MOST_TRACED: usize = 10_000;

impl Bus {
    /// What followed from an event, as `causationid` tells it: 10,000 events at most.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn trace(&self, root: Stored) -> Result<Trace, ReadError> {
        self.hub()
            .reader
            .ask(move |connection| {
                let mut found = vec![(root, usize::MAX)];
                let mut next = 0;
                while next < found.len() && found.len() < MOST_TRACED {
                    let cause = found[next].0.clone();
                    for effect in effects(connection, &cause)? {
                        found.push((effect, next));
                    }
                    next += 1;
                }
                Ok(grow(found))
            })
            .await
    }
}

/// Makes the tree of events that each name their cause's place in the list, which is before theirs.
fn grow(found: Vec<(Stored, usize)>) -> Trace {
    let mut trees: Vec<_> = found
        .into_iter()
        .map(|(stored, cause)| (Trace { stored, effects: Vec::new() }, cause))
        .collect();
    while trees.len() > 1 {
        let Some((mut effect, cause)) = trees.pop() else { break };
        effect.effects.reverse();
        trees[cause].0.effects.push(effect);
    }
    let (mut root, _) = trees.pop().expect("the root was put in first");
    root.effects.reverse();
    root
}

fn effects(connection: &Connection, cause: &Stored) -> Result<Vec<Stored>, ReadError> {
    let id = cause.event.id().as_str();
    let mut select = connection.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events
         WHERE causation = ?1 AND seq > ?2 ORDER BY seq LIMIT 1000",
    )?;
    let mut rows = select.query(params![short_id::short(id), cause.seq.to_sql()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = Raw::from_row(row)?.read();
        found.extend(stored.filter(|stored| stored.event.causation_id() == Some(id)));
    }
    Ok(found)
}
