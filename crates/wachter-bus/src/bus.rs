use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::{broadcast, oneshot};
use wachter_model::Event;

use crate::connect::Files;
use crate::dead_letters::{self, DeadLetterJob, Fate};
use crate::hub::Hub;
use crate::job::Job;
use crate::keys::{self, KeysJob};
use crate::open::{self, OpenError, Opened};
use crate::publish::{self, PublishJob};
use crate::queue::Message;
use crate::room::{Room, Taken};
use crate::subscription::{DeclareJob, RedeliverJob, RemoveJob};
use crate::{
    Acknowledged, DeadLetter, DeadLetterId, End, Ephemeral, EventFilter, KeyChange, KeyEntry,
    KeyError, KeyWatch, Limits, Notice, Options, PublishError, PublishReason, Published, ReadError,
    Redelivery, Seq, Start, Subscription, SubscriptionName, SubscriptionOptions,
    SubscriptionStatus, WriteError, clock, lock,
};

/// The bus of one node over its journal. Clones are the same bus; the last one that is dropped closes
/// it.
///
/// # Guarantees
/// - What [`publish`](Self::publish) has acknowledged survives the end of the process and a power cut.
/// - Each subscription gets each event that its filter means at least once, however often nodes crash.
/// - A batch is there whole or not at all, and so are an acknowledgement and its outputs.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    hub: Arc<Hub>,
    options: Options,
    room: Arc<Room>,
    opened: Opened,
    files: Files,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// How the bus stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The first event that is kept; one past the last if none is.
    pub first: Seq,
    /// The last event.
    pub last: Seq,
    /// Bytes that the journal takes on the disk, its log included.
    pub bytes: u64,
    /// Why writing fails, while it does.
    pub failing: Option<WriteError>,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// Events written since the bus was opened.
    pub published: u64,
    /// Repeats that were told from new events since the bus was opened.
    pub duplicates: u64,
    /// Identities that are remembered.
    pub identities: u64,
    /// Bytes of memory that they take.
    pub identity_bytes: u64,
    /// Commits since the bus was opened.
    pub commits: u64,
    /// How often the scrub has gone through all events since the bus was opened.
    pub scrubs: u64,
    /// Events that subscriptions lost to retention since the bus was opened.
    pub lost: u64,
    /// Rows found damaged since the bus was opened.
    pub damaged: u64,
    /// Events given up since the bus was opened.
    pub dead_lettered: u64,
    /// Events dropped by retention since the bus was opened.
    pub dropped: u64,
    /// Ephemeral events that receivers missed since the bus was opened.
    pub ephemeral_lagged: u64,
}

/// What an event counts for in the queue at least, in bytes.
const LEAST_ROOM: usize = 1_024;

impl Bus {
    /// Opens the journal in the folder, or makes it. Blocks while the events since the last checkpoint
    /// are checked.
    ///
    /// # Errors
    /// It is in use, of a later schema, or cannot be read or written. A damaged one is opened with
    /// what is sound of it; see [`opened`](Self::opened).
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let parts = open::open(options.clone())?;
        Ok(Self(Arc::new(Inner {
            hub: parts.hub,
            room: Room::new(options.queue_bytes),
            options,
            opened: parts.opened,
            files: parts.files,
            writer: Mutex::new(Some(parts.writer)),
        })))
    }

    /// What was found on opening.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// The identity of the journal: a UUID, made with it and never changed.
    #[must_use]
    pub fn journal(&self) -> &str {
        &self.0.hub.journal
    }

    /// Publishes a batch, all or nothing, and returns once it is on disk. While the queue is full it
    /// waits, up to [`Options::patience`].
    ///
    /// # Errors
    /// Why, with the batch. Nothing of it was written. Dropping this before it is done leaves open
    /// whether it was; publishing it again is safe, since repeats are told by source and id.
    pub async fn publish(&self, batch: Vec<Event>) -> Result<Vec<Published>, PublishError> {
        let (ready, room) = self.prepare(batch)?;
        let clock = &self.hub().clock;
        let taken = match self.0.room.try_take(room) {
            Ok(taken) => taken,
            Err(_) => {
                let patience = clock.wait_until(clock.elapsed() + self.0.options.patience);
                tokio::select! {
                    taken = self.0.room.take(room) => match taken {
                        Ok(taken) => taken,
                        Err(_) => return Err(refused(PublishReason::Write(WriteError::Closed), ready)),
                    },
                    () = patience => return Err(refused(PublishReason::Full, ready)),
                }
            }
        };
        self.enqueue(ready, Vec::new(), taken).await
    }

    /// Publishes a batch as [`publish`](Self::publish) does, if there is room in the queue now. What it
    /// returns waits until the batch is on disk; the batch is written whether that is awaited or not.
    ///
    /// # Errors
    /// The queue is full, or the batch is refused; it is handed back.
    pub fn try_publish(
        &self,
        batch: Vec<Event>,
    ) -> Result<
        impl Future<Output = Result<Vec<Published>, PublishError>> + Send + use<>,
        PublishError,
    > {
        self.try_publish_with(batch, Vec::new())
    }

    /// Publishes a batch as [`try_publish`](Self::try_publish) does, and changes keys in the same
    /// transaction.
    ///
    /// # Errors
    /// The same, or a key is not as was expected, which only waiting tells; nothing was written then.
    pub fn try_publish_with(
        &self,
        batch: Vec<Event>,
        keys: Vec<KeyChange>,
    ) -> Result<
        impl Future<Output = Result<Vec<Published>, PublishError>> + Send + use<>,
        PublishError,
    > {
        let (ready, room) = self.prepare(batch)?;
        match self.0.room.try_take(room) {
            Ok(taken) => Ok(self.enqueue(ready, keys, taken)),
            Err(_) => Err(refused(PublishReason::Full, ready)),
        }
    }

    /// Makes a batch ready, and says what room it takes in the queue.
    fn prepare(&self, batch: Vec<Event>) -> Result<(Vec<publish::Prepared>, u32), PublishError> {
        let ready = self.hub().preparation.all(batch)?;
        let bytes: usize = ready.iter().map(|prepared| prepared.body.len().max(LEAST_ROOM)).sum();
        let limit = self.0.room.limit();
        match u32::try_from(bytes).ok().filter(|room| *room <= limit) {
            Some(room) => Ok((ready, room)),
            None => {
                let limit = limit as usize;
                Err(refused(PublishReason::BatchTooLarge { bytes, limit }, ready))
            }
        }
    }

    fn enqueue(
        &self,
        ready: Vec<publish::Prepared>,
        keys: Vec<KeyChange>,
        room: Taken,
    ) -> impl Future<Output = Result<Vec<Published>, PublishError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let events = Vec::with_capacity(ready.len());
        let done = Acknowledged { events, ..Acknowledged::default() };
        let job = PublishJob { ready, keys, conflict: None, answer, done, _room: room };
        self.hub().submit(Box::new(job));
        async move {
            match answered.await {
                Ok(Ok(published)) => Ok(published),
                Ok(Err((reason, batch))) => Err(PublishError { reason, batch }),
                // Only a panic of the writer loses its answers.
                Err(_) => Err(PublishError {
                    reason: PublishReason::Write(WriteError::Closed),
                    batch: Vec::new(),
                }),
            }
        }
    }

    /// Joins the subscription of this name. It is made if it is not there; if it is, the options given
    /// now hold for all its members, but for where it starts.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn subscribe(
        &self,
        options: SubscriptionOptions,
    ) -> Result<Subscription, WriteError> {
        let hub = Arc::clone(self.hub());
        self.ask(|answer| DeclareJob { hub, options, made: None, answer }).await?
    }

    /// Removes a subscription, its place and its dead letters. Its members end.
    ///
    /// # Errors
    /// It could not be written. That there is none is not an error, but `false`.
    pub async fn unsubscribe(&self, name: SubscriptionName) -> Result<bool, WriteError> {
        let hub = Arc::clone(self.hub());
        self.ask(|answer| RemoveJob { hub, name, answer }).await?
    }

    /// Delivers to a subscription once more what it has had, and marks it
    /// ([`Delivery::is_replay`](crate::Delivery::is_replay)): from `from`, up to `to`. Then it goes on
    /// where it was, over restarts too. Nothing is passed over that it had not: what it never had comes
    /// after, and what is out or waits to be tried again goes on as it is, unmarked. A redelivery that
    /// is under way already ends. Returns what is delivered again; `None` if there is no subscription
    /// of this name.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn redeliver(
        &self,
        name: SubscriptionName,
        from: Start,
        to: End,
    ) -> Result<Option<Redelivery>, WriteError> {
        let hub = Arc::clone(self.hub());
        self.ask(|answer| RedeliverJob { hub, name, from, to, found: None, answer }).await?
    }

    /// How all subscriptions stand, by name.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let hub = self.hub();
        let mut all: Vec<_> =
            lock(&hub.subscriptions).values().map(|shared| shared.status(hub)).collect();
        all.sort_by(|left, right| left.name.cmp(&right.name));
        all
    }

    /// Dead letters after `after`, of one subscription or of all.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn dead_letters(
        &self,
        of: Option<SubscriptionName>,
        after: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let question =
            move |connection: &_| dead_letters::list(connection, of.as_ref(), after, limit);
        self.hub().reader.ask(question).await
    }

    /// How many dead letters each subscription has, of those that have any. Reads none of them.
    ///
    /// # Errors
    /// They could not be counted.
    pub async fn count_dead_letters(&self) -> Result<BTreeMap<SubscriptionName, u64>, ReadError> {
        self.hub().reader.ask(dead_letters::count).await
    }

    /// Hands a dead letter to its subscription again, with all its attempts. It stays a dead letter
    /// until it is acknowledged.
    ///
    /// # Errors
    /// It could not be written. That there is none is not an error, but `false`.
    pub async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<bool, WriteError> {
        self.decide(id, Fate::Retry).await
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    /// It could not be written. That there is none is not an error, but `false`.
    pub async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool, WriteError> {
        self.decide(id, Fate::Drop).await
    }

    async fn decide(&self, id: DeadLetterId, fate: Fate) -> Result<bool, WriteError> {
        let hub = Arc::clone(self.hub());
        self.ask(|answer| DeadLetterJob { hub, id, fate, found: None, answer }).await?
    }

    /// Changes keys, all or none. Returns their new revisions, 0 for one that was removed.
    ///
    /// # Errors
    /// A key is not as was expected, or it could not be written.
    pub async fn change_keys(&self, changes: Vec<KeyChange>) -> Result<Vec<u64>, KeyError> {
        self.ask(|answer| KeysJob { changes, done: Ok(Vec::new()), answer }).await?
    }

    /// The entry of a key; `None` if it is absent or ran out.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn key(&self, bucket: &str, key: &str) -> Result<Option<KeyEntry>, ReadError> {
        let (bucket, key, now) = (bucket.to_owned(), key.to_owned(), self.now());
        self.hub().reader.ask(move |connection| keys::get(connection, &bucket, &key, now)).await
    }

    /// The entries of a bucket whose keys begin with `prefix`, in the order of keys.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<KeyEntry>, ReadError> {
        let (bucket, prefix, now) = (bucket.to_owned(), prefix.to_owned(), self.now());
        self.hub().reader.ask(move |connection| keys::list(connection, &bucket, &prefix, now)).await
    }

    /// Watches the keys of a bucket from now on. Take the watch first and list the keys then: what
    /// changes in between is told twice and never missed.
    #[must_use]
    pub fn watch_keys(&self, bucket: &str) -> KeyWatch {
        KeyWatch { bucket: bucket.to_owned(), events: self.hub().key_events.subscribe() }
    }

    /// Hands an event to whoever listens now, and keeps it nowhere.
    ///
    /// Returns how many listen.
    pub fn publish_ephemeral(&self, event: Event) -> usize {
        self.hub().ephemeral.send(Arc::new(event)).unwrap_or(0)
    }

    /// Listens to ephemeral events.
    #[must_use]
    pub fn listen(&self, filter: EventFilter) -> Ephemeral {
        Ephemeral::new(filter, self.hub())
    }

    /// What a person or the node should know, from now on. At most 256 are held for a receiver that is
    /// slow; it is told how many it missed.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.hub().notices.subscribe()
    }

    /// How the bus stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let counters = &self.hub().counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            first: self.hub().first(),
            last: self.hub().last(),
            bytes: self.0.files.bytes(),
            failing: lock(&self.hub().failures).first().cloned(),
            queued_bytes: self.0.room.taken(),
            published: count(&counters.published),
            duplicates: count(&counters.duplicates),
            identities: count(&counters.identities),
            identity_bytes: count(&counters.identity_bytes),
            commits: count(&counters.commits),
            scrubs: self.hub().scrub.passes(),
            lost: count(&counters.lost),
            damaged: count(&counters.damaged),
            dead_lettered: count(&counters.dead_lettered),
            dropped: count(&counters.dropped),
            ephemeral_lagged: count(&counters.ephemeral_lagged),
        }
    }

    /// Does now what the writer does by itself every [`Options::upkeep`]: closes a segment that is old
    /// enough, drops what retention lets go, removes keys that ran out. Returns when it is done.
    ///
    /// # Errors
    /// The bus is closed.
    pub async fn look_after(&self) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.hub().queue.push(Message::Upkeep(answer)).map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)
    }

    /// Goes by other limits from now on, for what is handed in after this returns. What retention and
    /// the window of identities let go by them begins to go now, as soon as nobody needs it; what was
    /// dropped before does not come back. A queue that is made smaller lets what waits in it be
    /// written.
    ///
    /// All else of [`Options`] stays as the bus was opened with.
    ///
    /// # Errors
    /// The bus is closed.
    pub async fn configure(&self, limits: Limits) -> Result<(), WriteError> {
        self.hub().preparation.limit(limits.max_event_bytes);
        self.0.room.resize(limits.queue_bytes);
        let (answer, answered) = oneshot::channel();
        let message = Message::Configure(Box::new(limits), answer);
        self.hub().queue.push(message).map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)
    }

    /// Closes the bus: what was handed in is written, all else is refused from now on. Blocks until the
    /// files are closed. Dropping the last clone does the same.
    pub fn close(&self) {
        self.0.close();
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    pub(crate) fn now(&self) -> i64 {
        clock::to_millis(self.hub().clock.now())
    }

    /// Hands a job to the writer and waits for its answer.
    async fn ask<J: Job + 'static, T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> J,
    ) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.hub().submit(Box::new(job(answer)));
        answered.await.map_err(|_| WriteError::Closed)
    }
}

fn refused(reason: PublishReason, ready: Vec<publish::Prepared>) -> PublishError {
    PublishError { reason, batch: publish::unprepare(ready) }
}

impl Inner {
    fn close(&self) {
        self.hub.queue.close();
        if let Some(writer) = lock(&self.writer).take() {
            // A panic there was told already, by the panic's own message.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bus").field(&self.0.options.folder).finish()
    }
}
