use std::sync::atomic::Ordering;

use super::Writer;
use crate::failures::Attempt;
use crate::job::{Job, Touched, Transaction};
use crate::{Notice, Seq, WriteError, clock, lock};

impl Writer {
    /// Commits `jobs` together, with what is due besides. An empty group does only the latter.
    pub(super) fn run_group(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let events: usize = jobs.iter().map(|job| job.events()).sum();
        if self.window.is_full(events) {
            self.freeze();
        }
        let outcome = self.transact(|transaction| {
            for job in &mut jobs {
                job.apply(transaction)?;
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {
                for job in jobs {
                    job.finish(Ok(()));
                }
            }
            // A fault that belongs to one of them must not be everybody's.
            Err(WriteError::Other(_)) if jobs.len() > 1 => {
                for job in jobs {
                    self.run_group(vec![job]);
                }
            }
            Err(error) => {
                for job in jobs {
                    job.finish(Err(&error));
                }
            }
        }
    }

    /// Runs `work` in a transaction and commits it. If that fails, all is as before, in memory too.
    pub(super) fn transact(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), WriteError> {
        let before = self.head.clone();
        let dropping = self.dropping;
        let outcome = self.attempt(work);
        match &outcome {
            Ok(()) => {
                self.failing = false;
                self.hub.succeeded(Attempt::Write);
            }
            Err(error) => {
                // Some failures have ended the transaction already.
                if !self.connection.is_autocommit() {
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                self.head = before;
                self.dropping = dropping;
                self.window.roll_back();
                lock(&self.hub.failures).failed(Attempt::Write, error.clone());
                if !std::mem::replace(&mut self.failing, true) {
                    self.hub.notice(Notice::Failing(error.clone()));
                }
            }
        }
        outcome
    }

    fn attempt(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), WriteError> {
        let reader = &self.hub.reader;
        let fail = |error: rusqlite::Error| {
            reader.note_damage(&error);
            WriteError::from(&error)
        };
        let connection = &self.connection;
        connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(fail)?;
        let revision = self.head.revision;
        let now = clock::to_millis(self.hub.clock.now()).max(self.head.at);
        let mut transaction = Transaction {
            connection,
            hub: &self.hub,
            head: &mut self.head,
            window: &mut self.window,
            now,
            appended: Vec::new(),
            touched: Vec::new(),
            keys: Vec::new(),
            repeats: 0,
        };
        work(&mut transaction).map_err(fail)?;
        transaction.write_cursors().map_err(fail)?;
        if transaction.head.revision != revision {
            transaction.head.store_revision(connection).map_err(fail)?;
        }
        super::upkeep::close_segment(&mut transaction, &self.options).map_err(fail)?;
        let dropped = super::upkeep::drop_some(&mut transaction, &self.options, &mut self.dropping)
            .map_err(fail)?;
        let Transaction { appended, touched, keys, repeats, .. } = transaction;
        connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map_err(fail)?;
        self.window.commit();
        let counters = &self.hub.counters;
        counters.commits.fetch_add(1, Ordering::Relaxed);
        if let Some((count, to)) = dropped {
            counters.dropped.fetch_add(count as u64, Ordering::Relaxed);
            self.hub.dropped_before(Seq::new(to.get() + 1));
        }
        counters.duplicates.fetch_add(repeats, Ordering::Relaxed);
        counters.identities.store(self.window.len() as u64, Ordering::Relaxed);
        counters.identity_bytes.store(self.window.memory() as u64, Ordering::Relaxed);
        touched.iter().for_each(Touched::committed);
        self.hub.committed(&appended);
        for event in keys {
            // Nobody has to watch.
            let _ = self.hub.key_events.send(event);
        }
        Ok(())
    }
}
