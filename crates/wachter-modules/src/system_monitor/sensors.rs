use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::Sensors;

use super::alarms::{Alarms, Kind, Threshold};
use super::input::Input;
use super::{Measured, Metric, float};

pub(super) const TEMPERATURE_HIGH: Kind =
    Kind { topic: "temperature.high", severity: Severity::High, what: "degrees Celsius" };

pub(super) fn measure(view: &Sensors, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let mut metrics = Vec::new();
    let mut hottest: Option<f64> = None;
    for sensor in &view.temperatures {
        let labels = vec![("chip", sensor.chip.clone()), ("sensor", sensor.label.clone())];
        metrics.push(Metric { name: "temperature_celsius", value: sensor.celsius, labels });
        hottest = Some(hottest.map_or(sensor.celsius, |most| most.max(sensor.celsius)));
        // A chip knows best what it stands. Some report 0 or less where nobody has set it.
        let threshold = match sensor.critical_celsius {
            Some(critical) if critical > 0.0 => Threshold::new(
                critical - input.temperature_margin_celsius,
                critical - 2.0 * input.temperature_margin_celsius,
            ),
            _ => input.temperature_celsius,
        };
        let subject = format!("{}/{}", sensor.chip, sensor.label);
        alarms.judge(TEMPERATURE_HIGH, &subject, sensor.celsius, threshold);
    }
    for fan in &view.fans {
        let labels = vec![("chip", fan.chip.clone()), ("sensor", fan.label.clone())];
        let value = float(fan.revolutions_per_minute);
        metrics.push(Metric { name: "fan_revolutions_per_minute", value, labels });
    }
    alarms.end_unseen(TEMPERATURE_HIGH);
    let summary = json!({ "temperatures": view.temperatures.len(), "hottest_celsius": hottest });
    Measured { summary, metrics }
}
