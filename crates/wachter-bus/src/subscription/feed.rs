//! How events come to a subscription: from the writer while it keeps up, from the database else.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::shared::Shared;
use crate::hub::Hub;
use crate::stored::{Raw, Stored};
use crate::{ReadError, Seq, lock};

/// Rows that one look at the database goes through, so that others get their turn.
const PAGE_ROWS: i64 = 4_096;
/// Bytes of bodies that one look takes in.
const PAGE_BYTES: usize = 1 << 20;
/// How long a failed look is not repeated: what is wrong with a disk is so for a while, mostly.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What one look at the database gave.
struct Page {
    found: Vec<(Seq, Option<Stored>)>,
    events: Vec<Stored>,
    /// Up to where was looked, if it was.
    to: Option<Seq>,
    damaged: Vec<Seq>,
}

impl Shared {
    /// Takes in what was just committed, if it keeps up.
    pub(crate) fn offer(&self, events: &[Stored]) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        let mut state = lock(&self.state);
        if !state.live || last.seq <= state.position {
            return;
        }
        // A gap means that the reader has not come as far as was thought.
        if first.seq.get() > state.position.get() + 1 {
            state.live = false;
            return;
        }
        for stored in events {
            if state.room() == 0 {
                state.live = false;
                break;
            }
            state.look_at(stored);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Has the reader fetch what is missing, or what follows the position.
    pub(super) fn read(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        missing: Vec<Seq>,
        room: usize,
    ) -> Result<(), ReadError> {
        let (shared, hub_of_task) = (Arc::clone(self), Arc::clone(hub));
        let after = lock(&self.state).position;
        let asked = hub.reader.run(move |connection| {
            let page = shared.load(connection, after, &missing, room);
            shared.take_in(&hub_of_task, after, page);
        });
        if asked { Ok(()) } else { Err(ReadError::Closed) }
    }

    fn load(
        &self,
        connection: &Connection,
        after: Seq,
        missing: &[Seq],
        room: usize,
    ) -> rusqlite::Result<Page> {
        let mut page =
            Page { found: Vec::new(), events: Vec::new(), to: None, damaged: Vec::new() };
        for seq in missing {
            let raw = Raw::find(connection, *seq)?;
            let sound = match raw.as_ref().and_then(Raw::read) {
                Some(stored) => Some(stored),
                None => crate::dead_letters::body_of(connection, self.id, *seq)?,
            };
            if raw.is_some() && sound.is_none() {
                page.damaged.push(*seq);
            }
            page.found.push((*seq, sound));
        }
        if room == 0 {
            return Ok(page);
        }
        let filter = lock(&self.state).options.filter.clone();
        let mut select = connection.prepare_cached(
            "SELECT seq, at, topic, seal, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = select.query((after.to_sql(), PAGE_ROWS))?;
        let (mut seen, mut bytes) = (after, 0);
        while let Some(row) = rows.next()? {
            seen = Seq::from_sql(row.get(0)?);
            let meant = row.get_ref(2)?.as_str().is_ok_and(|topic| filter.may_want(topic));
            if meant {
                let raw = Raw::from_row(row)?;
                match raw.read() {
                    Some(stored) => {
                        bytes += stored.bytes;
                        page.events.push(stored);
                    }
                    None => page.damaged.push(seen),
                }
                if page.events.len() >= room || bytes >= PAGE_BYTES {
                    break;
                }
            }
        }
        page.to = Some(seen);
        Ok(page)
    }

    fn take_in(&self, hub: &Hub, after: Seq, page: rusqlite::Result<Page>) {
        let mut state = lock(&self.state);
        state.reading = false;
        state.read_after = page.is_err().then(|| hub.clock.elapsed() + READ_PAUSE);
        match page {
            Ok(page) => {
                for (seq, stored) in page.found {
                    state.supply(seq, stored);
                }
                // Something else moved the position meanwhile: a reset, or the last member left.
                if let Some(to) = page.to.filter(|_| state.position == after) {
                    for stored in &page.events {
                        state.look_at(stored);
                    }
                    state.pass(to);
                    state.lost += page.damaged.len() as u64;
                    state.live = state.members > 0 && state.position >= hub.last();
                }
                drop(state);
                hub.damaged(&page.damaged);
            }
            Err(error) => {
                drop(state);
                hub.read_failed(&error);
            }
        }
        self.wake.notify_one();
    }
}
