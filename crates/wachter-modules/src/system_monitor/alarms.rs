use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::{Confidence, Finding, Severity, Topic};

use super::input::Threshold;

/// A kind of problem.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// The topic, which the manifest names under `emits`.
    pub(crate) topic: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What the value is, as in "87.5 % of the space is in use".
    pub(crate) what: &'static str,
}

/// The problems that are open, by fingerprint.
pub(crate) type Open = BTreeMap<String, Problem>;

/// An open problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    topic: Topic,
    subject: String,
    severity: Severity,
}

/// Turns measurements into findings: one when a problem begins, one when it ends, none between.
pub(crate) struct Alarms<'a> {
    open: &'a mut Open,
    judged: BTreeSet<String>,
    found: Vec<Finding>,
}

impl<'a> Alarms<'a> {
    pub(crate) const fn new(open: &'a mut Open) -> Self {
        Self { open, judged: BTreeSet::new(), found: Vec::new() }
    }

    /// Judges one value of one subject.
    pub(crate) fn judge(&mut self, kind: Kind, subject: &str, value: f64, threshold: Threshold) {
        let fingerprint = fingerprint(kind, subject);
        self.judged.insert(fingerprint.clone());
        let is_open = self.open.contains_key(&fingerprint);
        let begins = !is_open && value >= threshold.raise;
        let ends = is_open && value < threshold.resolve;
        if !begins && !ends {
            return;
        }
        let bound = if begins { threshold.raise } else { threshold.resolve };
        let relation = if begins { "at or above" } else { "below" };
        let problem = Problem {
            topic: kind.topic.parse().expect("a test reads every topic of this module"),
            subject: subject.to_owned(),
            severity: kind.severity,
        };
        let message = format!("{subject}: {value:.1} {}, {relation} {bound}", kind.what);
        let mut finding = finding(&problem, &fingerprint, message, ends);
        finding.evidence =
            json!({ "value": value, "raise": threshold.raise, "resolve": threshold.resolve });
        self.found.push(finding);
        if begins {
            self.open.insert(fingerprint, problem);
        } else {
            self.open.remove(&fingerprint);
        }
    }

    /// Says that a subject is there but could not be measured: what is open stays so.
    pub(crate) fn unknown(&mut self, kind: Kind, subject: &str) {
        self.judged.insert(fingerprint(kind, subject));
    }

    /// Ends every open problem of a kind whose subject was not seen this time: it is gone. Call it
    /// only where all subjects of the kind were listed.
    pub(crate) fn end_unseen(&mut self, kind: Kind) {
        let gone: Vec<_> = self
            .open
            .extract_if(.., |fingerprint, problem| {
                problem.topic.as_str() == kind.topic && !self.judged.contains(fingerprint)
            })
            .collect();
        for (fingerprint, problem) in gone {
            let message = format!("{}: no longer there", problem.subject);
            self.found.push(finding(&problem, &fingerprint, message, true));
        }
    }

    /// What has begun or ended.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.found
    }
}

/// The same for the same problem of the same subject, whatever the values are.
fn fingerprint(kind: Kind, subject: &str) -> String {
    format!("{}:{subject}", kind.topic)
}

fn finding(problem: &Problem, fingerprint: &str, message: String, resolved: bool) -> Finding {
    Finding {
        kind: problem.topic.clone(),
        severity: problem.severity,
        confidence: Confidence::CERTAIN,
        subject: problem.subject.clone(),
        message,
        fingerprint: fingerprint.to_owned(),
        evidence: serde_json::Value::Null,
        resolved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: Kind = Kind { topic: "disk.full", severity: Severity::High, what: "% used" };
    const BETWEEN: Threshold = Threshold::new(90.0, 80.0);

    /// One run a value; `+` where a problem begins, `-` where it ends.
    fn story(values: &[f64]) -> String {
        let mut open = Open::new();
        let mut story = String::new();
        for value in values {
            let mut alarms = Alarms::new(&mut open);
            alarms.judge(KIND, "/", *value, BETWEEN);
            alarms.end_unseen(KIND);
            for finding in alarms.into_findings() {
                assert_eq!(finding.fingerprint, "disk.full:/");
                story.push(if finding.resolved { '-' } else { '+' });
            }
            story.push('.');
        }
        story
    }

    #[test]
    fn a_value_that_wavers_is_one_problem() {
        for (values, expected) in [
            (&[10.0, 89.9][..], ".."),
            (&[90.0, 85.0, 90.0, 80.0, 79.9, 85.0], "+....-.."),
            (&[95.0, 10.0, 95.0], "+.-.+."),
            (&[f64::NAN, 95.0, f64::NAN], ".+.."),
        ] {
            assert_eq!(story(values), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_gone_is_resolved_and_what_is_unknown_is_not() {
        let mut open = Open::new();
        let mut alarms = Alarms::new(&mut open);
        alarms.judge(KIND, "/a", 99.0, BETWEEN);
        alarms.judge(KIND, "/b", 99.0, BETWEEN);
        assert_eq!(alarms.into_findings().len(), 2);
        let mut alarms = Alarms::new(&mut open);
        alarms.unknown(KIND, "/b");
        alarms.end_unseen(KIND);
        let found = alarms.into_findings();
        assert_eq!((found.len(), found[0].subject.as_str(), found[0].resolved), (1, "/a", true));
        assert_eq!(open.keys().collect::<Vec<_>>(), ["disk.full:/b"]);
    }

    proptest! {
        #[test]
        fn beginnings_and_ends_alternate(values in prop::collection::vec(0.0..100.0, 0..50)) {
            let marks = story(&values).replace('.', "");
            prop_assert!(!marks.contains("++") && !marks.contains("--") && !marks.starts_with('-'));
        }
    }
}
