//! What is due by itself: segments, retention, old identities, keys that ran out, cursors that moved
//! without an acknowledgement.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension as _, params};

use super::{Segment, Writer};
use crate::checkpoint::{self, Checkpoint};
use crate::job::Transaction;
use crate::scrub::Scrub;
use crate::{Limits, Notice, Options, Seq, SeqRange, clock, lock};

impl Writer {
    /// Does what is due. A failure is told by the transaction, and tried again next time.
    pub(super) fn look_after(&mut self) {
        if self.window.has_aged(clock::to_millis(self.hub.clock.now())) {
            self.freeze();
        }
        self.flush(false);
        let now = clock::to_millis(self.hub.clock.now());
        let due: rusqlite::Result<Option<i64>> = self
            .connection
            .prepare_cached("SELECT 1 FROM keys WHERE expires <= ?1 LIMIT 1")
            .and_then(|mut select| select.query_row([now], |row| row.get(0)).optional());
        if let Ok(Some(_)) = due {
            let mut more = true;
            while more {
                let mut count = 0;
                let done = self.transact(|transaction| {
                    count = transaction.expire_keys()?;
                    Ok(())
                });
                more = done.is_ok() && count > 0;
            }
        }
        let segment = &self.head.segment;
        let age = now.saturating_sub(segment.opened);
        if segment.count > 0 && age >= clock::millis(self.options.segment.age) {
            // Any transaction closes it.
            let _ = self.transact(|_| Ok(()));
        }
        self.sign_one();
        Scrub::step(&self.hub, self.options.scrub_every);
        if self.dropping.is_none() {
            self.choose_what_to_drop();
        }
    }

    /// Goes by other limits from now on.
    pub(super) fn configure(&mut self, limits: Limits) {
        let Limits { dedup, segment, retention, .. } = limits;
        (self.options.segment, self.options.retention) = (segment, retention);
        self.options.dedup = dedup;
        self.window.limit(dedup);
        // A window that was made smaller lets go now, and not when the next generation is full.
        if self.window.has_excess() {
            self.freeze();
        }
    }

    /// Stores the newest identities as a generation.
    pub(super) fn freeze(&mut self) {
        let now = clock::to_millis(self.hub.clock.now());
        let mut frozen = None;
        let window = &self.window;
        let connection = &self.connection;
        let outcome = connection
            .execute_batch("BEGIN IMMEDIATE")
            .and_then(|()| window.freeze(connection, now))
            .and_then(|made| {
                frozen = Some(made);
                connection.execute_batch("COMMIT")
            });
        match (outcome, frozen) {
            (Ok(()), Some(frozen)) => self.window.frozen(frozen),
            // The table grows until it works; the next transaction tells the failure.
            _ if !self.connection.is_autocommit() => {
                let _ = self.connection.execute_batch("ROLLBACK");
            }
            _ => {}
        }
    }

    /// Writes where the journal ends, and cursors that moved over events which nobody had to settle,
    /// and interruptions. What could not be written is written the next time.
    pub(super) fn flush(&mut self, last: bool) {
        let grown = self.head.next - 1 != self.hub.stored_last.load(Ordering::Relaxed);
        let offered = self.hub.offered();
        let moved: Vec<_> = lock(&self.hub.subscriptions)
            .values()
            .filter(|subscription| subscription.is_unwritten(offered, last))
            .cloned()
            .collect();
        if moved.is_empty() && !grown && !self.failing {
            return;
        }
        let written = self.transact(|transaction| {
            for subscription in &moved {
                transaction.touch(subscription);
            }
            transaction.head.store(transaction.connection)
        });
        if written.is_ok() {
            self.hub.stored_last.store(self.head.next - 1, Ordering::Relaxed);
        }
    }

    /// Signs a checkpoint that could not be signed when it was made.
    fn sign_one(&mut self) {
        let Some(signer) = self.options.signer.clone() else { return };
        let journal = self.hub.journal.clone();
        let Ok(Some(unsigned)) = checkpoint::unsigned(&self.connection, &journal) else { return };
        match signer.sign(unsigned.text().as_bytes()) {
            Ok(signature) => {
                let _ = self.transact(|transaction| {
                    transaction
                        .connection
                        .prepare_cached("UPDATE checkpoints SET signature = ?2 WHERE first = ?1")?
                        .execute(params![unsigned.first.to_sql(), signature])
                        .map(drop)
                });
            }
            Err(reason) => self.hub.notice(Notice::Unsigned { reason }),
        }
    }

    /// Finds the oldest segment that is past a bound, if nobody needs it any more.
    fn choose_what_to_drop(&mut self) {
        let retention = self.options.retention;
        let now = clock::to_millis(self.hub.clock.now());
        let oldest: rusqlite::Result<Option<(i64, i64, i64, i64)>> =
            self.connection.prepare_cached(OLDEST).and_then(|mut select| {
                select
                    .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                    .optional()
            });
        let Ok(Some((first, last, closed, bytes))) = oldest else { return };
        let bytes = bytes.cast_unsigned() + self.head.segment.bytes;
        let too_old =
            retention.age.is_some_and(|age| now.saturating_sub(closed) > clock::millis(age));
        let too_large = retention.bytes.is_some_and(|limit| bytes > limit);
        if !too_old && !too_large {
            return;
        }
        let (first, last) = (Seq::from_sql(first), Seq::from_sql(last));
        let offered = self.hub.offered();
        let needing: Vec<_> = lock(&self.hub.subscriptions)
            .values()
            .filter(|subscription| subscription.floor(offered) < last)
            .cloned()
            .collect();
        let held = needing.iter().any(|subscription| {
            subscription
                .lag_limit()
                .is_none_or(|limit| now.saturating_sub(closed) <= clock::millis(limit))
        });
        if held {
            return;
        }
        // What is dropped must still be told from a new event.
        if !self.window.covers(last) {
            self.freeze();
            if !self.window.covers(last) {
                return;
            }
        }
        let losses: Vec<_> = needing
            .iter()
            .filter(|subscription| subscription.would_lose(last, offered) > 0)
            .map(|subscription| (Arc::clone(subscription), subscription.floor(offered)))
            .collect();
        let marked = self.transact(|transaction| {
            transaction
                .connection
                .prepare_cached("UPDATE checkpoints SET dropped = ?2 WHERE first = ?1")?
                .execute([first.to_sql(), now])?;
            for (subscription, from) in &losses {
                let range = SeqRange::new(Seq::new(from.get() + 1), last);
                let event = crate::own_events::lost(transaction, &subscription.name, range);
                transaction.append(&event)?;
            }
            Ok(())
        });
        if marked.is_err() {
            return;
        }
        for subscription in needing {
            subscription.give_up(last, offered);
        }
        for (subscription, from) in losses {
            let range = SeqRange::new(Seq::new(from.get() + 1), last);
            self.hub.notice(Notice::Lost { subscription: subscription.name.clone(), range });
        }
        self.dropping = Some((first, last));
    }
}

/// The oldest segment that is kept, and the bytes of all that are.
const OLDEST: &str = "SELECT first, last, at,
        (SELECT sum(bytes) FROM checkpoints WHERE dropped IS NULL)
    FROM checkpoints WHERE dropped IS NULL ORDER BY first LIMIT 1";

/// Closes the open segment if it has reached a bound.
pub(super) fn close_segment(
    transaction: &mut Transaction<'_>,
    options: &Options,
) -> rusqlite::Result<()> {
    let head = &mut *transaction.head;
    let segment = &head.segment;
    let limits = options.segment;
    let age = transaction.now.saturating_sub(segment.opened);
    let reached = segment.count >= limits.events
        || segment.bytes >= limits.bytes
        || age >= clock::millis(limits.age);
    if segment.count == 0 || !reached {
        return Ok(());
    }
    let mut checkpoint = Checkpoint {
        journal: transaction.hub.journal.clone(),
        first: Seq::new(segment.first),
        last: Seq::new(head.next - 1),
        count: segment.count,
        at: clock::from_millis(transaction.now),
        previous: segment.previous,
        chain: head.chain,
        signature: None,
        dropped: None,
    };
    if let Some(signer) = &options.signer {
        match signer.sign(checkpoint.text().as_bytes()) {
            Ok(signature) => checkpoint.signature = Some(signature),
            Err(reason) => transaction.hub.notice(Notice::Unsigned { reason }),
        }
    }
    checkpoint.store(transaction.connection, segment.bytes)?;
    head.segment = Segment::after(head.next, head.chain);
    Ok(())
}

/// Deletes a few of the events that are being dropped: as many again as were written, and the step
/// at most, so that what is kept does not grow and nobody waits long. Returns how many, and up to
/// where.
pub(super) fn drop_some(
    transaction: &mut Transaction<'_>,
    options: &Options,
    dropping: &mut Option<(Seq, Seq)>,
) -> rusqlite::Result<Option<(usize, Seq)>> {
    let Some((first, last)) = *dropping else { return Ok(None) };
    let written = transaction.appended.len() as u64;
    let most = u64::from(options.retention.step.max(1));
    let count = if written == 0 { most } else { (2 * written).min(most).max(16) };
    let to = last.min(Seq::new(first.get() + count - 1));
    let gone = transaction
        .connection
        .prepare_cached("DELETE FROM events WHERE seq BETWEEN ?1 AND ?2")?
        .execute([first.to_sql(), to.to_sql()])?;
    *dropping = (to < last).then(|| (Seq::new(to.get() + 1), last));
    Ok(Some((gone, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints of what was dropped stay for ever, and these are asked every second.
    #[test]
    fn what_is_asked_again_and_again_passes_over_what_was_dropped() {
        let check = |query: &str, steps: &[&str]| {
            let plan = crate::schema::plan_of(query);
            let scans = plan.iter().filter(|step| step.contains("checkpoints"));
            let indices = scans.map(|step| step.split_once("USING ").map(|(_, index)| index));
            let expected = steps.iter().copied().map(Some).collect::<Vec<_>>();
            assert_eq!(indices.collect::<Vec<_>>(), expected, "{plan:?}");
        };
        check(OLDEST, &["COVERING INDEX checkpoints_kept"; 2]);
        check(&checkpoint::next_unsigned(), &["INDEX checkpoints_unsigned"]);
    }
}
