//! Events that were given up, with the reason and a copy: retention may drop the original.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;
use wachter_model::Event;

use crate::chain::Seal;
use crate::hub::Hub;
use crate::job::{Job, Transaction};
use crate::stored::Stored;
use crate::subscription::Shared;
use crate::{ReadError, Seq, SubscriptionName, WriteError, clock, lock};

/// Names a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct DeadLetterId(i64);

impl DeadLetterId {
    /// From the number that [`Display`](std::fmt::Display) shows.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An event that a subscription gave up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its name here.
    pub id: DeadLetterId,
    /// Who gave it up.
    pub subscription: SubscriptionName,
    /// Its place in the journal.
    pub seq: Seq,
    /// When it was given up.
    pub at: Timestamp,
    /// How often it was delivered.
    pub attempts: u32,
    /// How often that failed; the other times it was interrupted.
    pub failures: u32,
    /// Why it was given up.
    pub reason: String,
    /// When it was handed to its subscription again, if it was; it stays here until it is
    /// acknowledged.
    pub retried: Option<Timestamp>,
    /// The event; `None` if its copy is damaged.
    pub event: Option<Arc<Event>>,
}

/// How an event was tried that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    pub(crate) deliveries: u32,
    pub(crate) failures: u32,
    /// Whether it was a replay, and is one when it is tried again.
    pub(crate) replay: bool,
}

/// Copies an event here. One that was here already is brought up to date; one that is owed stays so,
/// even if a replay of it is given up beside.
pub(crate) fn bury(
    transaction: &Transaction<'_>,
    subscription: i64,
    seq: Seq,
    tried: Tried,
    reason: &str,
) -> rusqlite::Result<()> {
    let Tried { deliveries, failures, replay } = tried;
    let (connection, now) = (transaction.connection, transaction.now);
    connection
        .prepare_cached(
            "INSERT INTO dead_letters
                (subscription, seq, at, attempts, failures, reason, replay, seal, stored, body)
             SELECT ?1, seq, ?3, ?4, ?5, ?6, ?7, seal, at, body FROM events WHERE seq = ?2
             ON CONFLICT (subscription, seq) DO NOTHING",
        )?
        .execute(params![subscription, seq.to_sql(), now, deliveries, failures, reason, replay])?;
    // Where the original is gone, the copy that it came back from is here.
    connection
        .prepare_cached(
            "UPDATE dead_letters
             SET at = ?3, attempts = ?4, failures = ?5, reason = ?6, replay = min(replay, ?7),
                 retried = NULL
             WHERE subscription = ?1 AND seq = ?2",
        )?
        .execute(params![subscription, seq.to_sql(), now, deliveries, failures, reason, replay])?;
    Ok(())
}

/// Removes what was acknowledged after all.
pub(crate) fn forget(connection: &Connection, subscription: i64, seq: Seq) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM dead_letters WHERE subscription = ?1 AND seq = ?2")?
        .execute(params![subscription, seq.to_sql()])?;
    Ok(())
}

/// The copy of an event, where the original is gone.
pub(crate) fn body_of(
    connection: &Connection,
    subscription: i64,
    seq: Seq,
) -> rusqlite::Result<Option<Stored>> {
    let raw = connection
        .prepare_cached(
            "SELECT stored, seal, body FROM dead_letters WHERE subscription = ?1 AND seq = ?2",
        )?
        .query_row(params![subscription, seq.to_sql()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(raw.and_then(|(at, seal, body): (i64, Vec<u8>, Vec<u8>)| read_copy(seq, at, &seal, &body)))
}

fn read_copy(seq: Seq, at: i64, seal: &[u8], body: &[u8]) -> Option<Stored> {
    Stored::read(seq, at, Seal::from_slice(seal)?, body)
}

/// Dead letters in the order of their names, after `after`, of one subscription or of all.
pub(crate) fn list(
    connection: &Connection,
    of: Option<&SubscriptionName>,
    after: DeadLetterId,
    limit: usize,
) -> Result<Vec<DeadLetter>, ReadError> {
    let mut select = connection.prepare_cached(
        "SELECT d.id, s.name, d.seq, d.at, d.attempts, d.reason, d.retried, d.stored, d.seal,
                d.body, d.failures
         FROM dead_letters d JOIN subscriptions s ON s.id = d.subscription
         WHERE d.id > ?1 AND (?2 IS NULL OR s.name = ?2) ORDER BY d.id LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![after.0, of.map(SubscriptionName::as_str), limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok(subscription) = row.get::<_, String>(1)?.parse() else { continue };
        let seq = Seq::from_sql(row.get(2)?);
        let (seal, body): (Vec<u8>, Vec<u8>) = (row.get(8)?, row.get(9)?);
        let copy = read_copy(seq, row.get(7)?, &seal, &body);
        found.push(DeadLetter {
            id: DeadLetterId(row.get(0)?),
            subscription,
            seq,
            at: clock::from_millis(row.get(3)?),
            attempts: row.get(4)?,
            failures: row.get(10)?,
            reason: row.get(5)?,
            retried: row.get::<_, Option<i64>>(6)?.map(clock::from_millis),
            event: copy.map(|stored| stored.event),
        });
    }
    Ok(found)
}

/// How many there are, by subscription. The index over subscriptions and places says it all.
pub(crate) fn count(connection: &Connection) -> Result<BTreeMap<SubscriptionName, u64>, ReadError> {
    let mut select = connection.prepare_cached(COUNT)?;
    let mut rows = select.query([])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let Ok(subscription) = row.get::<_, String>(0)?.parse() else { continue };
        counts.insert(subscription, row.get::<_, i64>(1)?.cast_unsigned());
    }
    Ok(counts)
}

const COUNT: &str = "SELECT s.name, d.count
    FROM (SELECT subscription, count(*) AS count FROM dead_letters GROUP BY subscription) d
    JOIN subscriptions s ON s.id = d.subscription";

/// What is to become of a dead letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Retry,
    Drop,
}

/// Hands dead letters to their subscriptions again, or removes them.
pub(crate) struct DeadLetterJob {
    pub(crate) hub: Arc<Hub>,
    pub(crate) id: DeadLetterId,
    pub(crate) fate: Fate,
    /// Whose it is, where it lies, and whether it is owed.
    pub(crate) found: Option<(Arc<Shared>, Seq, bool)>,
    pub(crate) answer: oneshot::Sender<Result<bool, WriteError>>,
}

impl Job for DeadLetterJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let row: Option<(i64, i64, bool)> = transaction
            .connection
            .prepare_cached("SELECT subscription, seq, replay FROM dead_letters WHERE id = ?1")?
            .query_row([self.id.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        self.found = row.and_then(|(subscription, seq, replay)| {
            let all = lock(&self.hub.subscriptions);
            let shared = all.values().find(|shared| shared.id == subscription)?;
            Some((Arc::clone(shared), Seq::from_sql(seq), !replay))
        });
        let Some((shared, seq, owed)) = &self.found else { return Ok(()) };
        match self.fate {
            Fate::Retry => {
                transaction
                    .connection
                    .prepare_cached("UPDATE dead_letters SET retried = ?2 WHERE id = ?1")?
                    .execute([self.id.0, transaction.now])?;
                transaction.touch(shared).revived.push((*seq, *owed));
            }
            Fate::Drop => forget(transaction.connection, shared.id, *seq)?,
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = outcome.map_err(Clone::clone).map(|()| match &self.found {
            Some((shared, seq, owed)) => {
                if self.fate == Fate::Retry {
                    shared.revive(*seq, *owed);
                }
                true
            }
            None => false,
        });
        let _ = self.answer.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dead letter may have a mebibyte: to count them must not read them.
    #[test]
    fn counting_reads_an_index_alone() {
        let plan = crate::schema::plan_of(COUNT);
        let of_letters = plan.iter().find(|step| step.contains("dead_letters")).unwrap();
        assert!(of_letters.contains("USING COVERING INDEX"), "{plan:?}");
    }
}
