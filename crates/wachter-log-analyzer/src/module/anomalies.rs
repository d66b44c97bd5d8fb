use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_model::{Confidence, Finding, Severity, Topic};

use crate::model::Anomaly;

/// Anomalies that were reported and have not ended, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Anomalies(BTreeMap<String, Open>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    subject: String,
    severity: Severity,
    /// When it was last told of, in seconds since 1970.
    last: i64,
}

/// The finding's type.
pub(crate) const TOPIC: &str = "log.anomaly";
/// For how many seconds it must not be told of until it has ended.
const QUIET: i64 = 2 * 3_600;
/// The most that are open at a time; the oldest is ended for a new one.
const MAX_OPEN: usize = 200;

impl Anomalies {
    /// Takes what was told of now: a finding for each that begins, that became better or worse, or
    /// that has ended.
    pub(crate) fn take(&mut self, told: Vec<Anomaly>, now: Timestamp) -> Vec<Finding> {
        let now = now.as_second();
        let mut findings = Vec::new();
        for anomaly in told {
            let Anomaly { fingerprint, severity, subject, .. } = &anomaly;
            let known = self.0.get_mut(fingerprint);
            let same = known.as_ref().is_some_and(|open| open.severity == *severity);
            let open = Open { subject: subject.clone(), severity: *severity, last: now };
            match known {
                Some(known) => *known = open,
                None => {
                    self.0.insert(fingerprint.clone(), open);
                }
            }
            if !same {
                findings.push(begun(&anomaly));
            }
        }
        let over = self.0.extract_if(.., |_, open| {
            // Where the clock was set back, the time counts from now.
            open.last = open.last.min(now);
            now - open.last >= QUIET
        });
        findings.extend(over.map(|(fingerprint, open)| {
            let message = format!("{}: nothing more out of the ordinary", open.subject);
            ended(fingerprint, open, message)
        }));
        while self.0.len() > MAX_OPEN {
            let oldest = self.0.iter().min_by_key(|(_, open)| open.last);
            let Some(oldest) = oldest.map(|(fingerprint, _)| fingerprint.clone()) else { break };
            if let Some(open) = self.0.remove(&oldest) {
                let message = format!("{}: no longer followed, there are too many", open.subject);
                findings.push(ended(oldest, open, message));
            }
        }
        findings
    }

    /// Ends one that a person called false.
    pub(crate) fn silence(&mut self, fingerprint: &str) -> Option<Finding> {
        let open = self.0.remove(fingerprint)?;
        let message = format!("{}: called false", open.subject);
        Some(ended(fingerprint.to_owned(), open, message))
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn topic() -> Topic {
    TOPIC.parse().expect("a test reads this topic")
}

fn begun(anomaly: &Anomaly) -> Finding {
    let lines: Vec<Value> = anomaly
        .evidence
        .iter()
        .map(|line| json!({ "source": line.source, "offset": line.offset, "line": line.line }))
        .collect();
    Finding {
        kind: topic(),
        severity: anomaly.severity,
        // A score is a share by its making; one that is none claims nothing.
        confidence: Confidence::new(anomaly.score.into())
            .or_else(|_| Confidence::new(0.0))
            .expect("0 is a confidence"),
        subject: anomaly.subject.clone(),
        message: anomaly.message.clone(),
        fingerprint: anomaly.fingerprint.clone(),
        evidence: json!({
            "kind": anomaly.kind,
            "template": anomaly.template,
            "seen": anomaly.seen,
            "expected": anomaly.expected,
            "lines": lines,
        }),
        resolved: false,
    }
}

fn ended(fingerprint: String, open: Open, message: String) -> Finding {
    Finding {
        kind: topic(),
        severity: open.severity,
        confidence: Confidence::CERTAIN,
        subject: open.subject,
        message,
        fingerprint,
        evidence: Value::Null,
        resolved: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::AnomalyKind;

    fn anomaly(fingerprint: &str, severity: Severity) -> Anomaly {
        Anomaly {
            kind: AnomalyKind::Rate,
            fingerprint: fingerprint.to_owned(),
            score: 0.9,
            severity,
            subject: "sshd in /var/log/auth.log".to_owned(),
            message: "far more lines than usual".to_owned(),
            evidence: Vec::new(),
            template: String::new(),
            expected: Some(3.0),
            seen: 400,
        }
    }

    #[test]
    fn told_when_it_begins_changes_and_ends() {
        let mut anomalies = Anomalies::default();
        let mut story = Vec::new();
        for (hour, told) in [
            (0, vec![anomaly("a", Severity::Low)]),
            (1, vec![anomaly("a", Severity::Low)]),
            (2, vec![anomaly("a", Severity::High), anomaly("b", Severity::Low)]),
            (3, vec![anomaly("b", Severity::Low)]),
            (4, vec![]),
            (1, vec![]),
            (3, vec![]),
        ] {
            let now = Timestamp::from_second(1_700_000_000 + hour * 3_600).unwrap();
            let said: Vec<_> = anomalies
                .take(told, now)
                .iter()
                .map(|found| {
                    format!("{}{}", if found.resolved { "-" } else { "+" }, found.fingerprint)
                })
                .collect();
            story.push(said.join(" "));
        }
        assert_eq!(story, ["+a", "", "+a +b", "", "-a", "", "-b"]);
        assert!(anomalies.silence("a").is_none());
    }

    #[test]
    fn too_many_end_the_oldest() {
        let mut anomalies = Anomalies::default();
        for number in 0..=MAX_OPEN as i64 {
            let now = Timestamp::from_second(1_700_000_000 + number).unwrap();
            let found = anomalies.take(vec![anomaly(&number.to_string(), Severity::Low)], now);
            assert_eq!(found.len(), if number < MAX_OPEN as i64 { 1 } else { 2 });
        }
        assert_eq!(anomalies.open().count(), MAX_OPEN);
    }
}
