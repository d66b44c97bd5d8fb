use std::fmt;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::{Chain, ReadError, Seq, SeqRange, clock};

/// Signs checkpoints, so that whoever has the file cannot make up a history.
pub trait Signer: fmt::Debug + Send + Sync + 'static {
    /// Signs `text`, which is [`Checkpoint::text`]. What comes back is kept as it is; the node signs
    /// with SSHSIG in the namespace `wachter-journal`, so that `ssh-keygen -Y verify` can check it.
    ///
    /// # Errors
    /// A reason in words; the checkpoint is kept unsigned and signed later.
    fn sign(&self, text: &[u8]) -> Result<String, String>;
}

/// The end of a segment: what the journal held up to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The identity of the journal: a UUID.
    pub journal: String,
    /// The first event of the segment.
    pub first: Seq,
    /// The last event of the segment.
    pub last: Seq,
    /// How many events it had.
    pub count: u64,
    /// When it was closed.
    pub at: Timestamp,
    /// The chain before its first event.
    pub previous: Chain,
    /// The chain after its last event.
    pub chain: Chain,
    /// The signature, if there is one.
    pub signature: Option<String>,
    /// When its events were dropped, if they were.
    pub dropped: Option<Timestamp>,
}

/// The first line of a checkpoint.
const HEADING: &str = "wachter-journal-checkpoint v1";

/// Why a text is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a checkpoint of a journal: line {line} is wrong")]
pub struct ParseCheckpointError {
    /// Which line, from 1.
    pub line: usize,
}

impl Checkpoint {
    /// What is signed: a heading and eight lines of a name and a value, each ended by a line feed.
    ///
    /// ```text
    /// wachter-journal-checkpoint v1
    /// journal 0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55
    /// first 1
    /// last 65536
    /// count 65536
    /// time 2026-11-22T10:00:00Z
    /// previous <64 hexadecimal digits>
    /// chain <64 hexadecimal digits>
    /// ```
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{HEADING}\njournal {}\nfirst {}\nlast {}\ncount {}\ntime {}\nprevious {}\nchain {}\n",
            self.journal, self.first, self.last, self.count, self.at, self.previous, self.chain
        )
    }

    /// Reads what [`text`](Self::text) wrote, and takes what follows it for the signature.
    ///
    /// # Errors
    /// The number of the line that is not as it should be.
    pub fn parse(text: &str) -> Result<Self, ParseCheckpointError> {
        let mut lines = text.split_inclusive('\n').enumerate();
        let mut length = 0;
        let mut value = |name: &str| {
            let (index, line) = lines.next().unwrap_or((8, ""));
            length += line.len();
            let error = ParseCheckpointError { line: index + 1 };
            let line = line.strip_suffix('\n').ok_or_else(|| error.clone())?;
            let rest = line.strip_prefix(name).ok_or_else(|| error.clone())?;
            Ok((rest, error))
        };
        let (rest, error) = value(HEADING)?;
        if !rest.is_empty() {
            return Err(error);
        }
        let (journal, error) = value("journal ")?;
        uuid::Uuid::try_parse(journal).map_err(|_| error)?;
        let mut number = |name: &str| {
            let (text, error) = value(name)?;
            let canonical = text == "0" || !text.starts_with(['0', '+']);
            text.parse::<u64>().ok().filter(|_| canonical).ok_or(error)
        };
        let (first, last, count) = (number("first ")?, number("last ")?, number("count ")?);
        let (time, error) = value("time ")?;
        let at: Timestamp = time.parse().map_err(|_| error.clone())?;
        if at.to_string() != time {
            return Err(error);
        }
        let mut hash = |name: &str| {
            let (text, error) = value(name)?;
            Chain::from_hex(text).ok_or(error)
        };
        let (previous, chain) = (hash("previous ")?, hash("chain ")?);
        let signature = Some(&text[length..]).filter(|rest| !rest.is_empty()).map(str::to_owned);
        Ok(Self {
            journal: journal.to_owned(),
            first: Seq::new(first),
            last: Seq::new(last),
            count,
            at,
            previous,
            chain,
            signature,
            dropped: None,
        })
    }

    pub(crate) fn store(&self, connection: &Connection, bytes: u64) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO checkpoints (first, last, count, bytes, at, previous, chain, signature)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                self.first.to_sql(),
                self.last.to_sql(),
                self.count.cast_signed(),
                bytes.cast_signed(),
                clock::to_millis(self.at),
                self.previous.as_bytes(),
                self.chain.as_bytes(),
                self.signature,
            ])?;
        Ok(())
    }

    pub(crate) fn from_row(journal: &str, row: &Row<'_>) -> rusqlite::Result<Self> {
        let chain = |index| -> rusqlite::Result<Chain> {
            let bytes = row.get_ref(index)?.as_blob()?;
            // A value of the wrong length is damage; nothing chains to zeros.
            Ok(Chain::from_slice(bytes).or_else(|| Chain::from_slice(&[0; 32])).expect("32 zeros"))
        };
        Ok(Self {
            journal: journal.to_owned(),
            first: Seq::from_sql(row.get(0)?),
            last: Seq::from_sql(row.get(1)?),
            count: row.get::<_, i64>(2)?.cast_unsigned(),
            at: clock::from_millis(row.get(3)?),
            previous: chain(4)?,
            chain: chain(5)?,
            signature: row.get(6)?,
            dropped: row.get::<_, Option<i64>>(7)?.map(clock::from_millis),
        })
    }
}

const SELECT: &str =
    "SELECT first, last, count, at, previous, chain, signature, dropped FROM checkpoints";

/// All checkpoints, the oldest first; those of dropped segments too.
pub(crate) fn list(connection: &Connection, journal: &str) -> Result<Vec<Checkpoint>, ReadError> {
    let mut select = connection.prepare_cached(&format!("{SELECT} ORDER BY first"))?;
    let found = select.query_map([], |row| Checkpoint::from_row(journal, row))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Ranges between checkpoints, oldest first, that a checkpoint must have covered: the chain went on
/// there. Where it did not, there were numbers without events.
pub(crate) fn missing(checkpoints: &[Checkpoint], journal: &str) -> Vec<SeqRange> {
    let (mut last, mut chain) = (Seq::ZERO, Chain::begin(journal));
    let mut found = Vec::new();
    for checkpoint in checkpoints {
        let gap = SeqRange::new(
            Seq::new(last.get() + 1),
            Seq::new(checkpoint.first.get().saturating_sub(1)),
        );
        if !gap.is_empty() && checkpoint.previous != chain {
            found.push(gap);
        }
        (last, chain) = (checkpoint.last, checkpoint.chain);
    }
    found
}

/// The newest checkpoint.
pub(crate) fn newest(
    connection: &Connection,
    journal: &str,
) -> rusqlite::Result<Option<Checkpoint>> {
    use rusqlite::OptionalExtension as _;
    connection
        .prepare(&format!("{SELECT} ORDER BY first DESC LIMIT 1"))?
        .query_row([], |row| Checkpoint::from_row(journal, row))
        .optional()
}

/// A checkpoint that has no signature.
pub(crate) fn unsigned(
    connection: &Connection,
    journal: &str,
) -> rusqlite::Result<Option<Checkpoint>> {
    use rusqlite::OptionalExtension as _;
    connection
        .prepare_cached(&next_unsigned())?
        .query_row([], |row| Checkpoint::from_row(journal, row))
        .optional()
}

pub(crate) fn next_unsigned() -> String {
    format!("{SELECT} WHERE signature IS NULL ORDER BY first LIMIT 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint(first: u64, count: u64, millis: i64, bytes: [u8; 32]) -> Checkpoint {
        Checkpoint {
            journal: "0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55".into(),
            first: Seq::new(first),
            last: Seq::new(first.saturating_add(count)),
            count,
            at: clock::from_millis(millis),
            previous: Chain::begin("a"),
            chain: Chain::from_slice(&bytes).unwrap(),
            signature: None,
            dropped: None,
        }
    }

    proptest! {
        #[test]
        fn reads_back(first: u64, count: u64, millis in 0..4_000_000_000_000_i64, bytes: [u8; 32], rest: String) {
            let mut made = checkpoint(first, count, millis, bytes);
            let text = made.text() + &rest;
            made.signature = Some(rest).filter(|rest| !rest.is_empty());
            prop_assert_eq!(Checkpoint::parse(&text), Ok(made));
        }

        #[test]
        fn one_text_for_one_checkpoint(at: prop::sample::Index, put: char) {
            let text = checkpoint(1, 2, 3, [7; 32]).text();
            let at = at.index(text.len());
            let other = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            if let Ok(read) = Checkpoint::parse(&other) {
                prop_assert_eq!(read.text(), other);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Checkpoint::parse(&text);
        }
    }
}
