use std::collections::BTreeMap;

use serde_json::json;
use wachter_module::Severity;
use wachter_module::host::Sensors;

use super::alarms::{Alarms, Kind, Threshold};
use super::input::Input;
use super::{Measured, Metric, float};
use crate::views::PATIENCE;

pub(super) const TEMPERATURE_HIGH: Kind =
    Kind { topic: "temperature.high", severity: Severity::High, what: "degrees Celsius" };

pub(super) fn measure(view: &Sensors, input: &Input, alarms: &mut Alarms<'_>) -> Measured {
    let mut metrics = Vec::new();
    let mut hottest: Option<f64> = None;
    let mut names = Names::default();
    for sensor in &view.temperatures {
        let (subject, labels) = names.name(&sensor.chip, sensor.device.as_deref(), &sensor.label);
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
        alarms.judge(TEMPERATURE_HIGH, &subject, sensor.celsius, threshold);
    }
    let mut names = Names::default();
    for fan in &view.fans {
        let (_, labels) = names.name(&fan.chip, fan.device.as_deref(), &fan.label);
        let value = float(fan.revolutions_per_minute);
        metrics.push(Metric { name: "fan_revolutions_per_minute", value, labels });
    }
    alarms.end_unseen_but(TEMPERATURE_HIGH, PATIENCE, |_| view.left_out > 0);
    let summary = json!({ "temperatures": view.temperatures.len(), "hottest_celsius": hottest });
    Measured { summary, metrics }
}

/// Tells sensors of one name apart: by their device or, where that is not known, by their order.
#[derive(Default)]
struct Names(BTreeMap<String, u32>);

impl Names {
    /// What a sensor is called, as in `nvme0/Composite` or `drivetemp/0:0:0:0/temp1`, and its labels.
    fn name(
        &mut self,
        chip: &str,
        device: Option<&str>,
        label: &str,
    ) -> (String, Vec<(&'static str, String)>) {
        let mut subject = match device {
            None => format!("{chip}/{label}"),
            // `coretemp.1` says what chip it is.
            Some(device) if device.starts_with(chip) => format!("{device}/{label}"),
            Some(device) => format!("{chip}/{device}/{label}"),
        };
        let mut sensor = label.to_owned();
        let count = self.0.entry(subject.clone()).or_default();
        *count += 1;
        if *count > 1 {
            let number = format!("#{count}");
            subject.push_str(&number);
            sensor.push_str(&number);
        }
        let mut labels = vec![("chip", chip.to_owned()), ("sensor", sensor)];
        labels.extend(device.map(|device| ("device", device.to_owned())));
        (subject, labels)
    }
}
