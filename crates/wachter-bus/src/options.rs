use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, Signer, SystemClock};

/// How a [`Bus`](crate::Bus) is opened. [`Options::new`] has the defaults, which are told below.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the journal. It is made if it is missing, and one bus has it at a time.
    pub folder: PathBuf,
    /// Tells the time. The system's.
    pub clock: Arc<dyn Clock>,
    /// Signs checkpoints; without one they are kept unsigned.
    pub signer: Option<Arc<dyn Signer>>,
    /// The SQLite VFS that files are opened by: for tests that take the disk away. The default one.
    pub vfs: Option<String>,
    /// The largest event, in bytes of its JSON. 1 MiB.
    pub max_event_bytes: usize,
    /// What may wait to be written, in bytes; an event counts as 1 KiB at least. 8 MiB.
    pub queue_bytes: u32,
    /// How long [`Bus::publish`](crate::Bus::publish) waits for room before it hands the batch back.
    /// 30 s.
    pub patience: Duration,
    /// What is written together.
    pub group: GroupLimits,
    /// How long an identity is remembered.
    pub dedup: DedupWindow,
    /// When a segment is closed by a checkpoint.
    pub segment: SegmentLimits,
    /// When segments are dropped.
    pub retention: Retention,
    /// How long the scrub rests after it has checked all events. It checks about 1 MiB in each
    /// [`upkeep`](Self::upkeep). 1 day.
    pub scrub_every: Duration,
    /// How often the writer looks after segments, retention and keys that ran out. 1 s.
    pub upkeep: Duration,
}

/// What can be changed while a bus is open, by [`Bus::configure`](crate::Bus::configure). Each is told
/// at its field of [`Options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`Options::max_event_bytes`].
    pub max_event_bytes: usize,
    /// [`Options::queue_bytes`].
    pub queue_bytes: u32,
    /// [`Options::dedup`].
    pub dedup: DedupWindow,
    /// [`Options::segment`].
    pub segment: SegmentLimits,
    /// [`Options::retention`].
    pub retention: Retention,
}

/// Bounds of one transaction, which is one `fsync`.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Publications and acknowledgements. 512.
    pub jobs: usize,
    /// Bytes of bodies. 4 MiB.
    pub bytes: usize,
}

/// The window within which an event of the same source and id is taken for the same event.
///
/// Identities are forgotten in generations, so somewhat more than the window is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupWindow {
    /// At least so many of the newest identities are remembered. 1,000,000.
    pub ids: usize,
    /// Identities older than this may be forgotten. 30 days.
    pub age: Duration,
    /// Identities in one generation, which is what is kept in memory whole. 57,344, at which a hash
    /// table of 65,536 places is full.
    pub generation: usize,
}

/// Bounds of one segment; the first that is met closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// Events. 65,536.
    pub events: u64,
    /// Bytes of bodies. 64 MiB.
    pub bytes: u64,
    /// Age of its first event. 1 h.
    pub age: Duration,
}

/// What is kept. Whole segments are dropped, the oldest first, once they are past one of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age of a segment's last event. 90 days.
    pub age: Option<Duration>,
    /// Bytes of all bodies. 4 GiB.
    pub bytes: Option<u64>,
    /// Events that are deleted in one step, between which publishers get their turn. 512.
    pub step: u32,
}

impl Options {
    /// The defaults over `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            clock: Arc::new(SystemClock::new()),
            signer: None,
            vfs: None,
            max_event_bytes: wachter_model::MAX_EVENT_BYTES,
            queue_bytes: 8 << 20,
            patience: Duration::from_secs(30),
            group: GroupLimits::default(),
            dedup: DedupWindow::default(),
            segment: SegmentLimits::default(),
            retention: Retention::default(),
            scrub_every: days(1),
            upkeep: Duration::from_secs(1),
        }
    }

    /// Those of them that can be changed while the bus is open.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            max_event_bytes: self.max_event_bytes,
            queue_bytes: self.queue_bytes,
            dedup: self.dedup,
            segment: self.segment,
            retention: self.retention,
        }
    }

    /// The same with these limits.
    #[must_use]
    pub fn with(self, limits: Limits) -> Self {
        let Limits { max_event_bytes, queue_bytes, dedup, segment, retention } = limits;
        Self { max_event_bytes, queue_bytes, dedup, segment, retention, ..self }
    }
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { jobs: 512, bytes: 4 << 20 }
    }
}

impl Default for DedupWindow {
    fn default() -> Self {
        Self { ids: 1_000_000, age: days(30), generation: 57_344 }
    }
}

impl Default for SegmentLimits {
    fn default() -> Self {
        Self { events: 65_536, bytes: 64 << 20, age: Duration::from_secs(3_600) }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Some(days(90)), bytes: Some(4 << 30), step: 512 }
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
