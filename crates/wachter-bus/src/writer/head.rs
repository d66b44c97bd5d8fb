use rusqlite::Connection;

use super::set_fact;
use crate::chain::Seal;
use crate::publish::Prepared;
use crate::{Chain, Seq};

/// What the next event follows. A copy is taken before each transaction and put back if it fails.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The number of the next event.
    pub(crate) next: u64,
    pub(crate) chain: Chain,
    /// When the last event was written; times never go back along the journal.
    pub(crate) at: i64,
    /// The newest revision of a key.
    pub(crate) revision: u64,
    pub(crate) segment: Segment,
}

/// The segment that is open.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// When its first event was written.
    pub(crate) opened: i64,
    /// The chain before its first event.
    pub(crate) previous: Chain,
}

impl Head {
    /// Takes one more event and seals it.
    pub(crate) fn extend(&mut self, seq: Seq, at: i64, prepared: &Prepared) -> Seal {
        let chain = self.chain.next(seq, at, &prepared.digest);
        self.passed(seq, at, chain, prepared.body.len() as u64);
        Seal { digest: prepared.digest, chain }
    }

    /// One more event is there.
    pub(crate) fn passed(&mut self, seq: Seq, at: i64, chain: Chain, bytes: u64) {
        if self.segment.count == 0 {
            self.segment.opened = at;
        }
        self.segment.count += 1;
        self.segment.bytes += bytes;
        self.chain = chain;
        self.at = self.at.max(at);
        self.next = seq.get() + 1;
    }

    /// Writes how far the journal goes, so that the loss of its end is noticed; and the revision, which
    /// must not be given twice. The former is not written with each commit: the row of the last event
    /// says the same, and one page less to write is a fifth of a small commit.
    pub(crate) fn store(&self, connection: &Connection) -> rusqlite::Result<()> {
        set_fact(connection, "last", (self.next - 1).cast_signed())?;
        self.store_revision(connection)
    }

    pub(crate) fn store_revision(&self, connection: &Connection) -> rusqlite::Result<()> {
        set_fact(connection, "revision", self.revision.cast_signed())
    }
}

impl Segment {
    /// An empty segment after `chain`.
    pub(crate) const fn after(next: u64, chain: Chain) -> Self {
        Self { first: next, count: 0, bytes: 0, opened: 0, previous: chain }
    }
}
