use std::sync::Arc;

use rusqlite::Connection;

use crate::dedup::Window;
use crate::hub::Hub;
use crate::keys::{KeyChange, KeyConflict, KeyEvent};
use crate::publish::Prepared;
use crate::stored::Stored;
use crate::subscription::{CursorChange, Shared};
use crate::writer::Head;
use crate::{Acknowledged, Published, Seq, WriteError};

/// One thing to be written in a group with others.
///
/// A group that fails is rolled back whole, and may be tried again job by job: `apply` starts over
/// each time. What it changes in memory it changes in [`finish`](Job::finish).
pub(crate) trait Job: Send {
    /// Bytes of bodies that it brings.
    fn bytes(&self) -> usize {
        0
    }

    /// Events that it brings.
    fn events(&self) -> usize {
        0
    }

    /// Writes. An error here is the disk's or the database's and fails the group; what concerns the
    /// job alone is kept for `finish`.
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()>;

    /// Tells whoever waits.
    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>);
}

/// A subscription whose place a transaction changes.
pub(crate) struct Touched {
    pub(crate) subscription: Arc<Shared>,
    change: CursorChange,
    /// What was written: the version and the position of the cursor.
    written: Option<(u64, Seq)>,
}

impl Touched {
    /// The transaction is on disk.
    pub(crate) fn committed(&self) {
        if let Some((version, position)) = self.written {
            self.subscription.written(version, position);
        }
    }
}

/// The group's transaction, with what the writer knows.
pub(crate) struct Transaction<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) hub: &'a Arc<Hub>,
    pub(crate) head: &'a mut Head,
    pub(crate) window: &'a mut Window,
    /// Milliseconds since 1970; no less than for the event before.
    pub(crate) now: i64,
    pub(crate) appended: Vec<Stored>,
    pub(crate) touched: Vec<Touched>,
    pub(crate) keys: Vec<KeyEvent>,
    pub(crate) repeats: u64,
}

impl Transaction<'_> {
    /// Appends an event, unless it is there already.
    pub(crate) fn append(&mut self, prepared: &Prepared) -> rusqlite::Result<Published> {
        if let Some(seq) = self.window.find(self.connection, &prepared.identity)?
            && crate::publish::is_repeat(self.connection, seq, &prepared.event)?
        {
            self.repeats += 1;
            return Ok(Published { seq, duplicate: true });
        }
        let seq = Seq::new(self.head.next);
        let seal = self.head.extend(seq, self.now, prepared);
        self.connection
            .prepare_cached(
                "INSERT INTO events (seq, at, topic, correlation, causation, seal, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                seq.to_sql(),
                self.now,
                prepared.event.event_type(),
                prepared.correlation,
                prepared.causation,
                seal.to_bytes(),
                &*prepared.body,
            ))?;
        self.window.remember(prepared.identity, seq, self.now);
        self.appended.push(Stored {
            seq,
            at: crate::clock::from_millis(self.now),
            event: Arc::clone(&prepared.event),
            bytes: prepared.body.len(),
        });
        Ok(Published { seq, duplicate: false })
    }

    /// Appends events and changes keys: all of them or, where a key is not as is expected, none. What
    /// became of each is in `done` then.
    pub(crate) fn put(
        &mut self,
        events: &[Prepared],
        keys: &[KeyChange],
        done: &mut Acknowledged,
    ) -> rusqlite::Result<Option<KeyConflict>> {
        done.events.clear();
        done.revisions.clear();
        if let Some(conflict) = self.first_conflict(keys)? {
            return Ok(Some(conflict));
        }
        for prepared in events {
            done.events.push(self.append(prepared)?);
        }
        for change in keys {
            done.revisions.push(self.change_key(change)?);
        }
        Ok(None)
    }

    /// Writes the cursors of those that were touched.
    pub(crate) fn write_cursors(&mut self) -> rusqlite::Result<()> {
        let offered = self.hub.offered();
        for touched in &mut self.touched {
            let (cursor, waits, version) = touched.subscription.place(offered, &touched.change);
            let id = touched.subscription.id;
            crate::writer::write_cursor(self.connection, id, &cursor, &waits)?;
            touched.written = Some((version, cursor.position));
        }
        Ok(())
    }

    /// Has the cursor of a subscription written at the end of the transaction, with what is put into
    /// the change.
    pub(crate) fn touch(&mut self, subscription: &Arc<Shared>) -> &mut CursorChange {
        let known =
            self.touched.iter().position(|one| Arc::ptr_eq(&one.subscription, subscription));
        let place = known.unwrap_or_else(|| {
            let subscription = Arc::clone(subscription);
            self.touched.push(Touched {
                subscription,
                change: CursorChange::default(),
                written: None,
            });
            self.touched.len() - 1
        });
        &mut self.touched[place].change
    }
}
