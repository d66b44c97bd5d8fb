//! Durable subscriptions.
//!
//! A subscription has one place in the journal. Members that hold it at the same time compete for
//! its events; what one of them has is leased to it in memory and written nowhere. Written is, with
//! each verdict and in its transaction, the **cursor**: how far the journal was looked through, and
//! which events before that are still open, with their deliveries and failures. After a crash, events
//! that were leased are open and are delivered again. Beside it stand the **waits**: which of the open
//! events are not to be delivered yet.
//!
//! An event that takes the node down each time it is handled must end among the dead letters, though
//! nothing was written when it was handed out. So after a crash a subscription is **careful**: as
//! many deliveries as could have been under way are handed out one at a time, and each is written
//! down before it is.
//!
//! Memory: at most [`SubscriptionOptions::window`] events, or 4 MiB of them and one more, are held
//! ahead, being retried and in flight together. A subscription that falls behind further reads from
//! the database what it needs; one that keeps up is fed by the writer and reads nothing. The writer
//! finds those whose topics mean an event by an index, so others cost a commit nothing.

mod bury;
mod cursor;
mod declare;
mod delivery;
mod feed;
mod filter;
mod idempotency_key;
mod mark;
mod member;
mod name;
mod numbers;
mod options;
mod outputs;
mod pending;
mod retry;
mod settle;
mod shared;
mod state;
mod waits;

pub(crate) use cursor::{Again, Cursor};
pub(crate) use declare::{DeclareJob, RedeliverJob, RemoveJob, first_at, load_all};
pub use delivery::Delivery;
pub use filter::{EventFilter, Predicate};
pub use idempotency_key::IdempotencyKey;
pub use member::{Subscription, SubscriptionStatus};
pub use name::{SubscriptionName, SubscriptionNameError};
pub use options::{End, Order, Redelivery, Start, SubscriptionOptions};
pub use outputs::{AckError, Acknowledged, Outputs};
pub use retry::Retry;
pub(crate) use shared::Shared;
pub(crate) use state::CursorChange;
pub(crate) use waits::Waits;
