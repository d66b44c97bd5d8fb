use std::path::Path;

use serde::Deserialize;
use wachter_bus::Checkpoint;
use wachter_file::read_limited;
use wachter_model::Digest;

use crate::failure::{CommandError, CommandResult, chain};

/// What somebody kept of a journal, apart from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The text of a checkpoint, which the node compares.
    Checkpoint(String),
    /// What an earlier check printed.
    Report(Report),
}

/// What matters here of a report; a later version may have more.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Report {
    journal: String,
    pub(super) last: u64,
    /// The chain after the last event.
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
            let report = serde_json::from_str(text)
                .map_err(|error| format!("it is no report of `audit verify`: {error}"))?;
            return Ok(Self::Report(report));
        }
        Checkpoint::parse(text).map_err(|error| chain(&error))?;
        Ok(Self::Checkpoint(text.to_owned()))
    }
}

impl Report {
    /// Whether it is of this journal.
    pub(super) fn is_of(&self, journal: &str) -> CommandResult {
        if self.journal == journal {
            return Ok(());
        }
        Err(CommandError::refused(format!(
            "that is a report of another journal, {}; this is {journal}",
            self.journal
        )))
    }

    /// Whether the journal's chain after that event is what it was.
    pub(super) fn compare(&self, chain: Option<Digest>) -> CommandResult {
        if chain == Some(self.chain) {
            return Ok(());
        }
        let now = chain.map_or_else(|| "unknown".to_owned(), |chain| chain.short());
        Err(CommandError::refused(format!(
            "the journal was rewritten: after event {} its chain was {}, and is {now} now",
            self.last,
            self.chain.short()
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
        let signed = format!("{checkpoint}-----BEGIN SSH SIGNATURE-----\n");
        for text in [checkpoint, signed] {
            assert_eq!(Mark::parse(text.as_bytes()), Ok(Mark::Checkpoint(text.clone())));
        }
        let text =
            format!("{{ \"valid\": true, \"journal\": \"a\", \"last\": 7, \"chain\": \"{ab}\" }}");
        let Ok(Mark::Report(report)) = Mark::parse(text.as_bytes()) else { panic!("{text}") };
        assert!(report.is_of("a").is_ok() && report.is_of("b").is_err());
        assert!(report.compare(ab.parse().ok()).is_ok());
        for other in [zeros.parse().ok(), None] {
            assert!(report.compare(other).unwrap_err().message.contains("was rewritten"));
        }
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
