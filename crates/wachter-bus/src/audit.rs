//! Reads the journal as what it also is: the audit log.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use wachter_model::TopicFilter;

use crate::checkpoint::{self, Checkpoint};
use crate::hub::Hub;
use crate::stored::{Raw, Stored};
use crate::subscription::EventFilter;
use crate::verify::{Damage, DamageKind, Verifier};
use crate::{Bus, Chain, ReadError, Seq, SeqRange, clock, trace};

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct AuditReport {
    /// Events that were checked.
    pub events: u64,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// The first and the last event that was checked.
    pub range: Option<SeqRange>,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
    /// Checkpoints that were handed in and that the journal contradicts, or has no event for.
    pub contradicted: Vec<Checkpoint>,
    /// The chain after the last event, for a checkpoint of one's own.
    pub chain: Option<Chain>,
}

impl AuditReport {
    /// Whether all is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.contradicted.is_empty()
    }
}

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

/// An event and what followed from it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The event.
    pub stored: Stored,
    /// What was caused by it, in the journal's order.
    pub effects: Vec<Trace>,
}

const PAGE_ROWS: i64 = 2_048;
const PAGE_BYTES: usize = 1 << 20;
/// Events that a trace shows at most.
const MOST_TRACED: usize = 10_000;

impl Bus {
    /// Checks every event from `from` on: that its body is the one that was written, that it follows the
    /// one before, and that checkpoints agree, both those of the journal and those handed in. The
    /// signatures of the latter are the caller's to check.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn verify(
        &self,
        from: Seq,
        against: Vec<Checkpoint>,
    ) -> Result<AuditReport, ReadError> {
        let checkpoints = self.checkpoints().await?;
        let mut own: VecDeque<_> = checkpoints
            .iter()
            .filter(|checkpoint| checkpoint.dropped.is_none() && checkpoint.last >= from)
            .cloned()
            .collect();
        // A dropped segment leaves the chain that the next one follows.
        let dropped =
            checkpoints.iter().filter(|one| one.dropped.is_some()).max_by_key(|one| one.last);
        let start = dropped.map_or(Seq::new(1), |one| Seq::new(one.last.get() + 1)).max(from);
        let chain = checkpoints
            .iter()
            .find(|one| one.last.get() + 1 == start.get())
            .map(|one| one.chain)
            .or_else(|| (start.get() == 1).then(|| Chain::begin(self.journal())));
        let mut verifier = Some(Verifier::new(Some(start), chain));
        let mut report = AuditReport::default();
        let mut against: VecDeque<_> = {
            let mut sorted = against;
            sorted.sort_by_key(|checkpoint| checkpoint.last);
            sorted.into()
        };
        let journal = self.journal().to_owned();
        against.retain(|checkpoint| {
            // Of what was dropped, the journal's own checkpoint is all that is left to compare.
            let kept = checkpoints.iter().find(|own| own.last == checkpoint.last);
            let gone = checkpoint.last < start;
            let agrees = checkpoint.journal == journal
                && (!gone
                    || kept.is_some_and(|own| own.chain == checkpoint.chain)
                    || checkpoint.last < from);
            if !agrees {
                report.contradicted.push(checkpoint.clone());
            }
            agrees && !gone
        });
        let last = self.hub().last();
        let mut after = Seq::new(start.get() - 1);
        loop {
            let mut working = verifier.take().expect("it is put back at the end of each turn");
            let (mut mine, mut theirs) = (std::mem::take(&mut own), std::mem::take(&mut against));
            let answer = self
                .hub()
                .reader
                .ask(move |connection| {
                    let mut contradicted = Vec::new();
                    let seen = page(connection, after, last, |raw| {
                        working.row(raw);
                        while mine.front().is_some_and(|one| one.last <= raw.seq) {
                            if let Some(one) = mine.pop_front() {
                                working.checkpoint(&one);
                            }
                        }
                        while theirs.front().is_some_and(|one| one.last <= raw.seq) {
                            let Some(one) = theirs.pop_front() else { break };
                            if one.last < raw.seq || working.chain() != Some(one.chain) {
                                contradicted.push(one);
                            }
                        }
                    })?;
                    Ok((working, mine, theirs, contradicted, seen))
                })
                .await?;
            let (back, mine, theirs, contradicted, seen) = answer;
            report.contradicted.extend(contradicted);
            (own, against) = (mine, theirs);
            verifier = Some(back);
            match seen {
                Some(seen) => after = seen,
                None => break,
            }
        }
        let mut verifier = verifier.expect("it was put back");
        verifier.end(last);
        report.contradicted.extend(against);
        report.events = verifier.events;
        report.checkpoints = verifier.checkpoints;
        report.chain = verifier.chain();
        report.range = (last >= start).then(|| SeqRange::new(start, last));
        report.damage = verifier.damage;
        let lost: Vec<_> = report
            .damage
            .iter()
            .filter(|damage| matches!(damage.kind, DamageKind::Body | DamageKind::Missing))
            .map(|damage| damage.range)
            .collect();
        for range in lost {
            self.hub().notice(crate::Notice::Damaged { range });
        }
        Ok(report)
    }

    /// What was found damaged when the journal was opened, this time or before, in the order of places.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn known_damage(&self) -> Result<Vec<Damage>, ReadError> {
        let question = |connection: &Connection| {
            let mut select = connection
                .prepare_cached("SELECT first, last, kind FROM damage ORDER BY first, last")?;
            let rows = select.query_map([], |row| {
                let range = SeqRange::new(Seq::from_sql(row.get(0)?), Seq::from_sql(row.get(1)?));
                Ok(DamageKind::from_text(&row.get::<_, String>(2)?)
                    .map(|kind| Damage { range, kind }))
            })?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        self.hub().reader.ask(question).await
    }

    /// All checkpoints, the oldest first, with those of dropped segments.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, ReadError> {
        let journal = self.journal().to_owned();
        self.hub().reader.ask(move |connection| checkpoint::list(connection, &journal)).await
    }

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
        let made = trace::made_at(id);
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

    /// What followed from an event, as `causationid` tells it: 10,000 events at most.
    ///
    /// # Errors
    /// The journal could not be read.
    pub async fn trace(&self, root: Stored) -> Result<Trace, ReadError> {
        self.hub()
            .reader
            .ask(move |connection| {
                let mut found = vec![(root, usize::MAX)];
                let mut next = 0;
                while next < found.len() && found.len() < MOST_TRACED {
                    let cause = found[next].0.clone();
                    for effect in effects(connection, &cause)? {
                        found.push((effect, next));
                    }
                    next += 1;
                }
                Ok(grow(found))
            })
            .await
    }
}

/// Makes the tree of events that each name their cause's place in the list, which is before theirs.
fn grow(found: Vec<(Stored, usize)>) -> Trace {
    let mut trees: Vec<_> = found
        .into_iter()
        .map(|(stored, cause)| (Trace { stored, effects: Vec::new() }, cause))
        .collect();
    while trees.len() > 1 {
        let Some((mut effect, cause)) = trees.pop() else { break };
        effect.effects.reverse();
        trees[cause].0.effects.push(effect);
    }
    let (mut root, _) = trees.pop().expect("the root was put in first");
    root.effects.reverse();
    root
}

fn effects(connection: &Connection, cause: &Stored) -> Result<Vec<Stored>, ReadError> {
    let id = cause.event.id().as_str();
    let mut select = connection.prepare_cached(
        "SELECT seq, at, topic, seal, body FROM events
         WHERE causation = ?1 AND seq > ?2 ORDER BY seq LIMIT 1000",
    )?;
    let mut rows = select.query(params![trace::short(id), cause.seq.to_sql()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = Raw::from_row(row)?.read();
        found.extend(stored.filter(|stored| stored.event.causation_id() == Some(id)));
    }
    Ok(found)
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
        select.query(params![trace::short(id), after.to_sql(), to.to_sql(), PAGE_ROWS])?;
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
