use std::fmt;

/// The place of an event in the journal: 1 for the first, and one more for each that follows.
///
/// Numbers are given in the order of commits and are never given twice. A number whose event was
/// lost or dropped stays empty.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The number as such.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number as such.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As SQLite keeps it.
    pub(crate) const fn to_sql(self) -> i64 {
        self.0.cast_signed()
    }

    /// As SQLite kept it. A negative number is damage, and comes out as a number that no journal
    /// reaches.
    pub(crate) const fn from_sql(number: i64) -> Self {
        Self(number.cast_unsigned())
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Events that follow one another, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct SeqRange {
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
}

impl SeqRange {
    /// From `first` to `last`.
    #[must_use]
    pub const fn new(first: Seq, last: Seq) -> Self {
        Self { first, last }
    }

    /// How many numbers it spans.
    #[must_use]
    pub const fn len(self) -> u64 {
        (self.last.0 + 1).saturating_sub(self.first.0)
    }

    /// Whether it spans none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Puts `seq` to the last range if it follows it, and begins another if not.
    pub(crate) fn push(ranges: &mut Vec<Self>, seq: Seq) {
        match ranges.last_mut() {
            Some(range) if range.last.0 + 1 == seq.0 => range.last = seq,
            _ => ranges.push(Self::new(seq, seq)),
        }
    }
}

impl fmt::Display for SeqRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
