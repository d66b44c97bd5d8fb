use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::oneshot;

use super::shared::Shared;
use super::{
    Again, Cursor, End, Redelivery, Start, Subscription, SubscriptionName, SubscriptionOptions,
    Waits,
};
use crate::hub::Hub;
use crate::job::{Job, Transaction};
use crate::{Seq, WriteError, clock, lock};

/// Makes a subscription, or gives one that is there its new options; and a member of it.
pub(crate) struct DeclareJob {
    pub(crate) hub: Arc<Hub>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) made: Option<Arc<Shared>>,
    pub(crate) answer: oneshot::Sender<Result<Subscription, WriteError>>,
}

impl Job for DeclareJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.made = None;
        let known = lock(&self.hub.subscriptions).get(&self.options.name).cloned();
        if let Some(shared) = known {
            transaction.touch(&shared);
            self.made = Some(shared);
            return Ok(());
        }
        let position = position(transaction, self.options.start)?;
        let cursor = Cursor { position, ..Cursor::default() };
        transaction
            .connection
            .prepare_cached(
                "INSERT INTO subscriptions (name, cursor, floor, lag_limit) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((
                self.options.name.as_str(),
                cursor.to_bytes(),
                position.to_sql(),
                self.options.lag_limit.map(clock::millis),
            ))?;
        let id = transaction.connection.last_insert_rowid();
        self.made = Some(Shared::new(id, &self.hub, self.options.clone(), cursor, false));
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = match (outcome, self.made) {
            (Ok(()), Some(shared)) => {
                let mut all = lock(&self.hub.subscriptions);
                let shared = Arc::clone(all.entry(self.options.name.clone()).or_insert(shared));
                drop(all);
                lock(&shared.state).declare(self.options, self.hub.offered());
                self.hub.reroute();
                shared.wake.notify_waiters();
                // If nobody waits for it any more, it goes again.
                Ok(Subscription::new(shared, Arc::clone(&self.hub)))
            }
            (Err(error), _) => Err(error.clone()),
            (Ok(()), None) => Err(WriteError::Closed),
        };
        let _ = self.answer.send(answer);
    }
}

/// The event after which `start` is.
fn position(transaction: &Transaction<'_>, start: Start) -> rusqlite::Result<Seq> {
    let last = Seq::new(transaction.head.next - 1);
    Ok(match start {
        Start::Now => last,
        Start::Beginning => Seq::ZERO,
        Start::Seq(seq) => Seq::new(seq.get().saturating_sub(1)).min(last),
        Start::Time(time) => {
            Seq::new(first_at(transaction.connection, clock::to_millis(time))?.get() - 1)
        }
    })
}

/// The first event written at or after `at`; one past the last if there is none.
///
/// Times only rise along the journal, so the place is found by halving, without an index.
pub(crate) fn first_at(connection: &Connection, at: i64) -> rusqlite::Result<Seq> {
    let bounds: (Option<i64>, Option<i64>) =
        connection.query_row("SELECT min(seq), max(seq) FROM events", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (Some(mut low), Some(last)) = bounds else {
        return next(connection);
    };
    let mut high = last + 1;
    let mut select = connection
        .prepare_cached("SELECT seq, at FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            select.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, time)) if time < at => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(Seq::from_sql(low))
}

/// One past the last event that ever was, where none is left.
fn next(connection: &Connection) -> rusqlite::Result<Seq> {
    let last: Option<i64> =
        connection.query_row("SELECT max(last) FROM checkpoints", [], |row| row.get(0))?;
    Ok(Seq::from_sql(last.unwrap_or(0) + 1))
}

/// Removes a subscription with its place and its dead letters.
pub(crate) struct RemoveJob {
    pub(crate) hub: Arc<Hub>,
    pub(crate) name: SubscriptionName,
    pub(crate) answer: oneshot::Sender<Result<bool, WriteError>>,
}

impl Job for RemoveJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let known = lock(&self.hub.subscriptions).get(&self.name).map(|shared| shared.id);
        if let Some(id) = known {
            let connection = transaction.connection;
            connection
                .prepare_cached("DELETE FROM dead_letters WHERE subscription = ?1")?
                .execute([id])?;
            connection.prepare_cached("DELETE FROM subscriptions WHERE id = ?1")?.execute([id])?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = outcome.map_err(Clone::clone).map(|()| {
            let removed = lock(&self.hub.subscriptions).remove(&self.name);
            self.hub.reroute();
            if let Some(shared) = &removed {
                let mut state = lock(&shared.state);
                state.clear();
                state.removed = true;
                drop(state);
                self.hub.feeds_nobody(shared.id);
                shared.wake.notify_waiters();
            }
            removed.is_some()
        });
        let _ = self.answer.send(answer);
    }
}

/// Gives a subscription a part of the past again, as a replay.
pub(crate) struct RedeliverJob {
    pub(crate) hub: Arc<Hub>,
    pub(crate) name: SubscriptionName,
    pub(crate) from: Start,
    pub(crate) to: End,
    pub(crate) found: Option<(Arc<Shared>, Again)>,
    pub(crate) answer: oneshot::Sender<Result<Option<Redelivery>, WriteError>>,
}

impl Job for RedeliverJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let known = lock(&self.hub.subscriptions).get(&self.name).cloned();
        self.found = match known {
            Some(shared) => {
                let after = position(transaction, self.from)?;
                let to = match self.to {
                    End::Here => None,
                    End::Seq(seq) => Some(seq),
                    End::Time(time) => Some(position(transaction, Start::Time(time))?),
                };
                let again = Again { after, to };
                transaction.touch(&shared).again = Some(again);
                Some((shared, again))
            }
            None => None,
        };
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = outcome.map_err(Clone::clone).map(|()| {
            self.found.as_ref().map(|(shared, again)| {
                let (after, to) = lock(&shared.state).set_back(*again, self.hub.offered());
                shared.wake.notify_waiters();
                Redelivery { after, to }
            })
        });
        let _ = self.answer.send(answer);
    }
}

/// Loads all subscriptions. Returns the names of those whose cursor was damaged: they begin again
/// after the last event that they certainly had no need of.
pub(crate) fn load_all(
    connection: &Connection,
    hub: &Arc<Hub>,
    careful: bool,
) -> rusqlite::Result<Vec<SubscriptionName>> {
    let mut select = connection
        .prepare("SELECT id, name, cursor, floor, lag_limit, waits FROM subscriptions")?;
    let mut rows = select.query([])?;
    let (mut all, mut damaged) = (lock(&hub.subscriptions), Vec::new());
    let last = hub.last();
    while let Some(row) = rows.next()? {
        let Ok(name) = row.get::<_, String>(1)?.parse::<SubscriptionName>() else { continue };
        let floor = Seq::from_sql(row.get(3)?);
        let read = Cursor::from_bytes(row.get_ref(2)?.as_blob()?)
            // A place beyond the journal: its end was lost, and new events will have these numbers.
            .filter(|cursor| cursor.position.max(cursor.jumps_to()) <= last);
        let mut cursor = read.unwrap_or_else(|| {
            damaged.push(name.clone());
            Cursor { position: floor.min(last), ..Cursor::default() }
        });
        // New events that will have the numbers of lost ones are no replay.
        cursor.replay_to = cursor.replay_to.min(last);
        let mut options = SubscriptionOptions::new(name.clone());
        options.lag_limit = row
            .get::<_, Option<i64>>(4)?
            .map(|millis| std::time::Duration::from_millis(millis.unsigned_abs()));
        let shared = Shared::new(row.get(0)?, hub, options, cursor, careful);
        let waits = row.get_ref(5)?.as_blob_or_null()?.and_then(Waits::from_bytes);
        shared.put_off(hub, &waits.unwrap_or_default());
        all.insert(name, shared);
    }
    Ok(damaged)
}
