//! `certificate-monitor`: finds certificates in folders and reports those that end soon.
//!
//! It sees the folders that its manifest names under `permissions.filesystem.read`, and of them those that
//! its input names. What it keeps from run to run is the open problems.

mod certificate;
mod files;
mod input;

use std::collections::HashSet;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_module::host::Moment;
use wachter_module::{Context, Module, ModuleError, Report, Severity};

use crate::alarms::{Alarms, Kind, Standing};
use certificate::Certificate;
use files::Found;
use input::Input;

const EXPIRING: Kind = Kind {
    topic: "certificate.expiring",
    severity: Severity::Medium,
    what: "days until the certificate ends",
};

const NOT_YET_VALID: Kind = Kind {
    topic: "certificate.not-yet-valid",
    severity: Severity::Medium,
    what: "days until the certificate begins",
};

const UNREADABLE: Kind = Kind {
    topic: "certificate.unreadable",
    severity: Severity::Low,
    what: "files that cannot be read",
};

const DAY: i64 = 24 * 60 * 60;

/// The module.
pub(crate) struct CertificateMonitor {
    /// What time it is.
    pub(crate) now: fn() -> SystemTime,
}

impl Module for CertificateMonitor {
    type Input = Input;
    type State = Standing;

    fn execute(
        &self,
        input: Input,
        context: &mut Context<Standing>,
    ) -> Result<Report, ModuleError> {
        input.check()?;
        let now = Timestamp::try_from((self.now)()).map_err(|error| {
            ModuleError::failed(format!("the clock of this host cannot be read: {error}"))
        })?;
        let mut standing = std::mem::take(&mut context.state);
        let mut alarms = Alarms::new(&mut standing, Moment::default());
        let mut look = Look { now, input: &input, known: HashSet::new(), seen: Vec::new() };
        let whole = files::walk(&input.folders, &input.ignore, |path, found| {
            look.at(path, found, &mut alarms);
        });
        // What is out of sight is not gone.
        if whole.is_ok() {
            for kind in [EXPIRING, NOT_YET_VALID, UNREADABLE] {
                alarms.end_unseen(kind);
            }
        }
        let mut seen = look.seen;
        seen.sort_by_key(|certificate| certificate.ends);
        for finding in alarms.into_findings() {
            context.finding(finding);
        }
        let days = |certificate: &Seen| days_until(now, certificate.ends);
        context.metric("certificates", count(seen.len()), []);
        if let Some(first) = seen.first() {
            context.metric("certificate_least_days", days(first), []);
        }
        let next: Vec<_> = seen
            .iter()
            .take(10)
            .map(|one| json!({ "file": one.subject, "name": one.name, "ends": date(one.ends), "days": days(one).floor() }))
            .collect();
        let message = match (seen.first(), &whole) {
            (_, Err(reason)) => {
                format!("{} certificates; not all was looked at: {reason}", seen.len())
            }
            (None, Ok(())) => "no certificate was found".to_owned(),
            (Some(first), Ok(())) => {
                let (count, end) = (seen.len(), date(first.ends));
                format!("{count} certificates, the first ends on {end}: {}", first.subject)
            }
        };
        let open: Vec<_> = standing.open.keys().cloned().collect();
        context.state = standing;
        let missing: Vec<_> = whole.err().into_iter().collect();
        let output =
            json!({ "certificates": seen.len(), "next": next, "open": open, "missing": missing });
        Ok(Report::unchanged().message(message).output(output))
    }

    /// A state of an earlier version is forgotten: a problem that is reported again has the same
    /// fingerprint as before.
    fn read_state(&self, state: Value) -> Result<Standing, ModuleError> {
        Ok(serde_json::from_value(state).unwrap_or_default())
    }
}

/// One look at all files.
struct Look<'a> {
    now: Timestamp,
    input: &'a Input,
    /// Each certificate counts once, in the first file that it stands in.
    known: HashSet<Vec<u8>>,
    seen: Vec<Seen>,
}

struct Seen {
    subject: String,
    name: String,
    ends: Timestamp,
}

impl Look<'_> {
    fn at(&mut self, path: &Path, found: Found, alarms: &mut Alarms<'_>) {
        let subject = path.display().to_string();
        let certificates = match found {
            Found::Content(bytes) => certificate::read(&bytes),
            Found::Unreadable(reason) => vec![Err(reason)],
        };
        let mut problem = None;
        for (certificate, number) in certificates.into_iter().zip(1_u32..) {
            match certificate {
                Ok(certificate) if self.known.insert(certificate.der.clone()) => {
                    let subject =
                        if number == 1 { subject.clone() } else { format!("{subject}#{number}") };
                    self.judge(subject, certificate, alarms);
                }
                Ok(_) => {}
                Err(reason) => problem = problem.or(Some(reason)),
            }
        }
        // What was known of a certificate that cannot be read any more is the best that is known.
        if problem.is_some() {
            for kind in [EXPIRING, NOT_YET_VALID] {
                alarms.unknown_where(kind, |one| is_of_file(one, &subject));
            }
        }
        let message = problem.as_ref().map_or_else(
            || format!("{subject} can be read"),
            |reason| format!("{subject} cannot be read: {reason}"),
        );
        let evidence = json!({ "reason": problem });
        alarms.tell(UNREADABLE, &subject, problem.map(|_| UNREADABLE.severity), message, evidence);
    }

    fn judge(&mut self, subject: String, certificate: Certificate, alarms: &mut Alarms<'_>) {
        let Certificate { name, begins, ends, issuer, .. } = certificate;
        let evidence = json!({ "name": name, "issuer": issuer, "begins": begins.to_string(), "ends": ends.to_string() });
        let left = days_until(self.now, ends);
        let severity = if left < 0.0 {
            Some(Severity::Critical)
        } else if left < self.input.urgent_days {
            Some(Severity::High)
        } else if left < self.input.days {
            Some(EXPIRING.severity)
        } else {
            None
        };
        let end = date(ends);
        let message = match left.floor() {
            days if days < -1.0 => {
                format!("the certificate of {name} ended {:.0} days ago, on {end}", -left)
            }
            days if days < 0.0 => format!("the certificate of {name} ended on {end}"),
            days if days < 2.0 => {
                format!("the certificate of {name} ends within {:.0} hours, on {end}", left * 24.0)
            }
            days => format!("the certificate of {name} ends in {days:.0} days, on {end}"),
        };
        alarms.tell(EXPIRING, &subject, severity, message, evidence.clone());
        let early = days_until(self.now, begins) > 0.0;
        let message = if early {
            format!("the certificate of {name} is not valid before {}", date(begins))
        } else {
            format!("the certificate of {name} is valid")
        };
        alarms.tell(
            NOT_YET_VALID,
            &subject,
            early.then_some(NOT_YET_VALID.severity),
            message,
            evidence,
        );
        self.seen.push(Seen { subject, name, ends });
    }
}

/// Whether a subject is a certificate of a file: the file itself, or that and the certificate's number.
fn is_of_file(subject: &str, file: &str) -> bool {
    subject.strip_prefix(file).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

fn days_until(now: Timestamp, time: Timestamp) -> f64 {
    let seconds = time.as_second().saturating_sub(now.as_second());
    float(seconds) / float(DAY)
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[expect(clippy::cast_precision_loss, reason = "seconds of some thousand years")]
const fn float(seconds: i64) -> f64 {
    seconds as f64
}

#[expect(clippy::cast_precision_loss, reason = "there are few thousand files at most")]
const fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
