//! How events come to a subscription: from the writer while it keeps up, from the database else.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::EventFilter;
use super::shared::Shared;
use crate::failures::Attempt;
use crate::hub::Hub;
use crate::stored::{Raw, Stored};
use crate::{ReadError, Seq, lock};

/// Rows that one look at the database goes through, so that others get their turn.
const PAGE_ROWS: i64 = 4_096;
/// Bytes of bodies that one look takes in.
const PAGE_BYTES: usize = 1 << 20;
/// How long a failed look is not repeated: what is wrong with a disk is so for a while, mostly.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// What one look at the database is for.
struct Look {
    after: Seq,
    filter: EventFilter,
    /// Which options the filter is of.
    declared: u64,
    missing: Vec<Seq>,
    room: usize,
}

/// What one look at the database gave.
struct Page {
    found: Vec<(Seq, Option<Stored>)>,
    events: Vec<Stored>,
    /// Up to where was looked, if it was.
    to: Option<Seq>,
    /// Whether that was the end.
    ended: bool,
    damaged: Vec<Seq>,
}

impl Shared {
    /// Takes in what was just committed and its topics mean, if it keeps up. All up to `offered` was
    /// offered before.
    pub(crate) fn offer<'a>(&self, events: impl Iterator<Item = &'a Stored>, offered: Seq) {
        let more = lock(&self.state).offer(events, offered);
        if more {
            self.wake.notify_one();
        }
    }

    /// Has the reader fetch what is missing, or what follows the position.
    pub(super) fn read(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        missing: Vec<Seq>,
        room: usize,
    ) -> Result<(), ReadError> {
        let (shared, hub_of_task) = (Arc::clone(self), Arc::clone(hub));
        let look = {
            let state = lock(&self.state);
            let filter = state.options.filter.clone();
            Look { after: state.position, filter, declared: state.declared, missing, room }
        };
        let asked = hub.reader.run(move |connection| {
            // Told before looking: what was committed by now is found, and if nothing is there, there
            // is nothing up to here.
            let last = hub_of_task.last();
            let page = shared.load(connection, &look, last);
            shared.take_in(&hub_of_task, &look, page);
        });
        if asked { Ok(()) } else { Err(ReadError::Closed) }
    }

    fn load(&self, connection: &Connection, look: &Look, last: Seq) -> rusqlite::Result<Page> {
        let (found, events, damaged) = (Vec::new(), Vec::new(), Vec::new());
        let mut page = Page { found, events, to: None, ended: false, damaged };
        for seq in &look.missing {
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
        if look.room == 0 {
            return Ok(page);
        }
        let mut select = connection.prepare_cached(
            "SELECT seq, at, topic, seal, body FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = select.query((look.after.to_sql(), PAGE_ROWS))?;
        let (mut seen, mut bytes, mut looked_at) = (look.after, 0, 0);
        let mut more = false;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            seen = Seq::from_sql(row.get(0)?);
            let meant = row.get_ref(2)?.as_str().is_ok_and(|topic| look.filter.may_want(topic));
            if meant {
                let raw = Raw::from_row(row)?;
                match raw.read() {
                    Some(stored) => {
                        bytes += stored.bytes;
                        page.events.push(stored);
                    }
                    None => page.damaged.push(seen),
                }
                if page.events.len() >= look.room || bytes >= PAGE_BYTES {
                    more = true;
                    break;
                }
            }
        }
        // Where rows at the end were lost, none follows, and looking for them again would find none.
        more |= looked_at >= PAGE_ROWS;
        page.to = Some(if more { seen } else { seen.max(last) });
        page.ended = !more;
        Ok(page)
    }

    fn take_in(&self, hub: &Hub, look: &Look, page: rusqlite::Result<Page>) {
        let mut state = lock(&self.state);
        state.reading = false;
        state.read_after = page.is_err().then(|| hub.clock.elapsed() + READ_PAUSE);
        match page {
            Ok(page) => {
                for (seq, stored) in page.found {
                    state.supply(seq, stored);
                }
                // Something else may have moved the position meanwhile: a reset, or the last member left.
                // Or other options came, and what they mean was not looked for.
                let current = state.position == look.after && state.declared == look.declared;
                let to = page.to.filter(|_| current);
                if let Some(to) = to {
                    for stored in &page.events {
                        state.look_at(stored);
                    }
                    state.pass(to);
                    state.lost += page.damaged.len() as u64;
                }
                state.join(to.filter(|_| page.ended));
                if to.is_some() {
                    state.live |= state.members > 0 && state.position >= hub.last();
                }
                drop(state);
                hub.succeeded(Attempt::Feed(self.id));
                hub.damaged(&page.damaged);
            }
            Err(error) => {
                state.join(None);
                drop(state);
                hub.read_failed(Attempt::Feed(self.id), &error);
                let state = lock(&self.state);
                let wanted = state.members > 0 && !state.removed;
                drop(state);
                if !wanted {
                    // Nobody would ask again.
                    hub.feeds_nobody(self.id);
                }
            }
        }
        self.wake.notify_one();
    }
}
