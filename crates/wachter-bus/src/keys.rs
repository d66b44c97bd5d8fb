//! Keys with values, in buckets, beside the events: small state that several parties agree on.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::{broadcast, oneshot};

use crate::job::{Job, Transaction};
use crate::{Acknowledged, ReadError, WriteError, clock};

/// A value under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// Rises with each change of any key in the journal, and is never given twice.
    pub revision: u64,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The bucket, up to 255 bytes.
    pub bucket: String,
    /// The key, up to 1,024 bytes.
    pub key: String,
    /// The new value, up to 1 MiB; `None` removes the key.
    pub value: Option<Vec<u8>>,
    /// What the key must be before.
    pub expect: Expect,
    /// How long the value lasts, by the hour of the day. `None`: until it is changed.
    pub lasts: Option<Duration>,
}

/// What a key must be for a change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is.
    Anything,
    /// Not there, or run out.
    Absent,
    /// At this revision.
    Revision(u64),
}

/// A key is not as a change expects it, or the change is too large. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyConflict {
    /// Somebody else changed it.
    #[error("key `{bucket}/{key}` is at revision {found:?}, not as was expected; read it again")]
    Changed {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The revision that it has; `None` if it is absent.
        found: Option<u64>,
    },
    /// A bucket, key or value beyond its limit.
    #[error("key `{0}` is too large: buckets have 255 bytes, keys 1024 and values 1 MiB")]
    TooLarge(String),
}

/// Why a key was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not as was expected.
    #[error(transparent)]
    Conflict(#[from] KeyConflict),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A change that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The entry now; `None` if it was removed or ran out.
    pub entry: Option<KeyEntry>,
}

/// Watches the keys of a bucket. See [`Bus::watch_keys`](crate::Bus::watch_keys).
#[derive(Debug)]
pub struct KeyWatch {
    pub(crate) bucket: String,
    pub(crate) events: broadcast::Receiver<KeyEvent>,
}

/// Why a watch has nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// So many changes were missed, since they were not taken in time.
    #[error("{0} changes were missed; list the keys again")]
    Lagged(u64),
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
}

impl KeyWatch {
    /// Waits for the next change. Dropping this before it is done loses none.
    ///
    /// # Errors
    /// Changes were missed, or the bus was closed.
    pub async fn next(&mut self) -> Result<KeyEvent, WatchError> {
        loop {
            match self.events.recv().await {
                Ok(event) if event.bucket == self.bucket => return Ok(event),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    return Err(WatchError::Lagged(count));
                }
                Err(broadcast::error::RecvError::Closed) => return Err(WatchError::Closed),
            }
        }
    }
}

impl KeyChange {
    pub(crate) fn bytes(&self) -> usize {
        self.bucket.len() + self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }

    fn fits(&self) -> bool {
        self.bucket.len() <= 255
            && self.key.len() <= 1_024
            && self.value.as_ref().is_none_or(|value| value.len() <= 1 << 20)
    }
}

/// Bytes of all.
pub(crate) fn bytes(changes: &[KeyChange]) -> usize {
    changes.iter().map(KeyChange::bytes).sum()
}

impl Transaction<'_> {
    /// The first change that does not meet what it expects.
    pub(crate) fn first_conflict(
        &self,
        changes: &[KeyChange],
    ) -> rusqlite::Result<Option<KeyConflict>> {
        for change in changes {
            if !change.fits() {
                let name = change.key.chars().take(64).collect();
                return Ok(Some(KeyConflict::TooLarge(name)));
            }
            let met = |found: Option<u64>| match change.expect {
                Expect::Anything => true,
                Expect::Absent => found.is_none(),
                Expect::Revision(revision) => found == Some(revision),
            };
            if change.expect != Expect::Anything {
                let found = revision(self.connection, &change.bucket, &change.key, self.now)?;
                if !met(found) {
                    let (bucket, key) = (change.bucket.clone(), change.key.clone());
                    return Ok(Some(KeyConflict::Changed { bucket, key, found }));
                }
            }
        }
        Ok(None)
    }

    /// Makes a change whose expectation is met. Returns the new revision, 0 for a removal.
    pub(crate) fn change_key(&mut self, change: &KeyChange) -> rusqlite::Result<u64> {
        let KeyChange { bucket, key, value, lasts, .. } = change;
        let entry = match value {
            Some(value) => {
                self.head.revision += 1;
                let revision = self.head.revision;
                let expires = lasts.map(|lasts| self.now.saturating_add(clock::millis(lasts)));
                self.connection
                    .prepare_cached("INSERT OR REPLACE INTO keys (bucket, key, revision, expires, value) VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![bucket, key, revision.cast_signed(), expires, value])?;
                Some(KeyEntry {
                    bucket: bucket.clone(),
                    key: key.clone(),
                    value: value.clone(),
                    revision,
                })
            }
            None => {
                self.connection
                    .prepare_cached("DELETE FROM keys WHERE bucket = ?1 AND key = ?2")?
                    .execute([bucket, key])?;
                None
            }
        };
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        self.keys.push(KeyEvent { bucket: bucket.clone(), key: key.clone(), entry });
        Ok(revision)
    }

    /// Removes some of the keys that ran out. Returns how many.
    pub(crate) fn expire_keys(&mut self) -> rusqlite::Result<usize> {
        let gone: Vec<(String, String)> = self
            .connection
            .prepare_cached(
                "DELETE FROM keys WHERE (bucket, key) IN (
                    SELECT bucket, key FROM keys WHERE expires <= ?1 LIMIT 256
                 ) RETURNING bucket, key",
            )?
            .query_map([self.now], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let count = gone.len();
        self.keys.extend(gone.into_iter().map(|(bucket, key)| KeyEvent {
            bucket,
            key,
            entry: None,
        }));
        Ok(count)
    }
}

fn revision(
    connection: &Connection,
    bucket: &str,
    key: &str,
    now: i64,
) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT revision FROM keys
             WHERE bucket = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)",
        )?
        .query_row(params![bucket, key, now], |row| row.get::<_, i64>(0))
        .optional()
        .map(|found| found.map(i64::cast_unsigned))
}

/// The entries of a bucket whose keys begin with `prefix`, in order.
pub(crate) fn list(
    connection: &Connection,
    bucket: &str,
    prefix: &str,
    now: i64,
) -> Result<Vec<KeyEntry>, ReadError> {
    let mut select = connection.prepare_cached(
        "SELECT key, value, revision FROM keys
         WHERE bucket = ?1 AND key >= ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key",
    )?;
    let mut rows = select.query(params![bucket, prefix, now])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push(KeyEntry {
            bucket: bucket.to_owned(),
            key,
            value: row.get(1)?,
            revision: row.get::<_, i64>(2)?.cast_unsigned(),
        });
    }
    Ok(found)
}

/// One entry.
pub(crate) fn get(
    connection: &Connection,
    bucket: &str,
    key: &str,
    now: i64,
) -> Result<Option<KeyEntry>, ReadError> {
    let found = connection
        .prepare_cached(
            "SELECT value, revision FROM keys
             WHERE bucket = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)",
        )?
        .query_row(params![bucket, key, now], |row| {
            Ok(KeyEntry {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
                value: row.get(0)?,
                revision: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        })
        .optional()?;
    Ok(found)
}

/// Changes of keys by themselves.
pub(crate) struct KeysJob {
    pub(crate) changes: Vec<KeyChange>,
    pub(crate) done: Result<Vec<u64>, KeyConflict>,
    pub(crate) answer: oneshot::Sender<Result<Vec<u64>, KeyError>>,
}

impl Job for KeysJob {
    fn bytes(&self) -> usize {
        bytes(&self.changes)
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let mut done = Acknowledged::default();
        self.done = match transaction.put(&[], &self.changes, &mut done)? {
            Some(conflict) => Err(conflict),
            None => Ok(done.revisions),
        };
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = match outcome {
            Ok(()) => self.done.map_err(KeyError::Conflict),
            Err(error) => Err(KeyError::Write(error.clone())),
        };
        let _ = self.answer.send(answer);
    }
}
