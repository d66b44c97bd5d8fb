use std::time::Duration;

use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::Clock;

use super::alarms::{Alarms, Kind};
use super::input::Input;
use super::{Measured, Metric, float};

pub(super) const UNSYNCHRONIZED: Kind = Kind {
    topic: "clock.unsynchronized",
    severity: Severity::Medium,
    what: "clock that nothing keeps in step with others",
};

pub(super) fn measure(view: &Clock, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let mut metrics = Vec::new();
    let mut metric = |name, value| metrics.push(Metric { name, value, labels: vec![] });
    let state = |yes: bool| if yes { 1.0 } else { 0.0 };
    metric("clock_synchronized", state(view.synchronized));
    if let Some(discipline) = view.discipline {
        metric("clock_maximum_error_seconds", float(discipline.maximum_error_microseconds) / 1e6);
        metric(
            "clock_estimated_error_seconds",
            float(discipline.estimated_error_microseconds) / 1e6,
        );
    }
    let evidence = json!({ "discipline": view.discipline });
    let lasting = Duration::from_secs(input.clock_unsynchronized_seconds);
    if view.synchronized {
        let message = "the clock is kept in step with others again".to_owned();
        alarms.tell(UNSYNCHRONIZED, "clock", None, message, evidence);
    } else if alarms.severity(UNSYNCHRONIZED, "clock").is_none()
        && let Some(time) = alarms.has_lasted(UNSYNCHRONIZED, "clock", lasting)
    {
        let message = format!(
            "nothing has kept the clock in step with others for {} minutes; look at chrony or systemd-timesyncd",
            time.as_secs() / 60
        );
        alarms.tell(UNSYNCHRONIZED, "clock", Some(UNSYNCHRONIZED.severity), message, evidence);
    }
    let summary = json!({ "synchronized": view.synchronized, "discipline": view.discipline });
    Measured { summary, metrics }
}
