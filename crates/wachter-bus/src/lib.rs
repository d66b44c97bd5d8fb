//! The journal of a node and the bus over it: events that survive, subscriptions that lose none, keys,
//! and an audit log that shows what was changed.
//!
//! ```text
//!  publish, ack(outputs) ──► queue ──► writer thread ──► journal.db (SQLite, one fsync a group)
//!                                          │                 ▲
//!                   subscriptions ◄── fed ─┘                 │
//!                        └── behind: read pages ──► reader thread
//! ```
//!
//! # Invariants
//! - Nothing is acknowledged that is not on disk.
//! - No queue and no page of memory grows without a bound; what is full waits or is handed back.
//! - A number of an event is never given twice, whatever was lost.
//! - Nothing is written when an event is delivered; only when it is settled.
//! - A slow or hanging member holds up no other subscription and no publisher.
//! - This crate runs no task, opens no socket, and knows no module, agent or policy.
//!
//! # Limits
//! An event has 1 MiB, a topic 16 words; the queue takes 8 MiB; a group is 512 jobs or 4 MiB; a
//! subscription holds 1,024 events or 4 MiB ahead; identities take less than 6 MiB for a million.

mod audit;
mod bus;
mod chain;
mod checkpoint;
mod clock;
pub mod conformance;
mod connect;
mod dead_letters;
mod dedup;
mod ephemeral;
mod failures;
mod hub;
mod job;
mod keys;
mod notice;
mod open;
mod options;
mod own_events;
mod publish;
mod queue;
mod read_error;
mod reader;
mod replay;
mod room;
mod routes;
mod salvage;
mod schema;
mod scrub;
mod seq;
mod short_id;
mod stored;
mod subscription;
mod trace;
mod verify;
mod write_error;
mod writer;

pub use audit::{AuditReport, SignatureReport};
pub use bus::{Bus, Status};
pub use chain::Chain;
pub use checkpoint::{Checkpoint, ParseCheckpointError, Signer};
pub use clock::{Clock, ManualClock, SystemClock};
pub use dead_letters::{DeadLetter, DeadLetterId};
pub use ephemeral::{Ephemeral, Heard};
pub use keys::{
    Expect, KeyChange, KeyConflict, KeyEntry, KeyError, KeyEvent, KeyWatch, WatchError,
};
pub use notice::Notice;
pub use open::{OpenError, Opened};
pub use options::{DedupWindow, GroupLimits, Limits, Options, Retention, SegmentLimits};
pub use publish::{PublishError, PublishReason, Published};
pub use read_error::ReadError;
pub use replay::{Query, Replay};
pub use salvage::{Salvage, SalvageError};
pub use seq::{Seq, SeqRange};
pub use stored::Stored;
pub use subscription::{
    AckError, Acknowledged, Delivery, End, EventFilter, IdempotencyKey, Order, Outputs, Predicate,
    Redelivery, Retry, Start, Subscription, SubscriptionName, SubscriptionNameError,
    SubscriptionOptions, SubscriptionStatus,
};
pub use trace::{Trace, Traced};
pub use verify::{Damage, DamageKind};
pub use write_error::WriteError;

/// Locks; after a panic of another thread too, since no lock here is held while something is half done.
fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
