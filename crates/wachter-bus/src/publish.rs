use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use tokio::sync::oneshot;
use wachter_model::{Event, TopicError};

use crate::dedup::Identity;
use crate::job::{Job, Transaction};
use crate::room::Taken;
use crate::stored::Raw;
use crate::{Acknowledged, KeyChange, KeyConflict, Seq, WriteError, keys, short_id};

/// Where an event stands after it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place; of a repeat, the place of the event that was accepted before.
    pub seq: Seq,
    /// Whether an event of the same source and id had been accepted before; nothing was written.
    pub duplicate: bool,
}

/// Why a batch was not published. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[error("the events were not published")]
pub struct PublishError {
    /// Why.
    #[source]
    pub reason: PublishReason,
    /// The events as they were handed in, to be published again.
    pub batch: Vec<Event>,
}

/// Why a batch was not published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishReason {
    /// The type of an event is no topic.
    #[error("the type of event {index} is not a topic")]
    Topic {
        /// Its place in the batch, from 0.
        index: usize,
        /// Why.
        #[source]
        source: TopicError,
    },
    /// An event is too large.
    #[error(
        "event {index} has {bytes} bytes and {limit} are allowed; put large data elsewhere and its address into the event"
    )]
    TooLarge {
        /// Its place in the batch, from 0.
        index: usize,
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// The whole batch is larger than the queue.
    #[error("the batch has {bytes} bytes and {limit} can wait at once; publish it in parts")]
    BatchTooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// There is no room in the queue: what is published comes faster than the disk takes it.
    #[error("the queue is full; publish again later")]
    Full,
    /// A key that was to be changed with it is not as was expected.
    #[error(transparent)]
    Key(KeyConflict),
    /// It could not be written.
    #[error(transparent)]
    Write(WriteError),
}

/// An event made ready by the publisher's own thread, so that the writer only writes.
pub(crate) struct Prepared {
    pub(crate) event: Arc<Event>,
    pub(crate) body: Vec<u8>,
    pub(crate) digest: [u8; 32],
    pub(crate) identity: Identity,
    pub(crate) correlation: Option<i64>,
    pub(crate) causation: Option<i64>,
}

/// What is needed to make an event ready.
pub(crate) struct Preparation {
    secret: crate::dedup::Secret,
    limit: AtomicUsize,
}

impl Preparation {
    pub(crate) const fn new(secret: crate::dedup::Secret, limit: usize) -> Self {
        Self { secret, limit: AtomicUsize::new(limit) }
    }

    /// Sets the largest event, in bytes of its JSON, for those that are made ready from now on.
    pub(crate) fn limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    fn one(&self, index: usize, event: Event) -> Result<Prepared, Box<(PublishReason, Event)>> {
        if let Err(source) = check_topic(event.event_type()) {
            return Err(Box::new((PublishReason::Topic { index, source }, event)));
        }
        let body = event.to_json();
        let limit = self.limit.load(Ordering::Relaxed);
        if body.len() > limit {
            let reason = PublishReason::TooLarge { index, bytes: body.len(), limit };
            return Err(Box::new((reason, event)));
        }
        Ok(Prepared {
            digest: crate::chain::digest(&body),
            identity: Identity::of(self.secret, &event),
            correlation: event.correlation_id().map(short_id::short),
            causation: event.causation_id().map(short_id::short),
            event: Arc::new(event),
            body,
        })
    }

    /// Makes all ready, or hands all back.
    pub(crate) fn all(&self, batch: Vec<Event>) -> Result<Vec<Prepared>, PublishError> {
        let mut ready = Vec::with_capacity(batch.len());
        let mut events = batch.into_iter();
        while let Some(event) = events.next() {
            match self.one(ready.len(), event) {
                Ok(prepared) => ready.push(prepared),
                Err(refused) => {
                    let (reason, event) = *refused;
                    let mut batch = unprepare(ready);
                    batch.push(event);
                    batch.extend(events);
                    return Err(PublishError { reason, batch });
                }
            }
        }
        Ok(ready)
    }
}

fn check_topic(text: &str) -> Result<(), TopicError> {
    text.parse::<wachter_model::Topic>().map(drop)
}

pub(crate) fn bytes(ready: &[Prepared]) -> usize {
    ready.iter().map(|prepared| prepared.body.len()).sum()
}

/// The events as they were.
pub(crate) fn unprepare(ready: Vec<Prepared>) -> Vec<Event> {
    ready.into_iter().map(|prepared| Arc::unwrap_or_clone(prepared.event)).collect()
}

/// Whether the event at `seq` is `event`. One that was dropped since cannot be asked any more; then
/// the 128 bits that led here decide.
pub(crate) fn is_repeat(
    connection: &Connection,
    seq: Seq,
    event: &Event,
) -> rusqlite::Result<bool> {
    let Some(raw) = Raw::find(connection, seq)? else { return Ok(true) };
    // A damaged row cannot contradict either.
    Ok(raw.read().is_none_or(|stored| {
        stored.event.id() == event.id() && stored.event.source() == event.source()
    }))
}

/// What publishers wait for.
pub(crate) type Answer = Result<Vec<Published>, (PublishReason, Vec<Event>)>;

/// A batch on its way.
pub(crate) struct PublishJob {
    pub(crate) ready: Vec<Prepared>,
    pub(crate) keys: Vec<KeyChange>,
    pub(crate) conflict: Option<KeyConflict>,
    pub(crate) answer: oneshot::Sender<Answer>,
    pub(crate) done: Acknowledged,
    /// Room in the queue, given back when the batch is written or refused.
    pub(crate) _room: Taken,
}

impl Job for PublishJob {
    fn bytes(&self) -> usize {
        bytes(&self.ready) + keys::bytes(&self.keys)
    }

    fn events(&self) -> usize {
        self.ready.len()
    }

    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        self.conflict = transaction.put(&self.ready, &self.keys, &mut self.done)?;
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let answer = match (outcome, self.conflict) {
            (Ok(()), None) => Ok(self.done.events),
            (Ok(()), Some(conflict)) => Err((PublishReason::Key(conflict), unprepare(self.ready))),
            (Err(error), _) => Err((PublishReason::Write(error.clone()), unprepare(self.ready))),
        };
        // A publisher that went away does not want to know.
        let _ = self.answer.send(answer);
    }
}
