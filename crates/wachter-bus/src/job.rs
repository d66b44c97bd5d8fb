use std::sync::Arc;

use rusqlite::Connection;

use crate::dedup::Window;
use crate::hub::Hub;
use crate::keys::KeyEvent;
use crate::publish::Prepared;
use crate::stored::Stored;
use crate::subscription::Shared;
use crate::writer::Head;
use crate::{Published, Seq, WriteError};

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

/// The group's transaction, with what the writer knows.
pub(crate) struct Transaction<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) hub: &'a Arc<Hub>,
    pub(crate) head: &'a mut Head,
    pub(crate) window: &'a mut Window,
    /// Milliseconds since 1970; no less than for the event before.
    pub(crate) now: i64,
    pub(crate) appended: Vec<Stored>,
    pub(crate) touched: Vec<Arc<Shared>>,
    /// Subscriptions that were set to another place: what they settled meanwhile counts no more.
    pub(crate) placed: Vec<i64>,
    /// Events that come back from the dead letters, by subscription.
    pub(crate) revived: Vec<(i64, Seq)>,
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

    /// Writes the cursors of those that were touched.
    pub(crate) fn write_cursors(&self) -> rusqlite::Result<()> {
        for subscription in &self.touched {
            let id = subscription.id;
            if !self.placed.contains(&id) {
                let revived = self.revived.iter().filter(|(of, _)| *of == id).map(|(_, seq)| *seq);
                let cursor = subscription.cursor_with(revived);
                crate::writer::write_cursor(self.connection, id, &cursor)?;
            }
        }
        Ok(())
    }

    /// Has the cursor of a subscription written at the end of the transaction.
    pub(crate) fn touch(&mut self, subscription: &Arc<Shared>) {
        if !self.touched.iter().any(|other| Arc::ptr_eq(other, subscription)) {
            self.touched.push(Arc::clone(subscription));
        }
    }
}
