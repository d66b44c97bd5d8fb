use std::fmt;
use std::path::Path;

use serde::Deserialize;
use wachter_bus::Checkpoint;
use wachter_file::read_limited;
use wachter_model::Digest;
use wachter_trust::PublicKey;

use crate::failure::{CommandError, CommandResult, chain};
use crate::node::journal;

/// What somebody kept of a journal, apart from the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A checkpoint, which the node compares.
    Checkpoint(KeptCheckpoint),
    /// What an earlier check printed.
    Report(Report),
}

/// A checkpoint as it is handed on: a signature that was verified here is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptCheckpoint {
    text: String,
    signature: Option<String>,
}

impl fmt::Display for KeptCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(self.signature.as_deref().unwrap_or_default())
    }
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
        let checkpoint = Checkpoint::parse(text).map_err(|error| chain(&error))?;
        let (text, signature) = (checkpoint.text(), checkpoint.signature);
        Ok(Self::Checkpoint(KeptCheckpoint { text, signature }))
    }

    /// Whether it is a checkpoint that nobody signed.
    pub(super) fn is_unsigned(&self) -> bool {
        matches!(self, Self::Checkpoint(KeptCheckpoint { signature: None, .. }))
    }

    /// Verifies that this key signed it, which the node need not know then.
    ///
    /// # Errors
    /// It is not signed, or not by this key.
    pub(super) fn verify(&mut self, key: &PublicKey) -> CommandResult {
        let Self::Checkpoint(checkpoint) = self else {
            return Err(CommandError::usage(
                "a report of `audit verify` is not signed; leave `--key` out, or name a checkpoint",
            ));
        };
        let Some(signature) = checkpoint.signature.take() else {
            return Err(CommandError::refused(
                "the checkpoint carries no signature; leave `--key` out to compare it all the same",
            ));
        };
        journal::check_signature(&checkpoint.text, &signature, |signer| {
            if signer == key {
                return Ok(());
            }
            let (signer, key) = (signer.fingerprint(), key.fingerprint());
            Err(format!("it is by key {signer}, and not by {key}"))
        })
        .map_err(|reason| {
            CommandError::refused(format!(
                "the signature of the checkpoint does not hold: {reason}; see where the file comes from"
            ))
        })
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
    use wachter_trust::{FileKey, Namespace, Signer as _};

    use super::*;
    use crate::keys;

    #[test]
    fn reads_checkpoints_and_reports() {
        let zeros = "00".repeat(32);
        let ab = "ab".repeat(32);
        let checkpoint = format!(
            "wachter-journal-checkpoint v1\njournal 0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55\nfirst 1\nlast 7\ncount 7\ntime 2026-11-22T10:00:00Z\nprevious {zeros}\nchain {ab}\n"
        );
        let signed = format!("{checkpoint}-----BEGIN SSH SIGNATURE-----\n");
        for text in [&checkpoint, &signed] {
            let mark = Mark::parse(text.as_bytes()).unwrap();
            assert_eq!(mark.is_unsigned(), *text == checkpoint);
            let Mark::Checkpoint(kept) = mark else { panic!("{text}") };
            assert_eq!(kept.to_string(), *text);
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

    #[test]
    fn a_checkpoint_holds_by_the_key_that_signed_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        let key = |path: &Path| keys::generate(path, "a node").unwrap();
        let (own_key, other_key) = (key(&own), key(&other));
        let text = format!(
            "wachter-journal-checkpoint v1\njournal 0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55\nfirst 1\nlast 7\ncount 7\ntime 2026-11-22T10:00:00Z\nprevious {0}\nchain {0}\n",
            "00".repeat(32)
        );
        let mut signer = FileKey::from_openssh(&std::fs::read(&own).unwrap()).unwrap();
        let namespace = Namespace::new("wachter-journal").unwrap();
        let signature = signer.sign(namespace, text.as_bytes()).unwrap().to_armor();
        let check = |file: &str, key: &PublicKey, expected: Option<&str>| {
            let mut mark = Mark::parse(file.as_bytes()).unwrap();
            let error = mark.verify(key).err().map(|error| error.message);
            match expected {
                Some(words) => {
                    assert!(error.as_ref().is_some_and(|error| error.contains(words)), "{error:?}");
                }
                None => {
                    assert_eq!(error, None);
                    assert!(mark.is_unsigned(), "it is verified, and the node need not");
                }
            }
        };
        let signed = format!("{text}{signature}");
        check(&signed, &own_key, None);
        check(&signed, &other_key, Some("and not by"));
        check(&signed.replace("last 7", "last 8"), &own_key, Some("does not hold"));
        check(&text, &own_key, Some("carries no signature"));
        let report =
            format!("{{ \"journal\": \"a\", \"last\": 7, \"chain\": \"{}\" }}", "ab".repeat(32));
        check(&report, &own_key, Some("is not signed"));
    }

    proptest! {
        #[test]
        fn every_file_is_a_mark_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = Mark::parse(&bytes);
        }
    }
}
