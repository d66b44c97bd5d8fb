use std::sync::Arc;
use std::time::Duration;

use super::cursor::Open;
use crate::Seq;
use crate::stored::Stored;

/// An event that a subscription has yet to settle.
pub(super) struct Pending {
    /// The event; absent until it is read, where only the cursor told of it.
    pub(super) stored: Option<Stored>,
    /// Deliveries begun.
    pub(super) deliveries: u32,
    /// Those of them that failed. The others were interrupted, or one of them is under way.
    pub(super) failures: u32,
    /// Whether it came back from the dead letters.
    pub(super) revived: bool,
    /// Whether its delivery is no replay, wherever it lies.
    pub(super) owed: bool,
    pub(super) phase: Phase,
}

/// Where an open event is between two deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It can be delivered, once it is read and its key is free.
    Ready,
    /// It is delivered again at this time. Whether that holds over a restart too: what was merely
    /// interrupted comes as soon as somebody is there.
    Waiting { due: Duration, lasts: bool },
    /// The delivery is being written down before it is made.
    Recording,
    /// The delivery is written down.
    Recorded,
    /// A member has it, by this token, until the deadline.
    Leased(u64, Duration),
    /// What the member made of it is being written; the token still holds.
    Settling(u64),
    /// It is being put to the dead letters.
    Burying,
}

impl Pending {
    pub(super) const fn new(stored: Stored) -> Self {
        Self {
            stored: Some(stored),
            deliveries: 0,
            failures: 0,
            revived: false,
            owed: false,
            phase: Phase::Ready,
        }
    }

    /// An event that a cursor tells of.
    pub(super) const fn told_of(open: Open) -> Self {
        let Open { deliveries, failures, revived, owed, .. } = open;
        Self { stored: None, deliveries, failures, revived, owed, phase: Phase::Ready }
    }

    /// What a cursor tells of it.
    pub(super) const fn open(&self, seq: Seq) -> Open {
        Open {
            seq,
            deliveries: self.deliveries,
            failures: self.failures,
            revived: self.revived,
            owed: self.owed,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| stored.bytes)
    }

    /// The key that it is delivered in the order of.
    pub(super) fn key(&self) -> Option<Arc<str>> {
        self.stored.as_ref().and_then(|stored| stored.event.partition_key()).map(Arc::from)
    }
}
