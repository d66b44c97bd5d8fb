use crate::{Seq, SeqRange, SubscriptionName, WriteError};

/// Something that a person or the node should know about the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Rows are damaged; they are passed over from now on.
    Damaged {
        /// Which.
        range: SeqRange,
    },
    /// Retention dropped events that a subscription had not had, since it was past its limit.
    Lost {
        /// Whose.
        subscription: SubscriptionName,
        /// Which; some of them it may not have wanted.
        range: SeqRange,
    },
    /// An event was given up.
    DeadLettered {
        /// By whom.
        subscription: SubscriptionName,
        /// Which.
        seq: Seq,
        /// Why.
        reason: String,
    },
    /// Reading or writing fails.
    Failing(WriteError),
    /// All that failed works again.
    Recovered,
    /// A checkpoint could not be signed; it is tried again.
    Unsigned {
        /// Why.
        reason: String,
    },
}
