//! The one thread that writes.
//!
//! It takes what waits, up to the bounds of a group, applies all of it in one transaction, and answers
//! after the commit: one `fsync` for the whole group. While the disk works, the next group gathers.
//! What is due besides (closing a segment, dropping a few old rows, keys that ran out) goes into the
//! same transaction, so it costs publishers no further `fsync`.

mod group;
mod head;
mod upkeep;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::connect::Owner;
use crate::dedup::Window;
use crate::hub::Hub;
use crate::job::Job;
use crate::queue::{Message, Taken};
use crate::subscription::{Cursor, Waits};
use crate::{Options, Seq, WriteError};
pub(crate) use head::{Head, Segment};

/// How often the pages that SQLite keeps are given back. Those that are in use are read again, which
/// costs nothing that can be measured; the others would be kept for as long as the node runs.
const GIVE_BACK: Duration = Duration::from_mins(1);

/// What the thread owns.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) hub: Arc<Hub>,
    pub(crate) head: Head,
    pub(crate) window: Window,
    pub(crate) options: Options,
    /// Events that retention is dropping, up to the second.
    pub(crate) dropping: Option<(Seq, Seq)>,
    pub(crate) failing: bool,
    /// Holds the folder as long as the thread lives.
    pub(crate) _owner: Owner,
}

impl Writer {
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        thread::Builder::new().name("bus-writer".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        let _end = End(Arc::clone(&self.hub));
        let mut waiting = VecDeque::new();
        let mut looked_after = Instant::now();
        let mut gave_back = Instant::now();
        loop {
            if waiting.is_empty() {
                // While old events are being dropped there is always something to do.
                let patience = match self.dropping {
                    Some(_) if !self.failing => Duration::ZERO,
                    _ => self.options.upkeep.saturating_sub(looked_after.elapsed()),
                };
                match self.hub.queue.take(&mut waiting, patience) {
                    Taken::Messages => {}
                    Taken::Nothing if self.dropping.is_some() => self.run_group(Vec::new()),
                    Taken::Nothing => {}
                    Taken::Closed => break,
                }
            }
            let (jobs, answers) = self.gather(&mut waiting);
            if !jobs.is_empty() {
                self.run_group(jobs);
            }
            if looked_after.elapsed() >= self.options.upkeep || !answers.is_empty() {
                looked_after = Instant::now();
                self.look_after();
                if gave_back.elapsed() >= GIVE_BACK {
                    gave_back = Instant::now();
                    // Without it the pages stay; nothing else depends on it.
                    let _ = self.connection.execute_batch("PRAGMA shrink_memory");
                }
                for answer in answers {
                    while self.dropping.is_some() && !self.failing {
                        self.run_group(Vec::new());
                    }
                    let _ = answer.send(());
                }
            }
        }
        self.close();
    }

    /// Takes from the front what makes one group.
    fn gather(
        &mut self,
        waiting: &mut VecDeque<Message>,
    ) -> (Vec<Box<dyn Job>>, Vec<oneshot::Sender<()>>) {
        let (mut jobs, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(message) = waiting.pop_front() {
            match message {
                Message::Job(job) => {
                    bytes += job.bytes();
                    jobs.push(job);
                }
                Message::Upkeep(answer) => {
                    // It asks about all that was handed in before it.
                    answers.push(answer);
                    break;
                }
                Message::Configure(limits, answer) => {
                    self.configure(*limits);
                    answers.push(answer);
                    break;
                }
            }
            if jobs.len() >= self.options.group.jobs || bytes >= self.options.group.bytes {
                break;
            }
        }
        (jobs, answers)
    }

    /// The last commit: where all subscriptions are, and that the end was a proper one.
    fn close(&mut self) {
        self.flush(true);
        let closed = self
            .transact(|transaction| {
                transaction.head.store(transaction.connection)?;
                set_fact(transaction.connection, "clean", 1)
            })
            .is_ok();
        if closed {
            // So that what is left is one file; the log is taken over at the next start otherwise.
            let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        self.hub.reader.stop();
    }
}

/// However the thread ends, nobody is to wait for it for ever.
struct End(Arc<Hub>);

impl Drop for End {
    fn drop(&mut self) {
        for message in self.0.queue.abandon() {
            if let Message::Job(job) = message {
                job.finish(Err(&WriteError::Closed));
            }
        }
        self.0.close();
    }
}

/// Writes where a subscription is, and what of it waits.
pub(crate) fn write_cursor(
    connection: &Connection,
    id: i64,
    cursor: &Cursor,
    waits: &Waits,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE subscriptions SET cursor = ?2, floor = ?3, waits = ?4 WHERE id = ?1",
        )?
        .execute((id, cursor.to_bytes(), cursor.floor().to_sql(), waits.to_bytes()))?;
    Ok(())
}

pub(crate) fn set_fact(
    connection: &Connection,
    name: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)")?
        .execute((name, value))?;
    Ok(())
}
