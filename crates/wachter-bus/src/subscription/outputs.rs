use wachter_model::Event;

use crate::keys::{KeyChange, KeyConflict};
use crate::{PublishReason, Published, WriteError};

/// What comes of the work on an event, committed together with its settling.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Events. One that had been accepted before is not written again.
    pub events: Vec<Event>,
    /// Changes of keys; if one does not meet what it expects, nothing is committed.
    pub keys: Vec<KeyChange>,
}

/// What became of the outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Of each event, where it stands.
    pub events: Vec<Published>,
    /// Of each change of a key, its new revision; of a removal, 0.
    pub revisions: Vec<u64>,
}

/// Why a delivery was not settled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AckError {
    /// The deadline was past, and the event has been given to somebody else, or the subscription was
    /// set back or removed.
    #[error(
        "the delivery is not held any more: its deadline was past, or its subscription changed"
    )]
    Expired,
    /// A key is not as was expected.
    #[error(transparent)]
    Conflict(KeyConflict),
    /// An output may not be published.
    #[error("an output was refused")]
    Refused(#[source] PublishReason),
    /// It could not be written.
    #[error(transparent)]
    Write(WriteError),
}
