//! What keeps the processor busy, for long.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, json};
use wachter_module::Severity;

use super::groups::Sum;
use super::input::Input;
use super::processes::Consumer;
use crate::alarms::{Alarms, Details, Kind};

pub(super) const CPU_HOG: Kind = Kind {
    topic: "cpu.hog",
    severity: Severity::Medium,
    what: "% of all processor time went to it",
};

pub(super) const CPU_SPINNING: Kind =
    Kind { topic: "cpu.spinning", severity: Severity::Low, what: "% of a core is kept busy" };

/// Judges groups, and processes that belong to none, by their share of the host; and each process by its
/// share of one core, over a longer time.
pub(super) fn judge(
    consumers: &[Consumer<'_>],
    groups: &BTreeMap<String, Sum<'_>>,
    cores: Option<usize>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) {
    let host = cores.and_then(|cores| u32::try_from(cores).ok()).filter(|cores| *cores > 0);
    for (name, sum) in groups.iter().filter(|(name, _)| !input.ignore.contains(*name)) {
        let words = match sum.busiest {
            Some((busiest, _)) if sum.processes > 1 => format!("; most of it to {busiest}"),
            _ => String::new(),
        };
        judge_host(name, sum.cores, host, words, input, alarms);
    }
    for consumer in consumers.iter().filter(|consumer| input.watches(consumer)) {
        if consumer.group.is_none() {
            judge_host(&consumer.subject, consumer.cores, host, String::new(), input, alarms);
        }
        let percent = consumer.cores.map(|cores| cores * 100.0);
        let unit =
            consumer.group.as_ref().map_or_else(String::new, |group| format!(", part of {group}"));
        let details = Details {
            lasting: Duration::from_secs(input.cpu_spinning_seconds),
            words: unit,
            evidence: Map::from_iter([("group".to_owned(), json!(consumer.group))]),
        };
        judge_share(
            CPU_SPINNING,
            &consumer.subject,
            percent,
            input.cpu_spinning_percent,
            details,
            alarms,
        );
    }
}

fn judge_host(
    subject: &str,
    busy: Option<f64>,
    host: Option<u32>,
    words: String,
    input: &Input,
    alarms: &mut Alarms<'_>,
) {
    let percent = busy.zip(host).map(|(busy, host)| busy / f64::from(host) * 100.0);
    let details = Details {
        lasting: Duration::from_secs(input.cpu_hog_seconds),
        words,
        evidence: Map::from_iter([("cores".to_owned(), json!(busy))]),
    };
    judge_share(CPU_HOG, subject, percent, input.cpu_hog_percent, details, alarms);
}

fn judge_share(
    kind: Kind,
    subject: &str,
    percent: Option<f64>,
    threshold: crate::alarms::Threshold,
    details: Details,
    alarms: &mut Alarms<'_>,
) {
    match percent {
        // Most are far below, and need no words.
        Some(percent) if percent < threshold.raise && alarms.severity(kind, subject).is_none() => {}
        Some(percent) => alarms.judge_with(kind, subject, percent, threshold, details),
        None => alarms.unknown(kind, subject),
    }
}
