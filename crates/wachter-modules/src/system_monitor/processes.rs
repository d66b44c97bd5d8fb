use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use wachter_module::Severity;
use wachter_module::host::Processes;

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float};
use crate::views::{PATIENCE_OF_PROCESSES, may_be_left_out};

pub(super) const ZOMBIES: Kind = Kind {
    topic: "processes.zombie",
    severity: Severity::Low,
    what: "dead processes are not collected",
};

pub(super) const DESCRIPTORS: Kind = Kind {
    topic: "descriptors.exhausted",
    severity: Severity::High,
    what: "% of the files that may be open are",
};

/// How many processes the output names.
const NAMED: usize = 5;

pub(super) fn measure(view: &Processes, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let mut states = BTreeMap::<&str, u32>::new();
    for process in &view.processes {
        *states.entry(process.state.as_str()).or_default() += 1;
    }
    // Dead processes hold nothing, so that they are the first to be left out. They are counted by parent
    // before that.
    let counted = view.zombies.iter().fold(0, |sum: u32, one| sum.saturating_add(one.count));
    let zombies = states.get("Z").copied().unwrap_or(0).max(counted);
    if zombies > 0 {
        states.insert("Z", zombies);
    }
    let unseen = view.left_out.as_ref().is_some_and(|left_out| left_out.unseen > 0);
    if unseen && f64::from(zombies) < input.zombies.raise {
        alarms.unknown(ZOMBIES, "processes");
    } else {
        alarms.judge(ZOMBIES, "processes", f64::from(zombies), input.zombies);
    }
    let mut metrics =
        vec![Metric { name: "processes", value: f64::from(view.total), labels: vec![] }];
    for (state, count) in &states {
        let labels = vec![("state", (*state).to_owned())];
        metrics.push(Metric { name: "processes_by_state", value: f64::from(*count), labels });
    }
    if let Some(files) = view.open_files {
        metrics.push(Metric { name: "open_files", value: float(files.open), labels: vec![] });
        if files.most > 0 {
            let percent = float(files.open) / float(files.most) * 100.0;
            alarms.judge(DESCRIPTORS, "host", percent, input.descriptors_used_percent);
        }
    }
    for process in &view.processes {
        let subject = || format!("{}[{}]", process.name, process.pid);
        let (open, most) = match (process.descriptors, process.descriptors_most) {
            (Some(open), Some(most)) => (open, most),
            (Some(_), None) => continue,
            (None, _) => {
                alarms.unknown(DESCRIPTORS, &subject());
                continue;
            }
        };
        if most > 0 {
            let subject = subject();
            let percent = f64::from(open) / float(most) * 100.0;
            alarms.judge(DESCRIPTORS, &subject, percent, input.descriptors_used_percent);
        }
    }
    // What has so few open that its limit is not asked for is near none.
    let left_out = |subject: &str| may_be_left_out(view, subject);
    alarms.end_unseen_but(DESCRIPTORS, PATIENCE_OF_PROCESSES, left_out);
    let mut largest: Vec<_> = view.processes.iter().collect();
    largest.sort_by_key(|process| (Reverse(process.resident_bytes), process.pid));
    let largest: Vec<Value> = largest
        .iter()
        .take(NAMED)
        .map(|process| {
            json!({
                "pid": process.pid,
                "name": process.name,
                "resident_bytes": process.resident_bytes,
            })
        })
        .collect();
    let summary = json!({ "total": view.total, "zombies": zombies, "most_memory": largest });
    Measured { summary, metrics }
}
