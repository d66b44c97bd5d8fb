//! From measurements to findings: one when a problem begins, one when its severity changes, one when it
//! ends, and none between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wachter_module::host::Moment;
use wachter_module::{Confidence, Finding, ModuleError, Severity, Topic};

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

/// A problem begins at `raise` and ends below `resolve`; between them nothing changes, so that a
/// value that wavers is one problem and not many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Threshold {
    pub(crate) raise: f64,
    pub(crate) resolve: f64,
    /// From here on it is critical, and until it is half-way back to `raise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) critical: Option<f64>,
}

impl Threshold {
    pub(crate) const fn new(raise: f64, resolve: f64) -> Self {
        Self { raise, resolve, critical: None }
    }

    pub(crate) const fn critical(self, critical: f64) -> Self {
        Self { critical: Some(critical), ..self }
    }

    /// What a schema cannot say: that the bounds are in order.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn check(&self, name: &str) -> Result<(), ModuleError> {
        let Self { raise, resolve, critical } = *self;
        if !(0.0 < resolve && resolve < raise) {
            return Err(ModuleError::failed(format!(
                "the input `{name}` is not right: `resolve` ({resolve}) must lie between 0 and `raise` ({raise})"
            )));
        }
        if let Some(critical) = critical
            && critical <= raise
        {
            return Err(ModuleError::failed(format!(
                "the input `{name}` is not right: `critical` ({critical}) must lie above `raise` ({raise})"
            )));
        }
        Ok(())
    }

    /// How bad a value is; none where it is no problem, or no more one.
    fn severity(&self, value: f64, usual: Severity, open: Option<Severity>) -> Option<Severity> {
        let critical = self.critical.unwrap_or(f64::INFINITY);
        let worst = if value >= critical { Severity::Critical } else { usual };
        match open {
            None => (value >= self.raise).then_some(worst),
            Some(_) if value < self.resolve => None,
            Some(Severity::Critical) if value >= f64::midpoint(self.raise, critical) => {
                Some(Severity::Critical)
            }
            Some(_) if value.is_nan() => open,
            Some(_) => Some(worst),
        }
    }
}

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Standing {
    /// The problems that were reported and have not been resolved, by fingerprint.
    pub(crate) open: BTreeMap<String, Problem>,
    /// What looks like a problem and has not lasted long enough to be reported, since when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    waiting: BTreeMap<String, Moment>,
}

/// An open problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    topic: Topic,
    subject: String,
    severity: Severity,
    /// Since when its subject may only have been left out of what is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_of_sight: Option<Moment>,
}

impl Standing {
    /// What is wrong, by kind, and what could not be seen: one sentence for a person.
    pub(crate) fn sentence(&self, missing: &[String]) -> String {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for fingerprint in self.open.keys() {
            let kind = fingerprint.split(':').next().unwrap_or_default();
            *kinds.entry(kind).or_default() += 1;
        }
        let mut text = match kinds.len() {
            0 => "No open problems".to_owned(),
            _ => {
                let kinds = kinds.iter().map(|(kind, count)| format!("{kind} ({count})"));
                format!("Open problems: {}", kinds.collect::<Vec<_>>().join(", "))
            }
        };
        match missing {
            [] => {}
            [one] => text.push_str(&format!("; could not be seen: {one}")),
            [first, rest @ ..] => {
                text.push_str(&format!("; could not be seen: {first}; and {} more", rest.len()));
            }
        }
        text
    }
}

/// What is said of a value beyond the value.
#[derive(Default)]
pub(crate) struct Details {
    /// For how long it has to be a problem in every run.
    pub(crate) lasting: Duration,
    /// What is added to the sentence: who it is, as in "; most of it is cc1[12]".
    pub(crate) words: String,
    /// What is added to the evidence, an object.
    pub(crate) evidence: Map<String, Value>,
}

/// Turns measurements into findings.
pub(crate) struct Alarms<'a> {
    standing: &'a mut Standing,
    now: Moment,
    judged: BTreeSet<String>,
    found: Vec<Finding>,
}

impl<'a> Alarms<'a> {
    pub(crate) const fn new(standing: &'a mut Standing, now: Moment) -> Self {
        Self { standing, now, judged: BTreeSet::new(), found: Vec::new() }
    }

    /// Judges one value of one subject.
    pub(crate) fn judge(&mut self, kind: Kind, subject: &str, value: f64, threshold: Threshold) {
        self.judge_lasting(kind, subject, value, threshold, Duration::ZERO);
    }

    /// Judges a value that comes and goes: it is a problem when it has been one in every run for a time.
    pub(crate) fn judge_lasting(
        &mut self,
        kind: Kind,
        subject: &str,
        value: f64,
        threshold: Threshold,
        lasting: Duration,
    ) {
        let details = Details { lasting, ..Details::default() };
        self.judge_with(kind, subject, value, threshold, details);
    }

    /// Judges a value, and says more of it.
    pub(crate) fn judge_with(
        &mut self,
        kind: Kind,
        subject: &str,
        value: f64,
        threshold: Threshold,
        Details { lasting, words, mut evidence }: Details,
    ) {
        let open = self.severity(kind, subject);
        let severity = threshold.severity(value, kind.severity, open);
        let mut lasted = String::new();
        if open.is_none() && severity.is_some() && !lasting.is_zero() {
            let Some(time) = self.has_lasted(kind, subject, lasting) else { return };
            lasted = format!(" for {} s", time.as_secs());
        }
        let (relation, bound) = match severity {
            Some(Severity::Critical) => {
                ("at or above", threshold.critical.unwrap_or(threshold.raise))
            }
            Some(_) => ("at or above", threshold.raise),
            None => ("below", threshold.resolve),
        };
        let message =
            format!("{subject}: {value:.1} {}, {relation} {bound}{lasted}{words}", kind.what);
        evidence.insert("value".to_owned(), json!(value));
        evidence.insert("raise".to_owned(), json!(threshold.raise));
        evidence.insert("resolve".to_owned(), json!(threshold.resolve));
        self.tell(kind, subject, severity, message, Value::Object(evidence));
    }

    /// For how long a subject has looked like a problem, if for long enough.
    pub(crate) fn has_lasted(
        &mut self,
        kind: Kind,
        subject: &str,
        lasting: Duration,
    ) -> Option<Duration> {
        let fingerprint = fingerprint(kind, subject);
        let first = self.standing.waiting.entry(fingerprint.clone());
        let first = first.or_insert_with(|| self.now.clone());
        // Across a boot it begins anew.
        if first.boot != self.now.boot {
            *first = self.now.clone();
        }
        let passed = Duration::from_millis(self.now.since(first).unwrap_or(0));
        self.judged.insert(fingerprint);
        (passed >= lasting).then_some(passed)
    }

    /// Says how bad a subject is, or that it is not, in words of its own. Nothing is reported where that
    /// is known already.
    pub(crate) fn tell(
        &mut self,
        kind: Kind,
        subject: &str,
        severity: Option<Severity>,
        message: String,
        evidence: Value,
    ) {
        let fingerprint = fingerprint(kind, subject);
        self.see(fingerprint.clone());
        self.standing.waiting.remove(&fingerprint);
        if self.severity(kind, subject) == severity {
            return;
        }
        let ended = self.standing.open.remove(&fingerprint);
        let problem = match (severity, ended) {
            (Some(severity), _) => {
                let topic = kind.topic.parse().expect("a test reads every topic of a module");
                let subject = subject.to_owned();
                let problem = Problem { topic, subject, severity, out_of_sight: None };
                self.standing.open.insert(fingerprint.clone(), problem.clone());
                problem
            }
            (None, Some(problem)) => problem,
            (None, None) => return,
        };
        let mut finding = finding(&problem, &fingerprint, message, severity.is_none());
        finding.evidence = evidence;
        self.found.push(finding);
    }

    /// How bad an open problem is.
    pub(crate) fn severity(&self, kind: Kind, subject: &str) -> Option<Severity> {
        self.standing.open.get(&fingerprint(kind, subject)).map(|problem| problem.severity)
    }

    /// Says that a subject is there but could not be measured: what is open stays so.
    pub(crate) fn unknown(&mut self, kind: Kind, subject: &str) {
        self.see(fingerprint(kind, subject));
    }

    /// Says that subjects with an open problem of a kind could not be measured: what is open stays so.
    pub(crate) fn unknown_where(&mut self, kind: Kind, is_one: impl Fn(&str) -> bool) {
        let open = self.standing.open.iter();
        let open = open.filter(|(fingerprint, _)| is_of(fingerprint, kind));
        let found: Vec<String> = open
            .filter(|(_, problem)| is_one(&problem.subject))
            .map(|(fingerprint, _)| fingerprint.clone())
            .collect();
        found.into_iter().for_each(|fingerprint| self.see(fingerprint));
    }

    /// That a subject was there in this run.
    fn see(&mut self, fingerprint: String) {
        if let Some(problem) = self.standing.open.get_mut(&fingerprint) {
            problem.out_of_sight = None;
        }
        self.judged.insert(fingerprint);
    }

    /// Ends every open problem of a kind whose subject was not seen this time: it is gone. Call it
    /// only where all subjects of the kind were listed.
    pub(crate) fn end_unseen(&mut self, kind: Kind) {
        self.end_unseen_but(kind, Duration::ZERO, |_| false);
    }

    /// Ends every open problem of a kind whose subject was not seen this time. One that may only have been
    /// left out, since there are too many, stays open until it has been out of sight for so long:
    /// otherwise what is gone would stay for ever on a host where there are always too many.
    pub(crate) fn end_unseen_but(
        &mut self,
        kind: Kind,
        patience: Duration,
        may_be_left_out: impl Fn(&str) -> bool,
    ) {
        let Self { standing, now, judged, found } = self;
        let unseen = |fingerprint: &str| is_of(fingerprint, kind) && !judged.contains(fingerprint);
        standing.waiting.retain(|fingerprint, _| !unseen(fingerprint));
        let gone = standing.open.extract_if(.., |fingerprint, problem| {
            if !unseen(fingerprint) {
                return false;
            }
            if !may_be_left_out(&problem.subject) {
                problem.out_of_sight = None;
                return true;
            }
            let first = problem.out_of_sight.get_or_insert_with(|| now.clone());
            // Across a boot it begins anew.
            if first.boot != now.boot {
                *first = now.clone();
            }
            Duration::from_millis(now.since(first).unwrap_or(0)) >= patience
        });
        for (fingerprint, problem) in gone {
            let Problem { subject, out_of_sight, .. } = &problem;
            let message = if out_of_sight.is_some() {
                let hours = patience.as_secs() / 3_600;
                format!("{subject}: not seen for {hours} h, among more than can be looked at")
            } else {
                format!("{subject}: no longer there")
            };
            found.push(finding(&problem, &fingerprint, message, true));
        }
    }

    /// What has begun, changed or ended.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.found
    }
}

fn is_of(fingerprint: &str, kind: Kind) -> bool {
    fingerprint.split_once(':').is_some_and(|(topic, _)| topic == kind.topic)
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
        evidence: Value::Null,
        resolved,
    }
}

#[cfg(test)]
mod tests;
