use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::{Memory, Moment, Paging, Pressure};

use super::alarms::{Alarms, Kind};
use super::cpu::{judge_pressure, waited};
use super::input::Input;
use super::{Measured, Metric, float, per_second};

pub(super) const MEMORY_LOW: Kind =
    Kind { topic: "memory.low", severity: Severity::High, what: "% of the memory is in use" };

pub(super) const MEMORY_SWAPPING: Kind = Kind {
    topic: "memory.swapping",
    severity: Severity::Medium,
    what: "MiB a second are read back from swap",
};

pub(super) const MEMORY_KILLED: Kind = Kind {
    topic: "memory.killed",
    severity: Severity::High,
    what: "processes were ended since there was no memory",
};

pub(super) const SWAP_FULL: Kind =
    Kind { topic: "swap.full", severity: Severity::Medium, what: "% of the swap is in use" };

/// For how long it is a problem that processes were ended: an hour without another.
const KILLED_FOR: u64 = 60 * 60 * 1_000;

const MEBIBYTE: f64 = 1_048_576.0;

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    paging: Option<Paging>,
    pressure: Option<Pressure>,
    /// When processes were ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    killed: Option<Moment>,
}

impl Before {
    /// What the next run is to know.
    pub(super) fn after(view: Memory, before: Option<Self>) -> Self {
        let killed = match &before {
            Some(before) if killed(&view, before) > 0 => Some(view.taken.clone()),
            _ => before.and_then(|before| before.killed),
        };
        Self { taken: view.taken, paging: view.paging, pressure: view.pressure, killed }
    }
}

pub(super) fn measure(
    view: &Memory,
    before: Option<&Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let percent = |used: u64, total: u64| (total > 0).then(|| float(used) / float(total) * 100.0);
    let used = view.total_bytes.saturating_sub(view.available_bytes);
    let used_percent = percent(used, view.total_bytes);
    match used_percent {
        Some(percent) => alarms.judge(MEMORY_LOW, "memory", percent, input.memory_used_percent),
        None => alarms.unknown(MEMORY_LOW, "memory"),
    }
    let swap_used = view.swap_total_bytes.saturating_sub(view.swap_free_bytes);
    // Without swap there is none that could be full.
    if let Some(percent) = percent(swap_used, view.swap_total_bytes) {
        alarms.judge(SWAP_FULL, "swap", percent, input.swap_used_percent);
    }
    alarms.end_unseen(SWAP_FULL);
    let mut metrics: Vec<_> = [
        ("memory_total_bytes", view.total_bytes),
        ("memory_available_bytes", view.available_bytes),
        ("memory_committed_bytes", view.committed_bytes),
        ("swap_total_bytes", view.swap_total_bytes),
        ("swap_free_bytes", view.swap_free_bytes),
    ]
    .map(|(name, bytes)| Metric { name, value: float(bytes), labels: vec![] })
    .into();
    if let Some(pressure) = view.pressure {
        let value = pressure.some_percent / 100.0;
        metrics.push(Metric { name: "memory_waiting_ratio", value, labels: vec![] });
    }
    let passed = before.and_then(|before| view.taken.since(&before.taken));
    let earlier = before.and_then(|before| before.pressure.as_ref());
    let waited =
        waited(view.pressure.as_ref(), earlier, passed, |pressure| pressure.full_microseconds);
    judge_pressure("memory", waited, input.memory_pressure_percent, input.lasting(), alarms);

    let rates = before.zip(passed).and_then(|(before, passed)| {
        let (now, before) = (view.paging?, before.paging?);
        let rate =
            |counter: fn(&Paging) -> u64| per_second(counter(&now), counter(&before), passed);
        Some([
            ("swap_in_bytes_per_second", rate(|paging| paging.swapped_in_bytes)?),
            ("swap_out_bytes_per_second", rate(|paging| paging.swapped_out_bytes)?),
            ("major_faults_per_second", rate(|paging| paging.major_faults)?),
        ])
    });
    match rates {
        Some(rates) => {
            let mebibytes = rates[0].1 / MEBIBYTE;
            let threshold = input.swap_in_mebibytes_per_second;
            alarms.judge_lasting(MEMORY_SWAPPING, "swap", mebibytes, threshold, input.lasting());
            metrics.extend(rates.map(|(name, value)| Metric { name, value, labels: vec![] }));
        }
        None => alarms.unknown(MEMORY_SWAPPING, "swap"),
    }
    if let Some(before) = before {
        judge_killed(view, before, alarms);
    }
    let summary = json!({
        "used_percent": used_percent,
        "available_bytes": view.available_bytes,
        "swap_used_bytes": swap_used,
        "killed": view.paging.map(|paging| paging.killed),
    });
    Measured { summary, metrics }
}

/// How many processes were ended since the last run.
fn killed(view: &Memory, before: &Before) -> u64 {
    if view.taken.boot != before.taken.boot {
        return 0;
    }
    let count = |paging: Option<Paging>| paging.map(|paging| paging.killed);
    count(view.paging)
        .zip(count(before.paging))
        .map_or(0, |(now, before)| now.saturating_sub(before))
}

fn judge_killed(view: &Memory, before: &Before, alarms: &mut Alarms<'_>) {
    let count = killed(view, before);
    let evidence = json!({ "killed": count });
    if count > 0 {
        let message = match count {
            1 => "one process was ended since there was no memory".to_owned(),
            count => format!("{count} {}", MEMORY_KILLED.what),
        };
        alarms.tell(MEMORY_KILLED, "memory", Some(MEMORY_KILLED.severity), message, evidence);
        return;
    }
    let recent = before.killed.as_ref().and_then(|last| view.taken.since(last));
    match recent {
        Some(passed) if passed < KILLED_FOR => alarms.unknown(MEMORY_KILLED, "memory"),
        _ => {
            let message = "no process was ended for an hour".to_owned();
            alarms.tell(MEMORY_KILLED, "memory", None, message, evidence);
        }
    }
}
