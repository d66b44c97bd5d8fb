//! What the writer, the readers and the handles share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::broadcast;

use crate::failures::{Attempt, Failures};
use crate::keys::KeyEvent;
use crate::publish::Preparation;
use crate::queue::{Message, Queue};
use crate::reader::Reader;
use crate::routes::Routes;
use crate::scrub::Scrub;
use crate::stored::Stored;
use crate::subscription::Shared;
use crate::{Clock, Notice, Seq, SeqRange, SubscriptionName, WriteError, lock};

pub(crate) struct Hub {
    pub(crate) queue: Queue,
    pub(crate) reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: String,
    pub(crate) preparation: Preparation,
    /// The first event that is kept.
    first: AtomicU64,
    /// The last committed event.
    last: AtomicU64,
    /// The last event as the table of facts has it.
    pub(crate) stored_last: AtomicU64,
    pub(crate) subscriptions: Mutex<HashMap<SubscriptionName, Arc<Shared>>>,
    /// All up to here was offered to whoever may want it.
    offered: AtomicU64,
    /// Made again at the next commit where there is none.
    routes: Mutex<Option<Routes>>,
    pub(crate) notices: broadcast::Sender<Notice>,
    pub(crate) key_events: broadcast::Sender<KeyEvent>,
    pub(crate) ephemeral: broadcast::Sender<Arc<wachter_model::Event>>,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) counters: Counters,
    pub(crate) scrub: Scrub,
    closed: AtomicBool,
}

/// Counted since the bus was opened.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) identities: AtomicU64,
    pub(crate) identity_bytes: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) ephemeral_lagged: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Hub {
    pub(crate) fn new(
        reader: Reader,
        clock: Arc<dyn Clock>,
        journal: String,
        bounds: SeqRange,
        preparation: Preparation,
    ) -> Self {
        Self {
            queue: Queue::default(),
            reader,
            clock,
            journal,
            preparation,
            stored_last: AtomicU64::new(0),
            first: AtomicU64::new(bounds.first.get()),
            last: AtomicU64::new(bounds.last.get()),
            subscriptions: Mutex::default(),
            offered: AtomicU64::new(bounds.last.get()),
            routes: Mutex::default(),
            notices: broadcast::Sender::new(256),
            key_events: broadcast::Sender::new(1024),
            ephemeral: broadcast::Sender::new(1024),
            failures: Mutex::default(),
            counters: Counters::default(),
            scrub: Scrub::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn first(&self) -> Seq {
        Seq::new(self.first.load(Ordering::Acquire))
    }

    /// Retention has dropped all before `first`.
    pub(crate) fn dropped_before(&self, first: Seq) {
        self.first.fetch_max(first.get(), Ordering::AcqRel);
    }

    pub(crate) fn last(&self) -> Seq {
        Seq::new(self.last.load(Ordering::Acquire))
    }

    /// Tells subscriptions what was committed. `last` goes up first, so that a subscription that is
    /// catching up either finds these events in the database or is offered them here.
    pub(crate) fn committed(&self, events: &[Stored]) {
        let Some(last) = events.last() else { return };
        self.last.store(last.seq.get(), Ordering::Release);
        self.counters.published.fetch_add(events.len() as u64, Ordering::Relaxed);
        let mut routes = lock(&self.routes);
        let routes =
            routes.get_or_insert_with(|| Routes::of(lock(&self.subscriptions).values().cloned()));
        routes.offer(events, self.offered());
        self.offered.store(last.seq.get(), Ordering::Release);
    }

    /// Up to here all was offered to those whose topics mean it. What a subscription that keeps up was
    /// not given of that, it does not want.
    pub(crate) fn offered(&self) -> Seq {
        Seq::new(self.offered.load(Ordering::Acquire))
    }

    /// Subscriptions came or went, or want other topics.
    pub(crate) fn reroute(&self) {
        *lock(&self.routes) = None;
    }

    pub(crate) fn notice(&self, notice: Notice) {
        match &notice {
            Notice::Damaged { range } => {
                self.counters.damaged.fetch_add(range.len(), Ordering::Relaxed);
            }
            Notice::Lost { range, .. } => {
                self.counters.lost.fetch_add(range.len(), Ordering::Relaxed);
            }
            Notice::DeadLettered { .. } => {
                self.counters.dead_lettered.fetch_add(1, Ordering::Relaxed);
            }
            Notice::Failing(_) | Notice::Recovered | Notice::Unsigned { .. } => {}
        }
        // Nobody has to listen.
        let _ = self.notices.send(notice);
    }

    pub(crate) fn damaged(&self, seqs: &[Seq]) {
        let mut ranges = Vec::new();
        seqs.iter().for_each(|seq| SeqRange::push(&mut ranges, *seq));
        for range in ranges {
            self.notice(Notice::Damaged { range });
        }
    }

    /// Something could not be read: by a subscription, which asks again when it is woken, or by the
    /// scrub.
    pub(crate) fn read_failed(&self, attempt: Attempt, error: &rusqlite::Error) {
        self.reader.note_damage(error);
        let error = WriteError::from(error);
        lock(&self.failures).failed(attempt, error.clone());
        self.notice(Notice::Failing(error));
    }

    /// Something was read or written.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let recovered = lock(&self.failures).succeeded(attempt);
        if recovered {
            self.notice(Notice::Recovered);
        }
    }

    /// Nobody wants to be fed by this subscription any more.
    pub(crate) fn feeds_nobody(&self, subscription: i64) {
        let recovered = lock(&self.failures).gone(subscription);
        if recovered {
            self.notice(Notice::Recovered);
        }
    }

    /// Nothing more will come: whoever waits for a delivery is told.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let all: Vec<_> = lock(&self.subscriptions).values().cloned().collect();
        all.iter().for_each(|subscription| subscription.wake_all());
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Hands a job to the writer.
    pub(crate) fn submit(&self, job: Box<dyn crate::job::Job>) {
        if let Err(Message::Job(job)) = self.queue.push(Message::Job(job)) {
            job.finish(Err(&WriteError::Closed));
        }
    }
}
