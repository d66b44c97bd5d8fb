use std::path::Path;

use serde::Deserialize;
use wachter_bus::Checkpoint;
use wachter_file::read_limited;
use wachter_model::Digest;

use crate::failure::{CommandError, CommandResult, chain};

/// What the chain was after an event, as somebody kept it apart from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    chain: Digest,
}

/// The parts of a report that matter here; it may be of a later version with more.
#[derive(Deserialize)]
struct Report {
    last: u64,
    chain: Digest,
}

/// The most bytes of the file: a checkpoint with its signature, or a report with its damage.
const LARGEST: u64 = 1 << 20;

impl Mark {
    /// Reads a checkpoint, or a report in JSON.
    ///
    /// # Errors
    /// The file cannot be read, or is neither.
    pub(super) fn read(path: &Path) -> Result<Self, CommandError> {
        let bytes = read_limited(path, LARGEST).map_err(|error| {
            CommandError::failed(format!("cannot read {}: {error}", path.display()))
        })?;
        Self::parse(&bytes)
            .map_err(|reason| CommandError::usage(format!("{}: {reason}", path.display())))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        if text.trim_start().starts_with('{') {
            let Report { last, chain } = serde_json::from_str(text)
                .map_err(|error| format!("it is no report of `audit verify`: {error}"))?;
            return Ok(Self { sequence: last, chain });
        }
        let checkpoint = Checkpoint::parse(text).map_err(|error| chain(&error))?;
        let sequence = checkpoint.last.get();
        let digest = checkpoint
            .chain
            .to_string()
            .parse()
            .map_err(|error: wachter_model::ParseDigestError| chain(&error))?;
        Ok(Self { sequence, chain: digest })
    }

    /// Whether the journal agrees.
    pub(super) fn compare(&self, chain: Digest) -> CommandResult {
        if chain == self.chain {
            return Ok(());
        }
        Err(CommandError::refused(format!(
            "the journal was rewritten: after event {} its chain was {}, and is {} now",
            self.sequence,
            self.chain.short(),
            chain.short()
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_checkpoints_and_reports() {
        let zeros = "00".repeat(32);
        let ab = "ab".repeat(32);
        let checkpoint = format!(
            "wachter-journal-checkpoint v1\njournal 0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55\nfirst 1\nlast 7\ncount 7\ntime 2026-11-22T10:00:00Z\nprevious {zeros}\nchain {ab}\n"
        );
        let report = format!("{{ \"valid\": true, \"last\": 7, \"chain\": \"{ab}\" }}");
        let expected = Mark { sequence: 7, chain: ab.parse().unwrap() };
        for text in [checkpoint.clone(), checkpoint + "-----BEGIN SSH SIGNATURE-----\n", report] {
            assert_eq!(Mark::parse(text.as_bytes()), Ok(expected), "{text}");
        }
        assert!(expected.compare(ab.parse().unwrap()).is_ok());
        assert!(expected.compare(zeros.parse().unwrap()).is_err());
        for (text, words) in [("", "not a checkpoint"), ("{}", "no report"), ("\u{feff}", "line 1")]
        {
            let error = Mark::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_file_is_a_mark_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = Mark::parse(&bytes);
        }
    }
}
