use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_model::{Confidence, Finding, Severity, Topic};

/// Problems of reading itself that were reported and have not ended, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Problems(BTreeMap<String, Open>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    kind: Kind,
    subject: String,
    /// When it was last so, in seconds since 1970.
    last: i64,
}

/// What can be wrong with reading a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It grows faster than it is read.
    Behind,
    /// Something was gone before it was read.
    Lost,
    /// It may not or cannot be read.
    Unreadable,
}

/// The most that are open at a time; further ones are told by the result alone.
const MAX_OPEN: usize = 200;
/// Nothing was lost for so many seconds: it has ended.
const QUIET: i64 = 3_600;

impl Kind {
    /// The finding's type.
    pub(crate) const fn topic(self) -> &'static str {
        match self {
            Self::Behind => "log.behind",
            Self::Lost => "log.lost",
            Self::Unreadable => "log.unreadable",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Behind => Severity::Medium,
            Self::Lost | Self::Unreadable => Severity::High,
        }
    }
}

impl Problems {
    /// Says that there is a problem; a finding, where it was not there before.
    pub(crate) fn is(
        &mut self,
        kind: Kind,
        subject: &str,
        now: i64,
        message: String,
        evidence: Value,
    ) -> Option<Finding> {
        let fingerprint = format!("{}:{subject}", kind.topic());
        if let Some(open) = self.0.get_mut(&fingerprint) {
            open.last = now;
            return None;
        }
        if self.0.len() >= MAX_OPEN {
            return None;
        }
        let open = Open { kind, subject: subject.to_owned(), last: now };
        let finding = finding(&open, &fingerprint, message, evidence, false);
        self.0.insert(fingerprint, open);
        Some(finding)
    }

    /// Says that there is no such problem; a finding, where there was. What was lost stays so for an
    /// hour, so that one log that loses something again and again is one problem.
    pub(crate) fn is_not(&mut self, kind: Kind, subject: &str, now: i64) -> Option<Finding> {
        let fingerprint = format!("{}:{subject}", kind.topic());
        let open = self.0.get_mut(&fingerprint)?;
        // Where the clock was set back, the time counts from now.
        open.last = open.last.min(now);
        if kind == Kind::Lost && now - open.last < QUIET {
            return None;
        }
        let open = self.0.remove(&fingerprint)?;
        let message = format!(
            "{subject}: {}",
            match kind {
                Kind::Behind => "is read up to its end again",
                Kind::Lost => "nothing more was lost for an hour",
                Kind::Unreadable => "is read again",
            }
        );
        Some(finding(&open, &fingerprint, message, Value::Null, true))
    }

    /// Ends what is about logs that are not read any more.
    pub(crate) fn only(&mut self, read: impl Fn(&str) -> bool) -> Vec<Finding> {
        let over = self.0.extract_if(.., |_, open| !read(&open.subject));
        over.map(|(fingerprint, open)| {
            let message = format!("{}: is not read any more", open.subject);
            finding(&open, &fingerprint, message, json!(null), true)
        })
        .collect()
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether a problem is open.
    pub(crate) fn has(&self, kind: Kind, subject: &str) -> bool {
        self.0.contains_key(&format!("{}:{subject}", kind.topic()))
    }
}

fn finding(
    open: &Open,
    fingerprint: &str,
    message: String,
    evidence: Value,
    resolved: bool,
) -> Finding {
    Finding {
        kind: open.kind.topic().parse::<Topic>().expect("a test reads every topic"),
        severity: open.kind.severity(),
        confidence: Confidence::CERTAIN,
        subject: open.subject.clone(),
        message,
        fingerprint: fingerprint.to_owned(),
        evidence,
        resolved,
    }
}
