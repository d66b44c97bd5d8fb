use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::{Moment, Unit, Units};

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float};
use crate::views::PATIENCE;

pub(super) const UNIT_FAILED: Kind =
    Kind { topic: "unit.failed", severity: Severity::High, what: "failed" };

pub(super) const UNIT_RESTARTING: Kind = Kind {
    topic: "unit.restarting",
    severity: Severity::High,
    what: "times within an hour systemd had to start it again",
};

const HOUR: u64 = 60 * 60 * 1_000;

/// The most units that the output names.
const NAMED: usize = 20;

/// Where the hour began that restarts are counted in, of each service that was ever started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    hours: BTreeMap<String, Hour>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hour {
    began: Moment,
    restarts: u64,
}

pub(super) fn measure(
    view: &Units,
    before: &mut Option<Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut failed = Vec::new();
    let first = before.is_none();
    let hours = &mut before.get_or_insert_default().hours;
    for unit in view.units.iter().filter(|unit| !input.ignore_units.contains(&unit.name)) {
        let is_failed = unit.active == "failed";
        if is_failed {
            failed.push(unit.name.as_str());
        }
        tell_failed(unit, is_failed, alarms);
        match unit.restarts {
            Some(restarts) => {
                judge_restarts(unit, restarts, first, hours, &view.taken, input, alarms);
            }
            // Of a unit that is not running it is not asked.
            None => alarms.unknown(UNIT_RESTARTING, &unit.name),
        }
    }
    let told = u32::try_from(view.units.len()).unwrap_or(u32::MAX);
    let is_told = |name: &str| view.units.iter().any(|unit| unit.name == name);
    let may_be_left_out = |name: &str| told < view.total && !is_told(name);
    hours.retain(|name, hour| {
        let is_recent = view.taken.since(&hour.began).is_none_or(|passed| passed < 2 * HOUR);
        is_told(name) || (may_be_left_out(name) && is_recent)
    });
    // Those that failed come before all others: where others are told of too, none of them is left out.
    let only_failed = view.units.iter().all(|unit| unit.active == "failed");
    alarms.end_unseen_but(UNIT_FAILED, PATIENCE, |name| only_failed && may_be_left_out(name));
    alarms.end_unseen_but(UNIT_RESTARTING, PATIENCE, may_be_left_out);
    let count = float(u64::try_from(failed.len()).unwrap_or(u64::MAX));
    let metrics = vec![
        Metric { name: "units", value: f64::from(view.total), labels: vec![] },
        Metric { name: "units_failed", value: count, labels: vec![] },
    ];
    let named: Vec<_> = failed.iter().take(NAMED).collect();
    let summary = json!({ "total": view.total, "failed": failed.len(), "failed_units": named });
    Measured { summary, metrics }
}

fn tell_failed(unit: &Unit, is_failed: bool, alarms: &mut Alarms<'_>) {
    let evidence = json!({
        "description": unit.description,
        "active": unit.active,
        "sub": unit.sub,
        "result": unit.result,
        "restarts": unit.restarts,
    });
    let (severity, message) = if is_failed {
        let result =
            unit.result.as_deref().map(|result| format!(" ({result})")).unwrap_or_default();
        (Some(UNIT_FAILED.severity), format!("{} has failed{result}", unit.name))
    } else {
        (None, format!("{} is {} again", unit.name, unit.active))
    };
    alarms.tell(UNIT_FAILED, &unit.name, severity, message, evidence);
}

/// Counts within hours that follow one another: as soon as it is too often, and at the end of an hour in
/// which it was not.
fn judge_restarts(
    unit: &Unit,
    restarts: u64,
    first: bool,
    hours: &mut BTreeMap<String, Hour>,
    now: &Moment,
    input: &Input,
    alarms: &mut Alarms<'_>,
) {
    if restarts == 0 && !hours.contains_key(&unit.name) {
        alarms.judge(UNIT_RESTARTING, &unit.name, 0.0, input.unit_restarts_per_hour);
        return;
    }
    // What happened before the first look is no news; what is new since then began at none.
    let start = || Hour { began: now.clone(), restarts: if first { restarts } else { 0 } };
    let hour = hours.entry(unit.name.clone()).or_insert_with(start);
    // Somebody started it, or the host.
    if restarts < hour.restarts || now.boot != hour.began.boot {
        *hour = Hour { began: now.clone(), restarts };
    }
    let count = float(restarts - hour.restarts);
    let over = now.since(&hour.began).unwrap_or(0) >= HOUR;
    if over {
        *hour = Hour { began: now.clone(), restarts };
    }
    if over || count >= input.unit_restarts_per_hour.raise {
        alarms.judge(UNIT_RESTARTING, &unit.name, count, input.unit_restarts_per_hour);
    } else {
        alarms.unknown(UNIT_RESTARTING, &unit.name);
    }
}
