use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::{Cpu, CpuTimes, Moment, Pressure};

use super::alarms::{Alarms, Kind, Threshold};
use super::input::Input;
use super::{Measured, Metric, float};

pub(super) const LOAD_HIGH: Kind = Kind {
    topic: "load.high",
    severity: Severity::Medium,
    what: "tasks run or wait for each core, over five minutes",
};

pub(super) const CPU_STOLEN: Kind = Kind {
    topic: "cpu.stolen",
    severity: Severity::Medium,
    what: "% of the processor time went to other machines on the same hardware",
};

pub(super) const PRESSURE_HIGH: Kind = Kind {
    topic: "pressure.high",
    severity: Severity::Medium,
    what: "% of the time work waited for it",
};

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    total: CpuTimes,
    #[serde(default)]
    cores: Vec<(u32, CpuTimes)>,
    #[serde(default)]
    pressure: Option<Pressure>,
}

impl From<Cpu> for Before {
    fn from(view: Cpu) -> Self {
        Self {
            taken: view.taken,
            total: view.total,
            cores: view.cores.into_iter().map(|core| (core.number, core.times)).collect(),
            pressure: view.pressure,
        }
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
    let before = before.filter(|before| view.taken.since(&before.taken).is_some());
    let shares = before.and_then(|before| shares_of(&view.total, &before.total));
    if let Some(Shares { used, stolen, waited }) = shares {
        metric("cpu_used_ratio", used, vec![]);
        metric("cpu_stolen_ratio", stolen, vec![]);
        metric("cpu_disk_wait_ratio", waited, vec![]);
        alarms.judge_lasting(
            CPU_STOLEN,
            "cpu",
            stolen * 100.0,
            input.cpu_stolen_percent,
            input.lasting(),
        );
    } else {
        alarms.unknown(CPU_STOLEN, "cpu");
    }
    let busiest = before.and_then(|before| {
        view.cores
            .iter()
            .filter_map(|core| {
                let (_, earlier) =
                    before.cores.iter().find(|(number, _)| *number == core.number)?;
                Some((core.number, shares_of(&core.times, earlier)?.used))
            })
            .max_by(|one, other| one.1.total_cmp(&other.1))
    });
    if let Some((_, used)) = busiest {
        metric("cpu_busiest_core_ratio", used, vec![]);
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
    let passed = before.and_then(|before| view.taken.since(&before.taken));
    let earlier = before.and_then(|before| before.pressure.as_ref());
    let waited =
        waited(view.pressure.as_ref(), earlier, passed, |pressure| pressure.some_microseconds);
    judge_pressure("cpu", waited, input.cpu_pressure_percent, input.lasting(), alarms);
    let summary = json!({
        "cores": view.cores.len(),
        "used_percent": shares.map(|shares| shares.used * 100.0),
        "busiest_core": busiest.map(|(core, used)| json!({ "core": core, "used_percent": used * 100.0 })),
        "stolen_percent": shares.map(|shares| shares.stolen * 100.0),
        "load": view.load,
        "uptime_milliseconds": view.taken.uptime_milliseconds,
    });
    Measured { summary, metrics }
}

/// The share of the time since the last run in which work waited for a resource, in percent.
pub(super) fn waited(
    now: Option<&Pressure>,
    before: Option<&Pressure>,
    passed: Option<u64>,
    counter: impl Fn(&Pressure) -> u64,
) -> Option<f64> {
    let gained = counter(now?).checked_sub(counter(before?))?;
    // The kernel's clock for this and the one for uptime are read one after the other.
    Some((float(gained) / (float(passed?) * 1_000.0) * 100.0).min(100.0))
}

pub(super) fn judge_pressure(
    resource: &str,
    percent: Option<f64>,
    threshold: Threshold,
    lasting: Duration,
    alarms: &mut Alarms<'_>,
) {
    match percent {
        Some(percent) => {
            alarms.judge_lasting(PRESSURE_HIGH, resource, percent, threshold, lasting);
        }
        None => alarms.unknown(PRESSURE_HIGH, resource),
    }
}

/// Shares of the time since the last run, 0 to 1.
#[derive(Clone, Copy)]
struct Shares {
    used: f64,
    stolen: f64,
    waited: f64,
}

/// None where a counter went back.
fn shares_of(now: &CpuTimes, before: &CpuTimes) -> Option<Shares> {
    let total = now.total_milliseconds().checked_sub(before.total_milliseconds())?;
    let share = |counter: fn(&CpuTimes) -> u64| {
        // Waiting for a disk is counted by the way, and may go back (proc_stat(5)).
        float(counter(now).saturating_sub(counter(before)).min(total)) / float(total)
    };
    now.busy_milliseconds().checked_sub(before.busy_milliseconds())?;
    (total > 0).then(|| Shares {
        used: share(CpuTimes::busy_milliseconds),
        stolen: share(|times| times.stolen_milliseconds),
        waited: share(|times| times.wait_milliseconds),
    })
}
