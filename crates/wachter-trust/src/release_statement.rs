use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use wachter_model::Digest;

use crate::RepositoryId;
use crate::names::{CommitId, Ring, parse_time};

const HEADER: &str = "wachter-release v1";

/// More than any statement has.
const MAX_BYTES: usize = 1024;

/// The number of a release: 1 for the first of a repository, and one or more higher each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

/// Why a text is not the number of a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a release is numbered by a whole number from 1, without leading zeros")]
pub struct ParseSequenceError;

/// The name of a tag that is a release: `wachter/7`, or `wachter/7.2` for the second signer's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseTag {
    sequence: Sequence,
    copy: u32,
}

/// Why a text is not the name of a release's tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a release's tag is named `wachter/SEQUENCE`, a further signature `wachter/SEQUENCE.N` with N from 2"
)]
pub struct ParseReleaseTagError;

/// What the signers of a release state: the message of its tag.
///
/// ```text
/// wachter-release v1
/// repository 6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19
/// sequence 7
/// commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
/// tree 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
/// not-after 2027-01-31T00:00:00Z
/// ring stable
/// previous 6
/// ```
///
/// `tree` is what [`TreeListing`](crate::TreeListing) computes. `previous` is the release that this one
/// was compared with when it was made, or `none`. There is exactly one text for each statement: other
/// lines, another order, spaces or a blank line are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseStatement {
    /// The repository that the release is of.
    pub repository: RepositoryId,
    /// The number of the release.
    pub sequence: Sequence,
    /// The released commit.
    pub commit: CommitId,
    /// The digest of the commit's tree.
    pub tree: Digest,
    /// The last moment at which a node accepts the release for the first time. Whole seconds.
    pub not_after: Timestamp,
    /// Which nodes it is for.
    pub ring: Ring,
    /// The release before it.
    pub previous: Option<Sequence>,
}

/// Why a text is not a release statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Another version, or no statement at all.
    #[error("the first line is not `{HEADER}`; make releases with `wachter release`")]
    Header,
    /// A line that is missing, in another place or not in its one form.
    #[error("line {line} is not `{name} VALUE`; make releases with `wachter release`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What it must start with.
        name: &'static str,
    },
    /// More than a statement.
    #[error("there is more than a statement; make releases with `wachter release`")]
    Extra,
    /// A release before itself.
    #[error("the previous release is not below the release itself")]
    Previous,
}

impl ReleaseStatement {
    /// Reads the text.
    ///
    /// # Errors
    /// Everything that [`ReleaseStatement::render`] would not write.
    pub fn parse(text: &str) -> Result<Self, StatementError> {
        if text.len() > MAX_BYTES {
            return Err(StatementError::Extra);
        }
        let text = text.strip_prefix(HEADER).and_then(|text| text.strip_prefix('\n'));
        let mut lines = text.ok_or(StatementError::Header)?.split_inclusive('\n');
        let mut line = 1;
        let mut field = |name: &'static str| {
            line += 1;
            Field::read(lines.next().unwrap_or_default(), line, name)
        };
        let statement = Self {
            repository: field("repository")?.parse()?,
            sequence: field("sequence")?.parse()?,
            commit: field("commit")?.parse()?,
            tree: field("tree")?.parse()?,
            not_after: field("not-after")?.with(parse_time)?,
            ring: field("ring")?.parse()?,
            previous: field("previous")?.with(|text| match text {
                "none" => Some(None),
                text => text.parse().ok().map(Some),
            })?,
        };
        if statement.previous.is_some_and(|previous| previous >= statement.sequence) {
            return Err(StatementError::Previous);
        }
        if lines.next().is_some() { Err(StatementError::Extra) } else { Ok(statement) }
    }

    /// Writes the text.
    #[must_use]
    pub fn render(&self) -> String {
        let Self { repository, sequence, commit, tree, ring, .. } = self;
        let not_after = Timestamp::from_second(self.not_after.as_second())
            .expect("dropping the fraction stays within range");
        let previous = self.previous.map_or("none".to_owned(), |previous| previous.to_string());
        format!(
            "{HEADER}\nrepository {repository}\nsequence {sequence}\ncommit {commit}\ntree {tree}\n\
             not-after {not_after}\nring {ring}\nprevious {previous}\n"
        )
    }
}

/// The value of one line.
struct Field<'a> {
    name: &'static str,
    line: usize,
    value: &'a str,
}

impl<'a> Field<'a> {
    fn read(text: &'a str, line: usize, name: &'static str) -> Result<Self, StatementError> {
        let value =
            text.strip_suffix('\n').and_then(|text| text.strip_prefix(name)?.strip_prefix(' '));
        Ok(Self { name, line, value: value.ok_or(StatementError::Line { line, name })? })
    }

    fn parse<T: FromStr>(self) -> Result<T, StatementError> {
        self.with(|text| text.parse().ok())
    }

    fn with<T>(self, read: impl FnOnce(&str) -> Option<T>) -> Result<T, StatementError> {
        read(self.value).ok_or(StatementError::Line { line: self.line, name: self.name })
    }
}

impl Sequence {
    /// The first release of a repository.
    pub const FIRST: Self = Self(1);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of the release after this one; nothing after the last that there can be.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl FromStr for Sequence {
    type Err = ParseSequenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number @ 1..) if digits => Ok(Self(number)),
            _ => Err(ParseSequenceError),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ReleaseTag {
    /// The tag of the first signer.
    #[must_use]
    pub const fn first(sequence: Sequence) -> Self {
        Self { sequence, copy: 1 }
    }

    /// The tag of the signer after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { sequence: self.sequence, copy: self.copy.saturating_add(1) }
    }

    /// The release that the tag is of.
    #[must_use]
    pub const fn sequence(self) -> Sequence {
        self.sequence
    }

    /// Whether it is the tag of the first signer.
    #[must_use]
    pub const fn is_first(self) -> bool {
        self.copy == 1
    }
}

impl FromStr for ReleaseTag {
    type Err = ParseReleaseTagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("wachter/").ok_or(ParseReleaseTagError)?;
        let (sequence, copy) = match text.split_once('.') {
            Some((sequence, copy)) => (sequence, Some(copy)),
            None => (text, None),
        };
        let sequence = sequence.parse().map_err(|_| ParseReleaseTagError)?;
        let copy = match copy {
            None => 1,
            Some(copy) => copy
                .parse::<Sequence>()
                .ok()
                .and_then(|copy| u32::try_from(copy.0).ok())
                .filter(|copy| *copy >= 2)
                .ok_or(ParseReleaseTagError)?,
        };
        Ok(Self { sequence, copy })
    }
}

impl fmt::Display for ReleaseTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.copy {
            1 => f.pad(&format!("wachter/{}", self.sequence)),
            copy => f.pad(&format!("wachter/{}.{copy}", self.sequence)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "wachter-release v1\n\
        repository 6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19\n\
        sequence 7\n\
        commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12\n\
        tree 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\n\
        not-after 2027-01-31T00:00:00Z\n\
        ring stable\n\
        previous 6\n";

    #[allow(clippy::needless_pass_by_value, reason = "cases are written in place")]
    fn check(from: &str, to: &str, expected: Option<StatementError>) {
        let text = TEXT.replacen(from, to, 1);
        assert!(text != TEXT || from == to, "{from} is not in the text");
        let parsed = ReleaseStatement::parse(&text);
        if let Ok(statement) = &parsed {
            assert_eq!(statement.render(), text);
        }
        assert_eq!(parsed.err(), expected, "{text}");
    }

    #[test]
    fn takes_one_form_only() {
        use StatementError as E;
        check("", "", None);
        check("previous 6", "previous none", None);
        check("ring stable", "ring early", None);
        check("v1", "v2", Some(E::Header));
        check("wachter", "Wachter", Some(E::Header));
        check("sequence 7\n", "", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7", "sequence 07", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7", "sequence +7", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7", "sequence 0", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7", "sequence  7", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7", "sequence 7 ", Some(E::Line { line: 3, name: "sequence" }));
        check("sequence 7\n", "sequence 7\r\n", Some(E::Line { line: 3, name: "sequence" }));
        check("T00:00:00Z", "T00:00:00.5Z", Some(E::Line { line: 6, name: "not-after" }));
        check("previous 6\n", "previous 6", Some(E::Line { line: 8, name: "previous" }));
        check("previous 6\n", "previous 7\n", Some(E::Previous));
        check("previous 6\n", "previous 6\n\n", Some(E::Extra));
        check("previous 6\n", "previous 6\nnote hello\n", Some(E::Extra));
        check("previous 6\n", "", Some(E::Line { line: 8, name: "previous" }));
    }

    #[test]
    fn tag_names() {
        for good in ["wachter/1", "wachter/7.2", "wachter/18446744073709551615"] {
            assert_eq!(good.parse::<ReleaseTag>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "wachter/",
            "wachter/0",
            "wachter/01",
            "wachter/1.1",
            "wachter/1.02",
            "wachter/1.2.3",
            "refs/tags/wachter/1",
            "wachter/-1",
            "wachter/18446744073709551616",
        ] {
            assert!(bad.parse::<ReleaseTag>().is_err(), "{bad}");
        }
        assert_eq!(ReleaseTag::first(Sequence(3)).next().to_string(), "wachter/3.2");
    }

    proptest! {
        #[test]
        fn parse_undoes_render(sequence in 1..u64::MAX, tree: [u8; 32], second in 0..4_000_000_000_i64, early: bool, previous: bool) {
            let statement = ReleaseStatement {
                repository: RepositoryId::from_random([1; 16]),
                sequence: Sequence(sequence),
                commit: "a".repeat(if early { 40 } else { 64 }).parse().unwrap(),
                tree: Digest::from_bytes(tree),
                not_after: Timestamp::from_second(second).unwrap(),
                ring: if early { "early".parse().unwrap() } else { Ring::default() },
                previous: previous.then(|| Sequence(sequence - 1)).filter(|previous| previous.0 > 0),
            };
            prop_assert_eq!(ReleaseStatement::parse(&statement.render()), Ok(statement));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text: String) {
            let _ = (ReleaseStatement::parse(&text), text.parse::<ReleaseTag>());
        }
    }
}
