//! Checks rows of the journal one after another; does no I/O.

use crate::checkpoint::Checkpoint;
use crate::stored::Raw;
use crate::{Chain, Seq, SeqRange};

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// Where.
    pub range: SeqRange,
    /// In what way.
    pub kind: DamageKind,
}

/// In what way events are not as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DamageKind {
    /// The body has another digest, or is no event: what it said is lost.
    Body,
    /// The body is whole, but its digest or its value of the chain is not.
    Seal,
    /// The row does not follow the one before: it was exchanged, or its number or time was changed.
    Link,
    /// There is no such row: what it said is lost.
    Missing,
    /// A checkpoint says otherwise than the rows before it, or is missing.
    Checkpoint,
}

impl DamageKind {
    /// What [`as_str`](Self::as_str) wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        [Self::Body, Self::Seal, Self::Link, Self::Missing, Self::Checkpoint]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// As it is kept and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Seal => "seal",
            Self::Link => "link",
            Self::Missing => "missing",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Follows the chain.
pub(crate) struct Verifier {
    /// The number that is expected next; `None` before the first row of a journal whose beginning is
    /// gone.
    expected: Option<u64>,
    /// Values of the chain that the next row may follow. More than one after a row whose own value was
    /// damaged, of which it is not known yet in what.
    chains: Vec<Chain>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) events: u64,
    pub(crate) checkpoints: u64,
}

impl Verifier {
    /// Expects the row at `next`, after `chain` if that is known.
    pub(crate) fn new(next: Option<Seq>, chain: Option<Chain>) -> Self {
        Self {
            expected: next.map(Seq::get),
            chains: chain.into_iter().collect(),
            damage: Vec::new(),
            events: 0,
            checkpoints: 0,
        }
    }

    /// Takes the next row. Returns whether its body can be trusted.
    pub(crate) fn row(&mut self, raw: &Raw) -> bool {
        self.events += 1;
        let seq = raw.seq;
        if let Some(expected) = self.expected.filter(|expected| *expected < seq.get()) {
            let range = SeqRange::new(Seq::new(expected), Seq::new(seq.get() - 1));
            self.note_range(range, DamageKind::Missing);
            self.chains.clear();
        }
        self.expected = Some(seq.get() + 1);
        let Some(seal) = raw.seal else {
            self.note(seq, DamageKind::Seal);
            self.chains.clear();
            return false;
        };
        let actual = crate::chain::digest(&raw.body);
        let next = |digest: &[u8; 32]| {
            let digest = *digest;
            move |chain: &Chain| chain.next(seq, raw.at, &digest)
        };
        let by_digest: Vec<_> = self.chains.iter().map(next(&seal.digest)).collect();
        let follows = self.chains.is_empty() || by_digest.contains(&seal.chain);
        let sound = seal.digest == actual;
        let expected_chain = by_digest.last().copied();
        match (sound, follows) {
            (true, true) => self.chains = vec![seal.chain],
            // The chain goes on with the digest, so the body is what changed.
            (false, true) => {
                self.note(seq, DamageKind::Body);
                self.chains = vec![seal.chain];
            }
            (false, false) => {
                let by_body: Vec<_> = self.chains.iter().map(next(&actual)).collect();
                if by_body.contains(&seal.chain) {
                    // The chain goes on with the body, so the digest is what changed.
                    self.note(seq, DamageKind::Seal);
                    self.chains = vec![seal.chain];
                } else {
                    self.note(seq, DamageKind::Body);
                    self.chains = by_digest;
                    self.chains.extend(by_body);
                    self.chains.push(seal.chain);
                }
            }
            // Whether the value here is wrong or the row is another one, the next row tells: it
            // follows what should be here in the former case, and what is here in the latter.
            (true, false) => {
                self.note(seq, DamageKind::Link);
                self.chains = by_digest;
                self.chains.push(seal.chain);
                self.chains.truncate(4);
                return true;
            }
        }
        // The row before was said to be out of line; if this one follows what should have stood
        // there, only its value of the chain was damaged.
        if follows
            && let Some(last) = self.damage.last_mut().filter(|damage| {
                damage.kind == DamageKind::Link && damage.range.last.get() + 1 == seq.get()
            })
            && expected_chain != Some(seal.chain)
        {
            last.kind = DamageKind::Seal;
        }
        sound
    }

    /// Compares a checkpoint with the rows up to its last, which were just taken.
    pub(crate) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.checkpoints += 1;
        let reached = self.expected == Some(checkpoint.last.get() + 1);
        if reached && !self.chains.is_empty() && !self.chains.contains(&checkpoint.chain) {
            let range = SeqRange::new(checkpoint.first, checkpoint.last);
            self.note_range(range, DamageKind::Checkpoint);
        }
    }

    /// Says that rows up to `last` should have been there.
    pub(crate) fn end(&mut self, last: Seq) {
        if let Some(expected) = self.expected.filter(|expected| *expected <= last.get()) {
            self.note_range(SeqRange::new(Seq::new(expected), last), DamageKind::Missing);
            self.expected = Some(last.get() + 1);
            self.chains.clear();
        }
    }

    /// The chain after what was taken.
    pub(crate) fn chain(&self) -> Option<Chain> {
        self.chains.last().copied()
    }

    fn note(&mut self, seq: Seq, kind: DamageKind) {
        self.note_range(SeqRange::new(seq, seq), kind);
    }

    fn note_range(&mut self, range: SeqRange, kind: DamageKind) {
        match self.damage.last_mut() {
            Some(last) if last.kind == kind && last.range.last.get() + 1 == range.first.get() => {
                last.range.last = range.last;
            }
            _ => self.damage.push(Damage { range, kind }),
        }
    }
}
