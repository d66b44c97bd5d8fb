//! Reads events of the past.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use wachter_model::TopicFilter;

use crate::hub::Hub;
use crate::stored::{Raw, Stored};
use crate::subscription::EventFilter;
use crate::{Bus, ReadError, Seq, clock, short_id};

/// Which events a look back is about.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only these events.
    pub filter: EventFilter,
    /// Only events after this one.
    pub after: Seq,
    /// Only events written at or after this time.
    pub since: Option<Timestamp>,
    /// Only events with this `correlationid`, and the one with this `id`.
    pub correlation: Option<String>,
}

/// Events of the past, one page after another.
pub struct Replay {
    hub: Arc<Hub>,
    query: Query,
    after: Option<Seq>,
    to: Seq,
    page: VecDeque<Stored>,
    damaged: VecDeque<Seq>,
}

const PAGE_ROWS: i64 = 2_048;
const PAGE_BYTES: usize = 1 << 20;

impl Bus {
    /// Reads events of the past, up to the last one that is there now.
    #[must_use]
    pub fn replay(&self, query: Query) -> Replay {
        Replay {
            hub: Arc::clone(self.hub()),
            after: None,
            to: self.hub().last(),
            query,
            page: VecDeque::new(),
            damaged: VecDeque::new(),
        }
    }

    /// The event at `seq`; `None` if there is none, or none any more.
    ///
    /// # Errors
    /// It is damaged, or the journal could not be read.
    pub async fn event(&self, seq: Seq) -> Result<Option<Stored>, ReadError> {
        let question = move |connection: &Connection| match Raw::find(connection, seq)? {
            Some(raw) => raw.read().map(Some).ok_or(ReadError::Damaged(seq)),
            None => Ok(None),
        };
        self.hub().reader.ask(question).await
    }

    /// Finds events by their `id` alone. One made here is found by the time in its id; another is
    /// looked for in the whole journal.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn find(&self, id: &str) -> Result<Vec<Stored>, ReadError> {
        // A clock that was set meanwhile must not hide it.
        const SLACK: i64 = 3_600_000;
        let made = short_id::made_at(id);
        let since = made.map(|made| clock::from_millis(made.saturating_sub(SLACK)));
        let until = made.map(|made| clock::from_millis(made.saturating_add(SLACK)));
        let mut replay = self.replay(Query { since, ..Query::default() });
        let mut found = Vec::new();
        while let Some(stored) = replay.next().await {
            let Ok(stored) = stored else { continue };
            if until.is_some_and(|until| stored.at > until) {
                break;
            }
            if stored.event.id().as_str() == id {
                found.push(stored);
            }
        }
        if found.is_empty() && made.is_some() {
            let mut replay = self.replay(Query::default());
            while let Some(stored) = replay.next().await {
                found.extend(stored.ok().filter(|stored| stored.event.id().as_str() == id));
            }
        }
        Ok(found)
    }
}

impl Replay {
    /// The next event; `None` at the end. A damaged one is told by an error and passed over.
    pub async fn next(&mut self) -> Option<Result<Stored, ReadError>> {
        loop {
            if let Some(seq) = self.damaged.pop_front() {
                return Some(Err(ReadError::Damaged(seq)));
            }
            if let Some(stored) = self.page.pop_front() {
                return Some(Ok(stored));
            }
            match self.load().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    // Nothing more will come of it.
                    self.after = Some(self.to);
                    return Some(Err(error));
                }
            }
        }
    }

    /// The next event as one line of JSON, without its line end: the export for another program. It has
    /// `seq`, `at`, `digest` and `event`.
    ///
    /// # Panics
    /// Never: all of it can be written as JSON.
    pub async fn next_line(&mut self) -> Option<Result<String, ReadError>> {
        let stored = match self.next().await? {
            Ok(stored) => stored,
            Err(error) => return Some(Err(error)),
        };
        let body = stored.event.to_json();
        let digest = wachter_model::Digest::of(&body);
        let body = String::from_utf8(body).expect("JSON is UTF-8");
        let Stored { seq, at, .. } = stored;
        Some(Ok(format!(r#"{{"seq":{seq},"at":"{at}","digest":"{digest}","event":{body}}}"#)))
    }

    async fn load(&mut self) -> Result<bool, ReadError> {
        let (query, to) = (self.query.clone(), self.to);
        let after = self.after;
        if after.is_some_and(|after| after >= to) {
            return Ok(false);
        }
        let answer = self
            .hub
            .reader
            .ask(move |connection| {
                let after = match (after, query.since) {
                    (Some(after), _) => after,
                    (None, Some(since)) => {
                        let first =
                            crate::subscription::first_at(connection, clock::to_millis(since))?;
                        query.after.max(Seq::new(first.get().saturating_sub(1)))
                    }
                    (None, None) => query.after,
                };
                if let Some(id) = &query.correlation {
                    return by_correlation(connection, &query, id, after, to);
                }
                let (mut found, mut damaged) = (Vec::new(), Vec::new());
                let seen = page(connection, after, to, |raw| {
                    if query.filter.may_want(&raw.topic) {
                        match raw.read() {
                            Some(stored) => {
                                found.extend(
                                    Some(stored).filter(|one| query.filter.wants(&one.event)),
                                );
                            }
                            None => damaged.push(raw.seq),
                        }
                    }
                })?;
                Ok((found, damaged, seen))
            })
            .await?;
        let (found, damaged, seen) = answer;
        self.hub.damaged(&damaged);
        self.page.extend(found);
        self.damaged.extend(damaged);
        self.after = Some(seen.unwrap_or(to));
        Ok(true)
    }
}

type Found = (Vec<Stored>, Vec<Seq>, Option<Seq>);

fn by_correlation(
    connection: &Connection,
    query: &Query,
    id: &str,
    after: Seq,
    to: Seq,
) -> Result<Found, ReadError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events
         WHERE correlation = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4",
    )?;
    let mut rows =
        select.query(params![short_id::short(id), after.to_sql(), to.to_sql(), PAGE_ROWS])?;
    let (mut found, mut damaged, mut seen) = (Vec::new(), Vec::new(), None);
    while let Some(row) = rows.next()? {
        let raw = Raw::from_row(row)?;
        seen = Some(raw.seq);
        match raw.read() {
            Some(stored) => found.extend(Some(stored).filter(|one| {
                one.event.correlation_id() == Some(id) && query.filter.wants(&one.event)
            })),
            None => damaged.push(raw.seq),
        }
    }
    Ok((found, damaged, seen))
}

impl Query {
    /// Only events of these topics.
    #[must_use]
    pub fn topics(topics: Vec<TopicFilter>) -> Self {
        Self { filter: EventFilter { topics, ..EventFilter::default() }, ..Self::default() }
    }
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replay").field(&self.query).finish()
    }
}

/// Goes through rows after `after` up to `to`. Returns the last that was seen, if there may be more.
pub(crate) fn page(
    connection: &Connection,
    after: Seq,
    to: Seq,
    mut take: impl FnMut(&Raw),
) -> Result<Option<Seq>, ReadError> {
    let mut select = connection.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events
         WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![after.to_sql(), to.to_sql(), PAGE_ROWS])?;
    let (mut seen, mut bytes) = (None, 0);
    while let Some(row) = rows.next()? {
        let raw = Raw::from_row(row)?;
        take(&raw);
        seen = Some(raw.seq);
        bytes += raw.body.len();
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(seen)
}
