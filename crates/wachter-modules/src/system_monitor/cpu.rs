use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::{Cpu, CpuTimes, Moment};

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float};

pub(super) const LOAD_HIGH: Kind = Kind {
    topic: "load.high",
    severity: Severity::Medium,
    what: "tasks run or wait for each core, over five minutes",
};

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    total: CpuTimes,
}

impl From<Cpu> for Before {
    fn from(view: Cpu) -> Self {
        Self { taken: view.taken, total: view.total }
    }
}

pub(super) fn measure(
    view: &Cpu,
    before: Option<&Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut metrics = Vec::new();
    let mut metric = |name, value, labels| metrics.push(Metric { name, value, labels });
    let used = before.and_then(|before| used_share(view, before));
    if let Some(used) = used {
        metric("cpu_used_ratio", used, vec![]);
    }
    if let Some(load) = view.load {
        for (window, value) in [("1m", load.one), ("5m", load.five), ("15m", load.fifteen)] {
            metric("load_average", value, vec![("window", window.to_owned())]);
        }
        let cores = u32::try_from(view.cores.len().max(1)).unwrap_or(u32::MAX);
        alarms.judge(LOAD_HIGH, "cpu", load.five / f64::from(cores), input.load_per_core);
    }
    if let Some(pressure) = view.pressure {
        metric("cpu_waiting_ratio", pressure.some_percent / 100.0, vec![]);
    }
    let summary = json!({
        "cores": view.cores.len(),
        "used_percent": used.map(|used| used * 100.0),
        "load": view.load,
        "uptime_milliseconds": view.taken.uptime_milliseconds,
    });
    Measured { summary, metrics }
}

/// The share of time with work since the last run, 0 to 1; none across a boot.
fn used_share(view: &Cpu, before: &Before) -> Option<f64> {
    view.taken.since(&before.taken)?;
    let busy = view.total.busy_milliseconds().checked_sub(before.total.busy_milliseconds())?;
    let total = view.total.total_milliseconds().checked_sub(before.total.total_milliseconds())?;
    (total > 0).then(|| float(busy) / float(total))
}
