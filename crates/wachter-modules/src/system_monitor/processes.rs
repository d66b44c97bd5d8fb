use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use wachter_module::Severity;
use wachter_module::host::Processes;

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric};

pub(super) const ZOMBIES: Kind = Kind {
    topic: "processes.zombie",
    severity: Severity::Low,
    what: "dead processes are not collected",
};

/// How many processes the output names.
const NAMED: usize = 5;

pub(super) fn measure(view: &Processes, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let mut states = BTreeMap::<&str, u32>::new();
    for process in &view.processes {
        *states.entry(process.state.as_str()).or_default() += 1;
    }
    let zombies = states.get("Z").copied().unwrap_or(0);
    alarms.judge(ZOMBIES, "processes", f64::from(zombies), input.zombies);
    let mut metrics =
        vec![Metric { name: "processes", value: f64::from(view.total), labels: vec![] }];
    for (state, count) in &states {
        let labels = vec![("state", (*state).to_owned())];
        metrics.push(Metric { name: "processes_by_state", value: f64::from(*count), labels });
    }
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
