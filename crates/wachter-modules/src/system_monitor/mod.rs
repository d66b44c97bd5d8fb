//! `system-monitor`: measures the host and reports what runs full, hot or behind.
//!
//! Everything it knows of the host is in the views that the node hands in. What it keeps from run
//! to run is the open problems, and the counters that rates are computed from.

mod alarms;
mod cpu;
mod disks;
mod input;
mod memory;
mod network;
mod processes;
mod sensors;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wachter_module::host::{self, View, ViewError};
use wachter_module::{Context, Module, ModuleError, Report};

use alarms::{Alarms, Open};
use input::Input;

/// The module.
pub(crate) struct SystemMonitor;

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The problems that were reported and have not been resolved.
    #[serde(default)]
    open: Open,
    /// The counters of the last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<cpu::Before>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<network::Before>,
}

/// What one measurement adds to the report.
struct Measured {
    /// Under the name of its view in the output.
    summary: Value,
    metrics: Vec<Metric>,
}

/// A metric, its labels at most two: what a file system, an interface or a sensor is called.
struct Metric {
    name: &'static str,
    value: f64,
    labels: Vec<(&'static str, String)>,
}

impl Module for SystemMonitor {
    type Input = Input;
    type State = State;

    fn execute(&self, input: Input, context: &mut Context<State>) -> Result<Report, ModuleError> {
        input.check()?;
        let mut unseen = Vec::new();
        let views = Views {
            cpu: seen(context, &mut unseen)?,
            memory: seen(context, &mut unseen)?,
            mounts: seen(context, &mut unseen)?,
            network: seen(context, &mut unseen)?,
            processes: seen(context, &mut unseen)?,
            sensors: seen(context, &mut unseen)?,
        };
        if views.none() {
            return Err(ModuleError::failed(
                "no view of the host was handed in; grant `host: [cpu, memory, mounts]` to this module",
            ));
        }
        let mut missing: Vec<String> = context.missing().to_vec();
        missing.extend(unseen);

        let State { mut open, cpu, network } = std::mem::take(&mut context.state);
        let mut alarms = Alarms::new(&mut open);
        let mut output = Map::new();
        let mut metrics = Vec::new();
        let mut add = |view: &str, measured: Option<Measured>| {
            if let Some(Measured { summary, metrics: more }) = measured {
                output.insert(view.to_owned(), summary);
                metrics.extend(more);
            }
        };
        add(
            "cpu",
            views.cpu.as_ref().map(|view| cpu::measure(view, cpu.as_ref(), &input, &mut alarms)),
        );
        add("memory", views.memory.map(|view| memory::measure(&view, &input, &mut alarms)));
        add("mounts", views.mounts.as_ref().map(|view| disks::measure(view, &input, &mut alarms)));
        add(
            "network",
            views
                .network
                .as_ref()
                .map(|view| network::measure(view, network.as_ref(), &input, &mut alarms)),
        );
        add(
            "processes",
            views.processes.as_ref().map(|view| processes::measure(view, &input, &mut alarms)),
        );
        add(
            "sensors",
            views.sensors.as_ref().map(|view| sensors::measure(view, &input, &mut alarms)),
        );

        for finding in alarms.into_findings() {
            context.finding(finding);
        }
        for Metric { name, value, labels } in metrics {
            match &labels[..] {
                [] => context.metric(name, value, []),
                [(key, label)] => context.metric(name, value, [(key, label)]),
                [(key, label), (other, text), ..] => {
                    context.metric(name, value, [(key, label), (other, text)]);
                }
            }
        }
        output.insert("open".to_owned(), json!(open.keys().collect::<Vec<_>>()));
        output.insert("missing".to_owned(), json!(missing));
        let message = sentence(&open, &missing);
        // A view that is missing once must not cost the rates of the run after.
        context.state = State {
            open,
            cpu: views.cpu.map(cpu::Before::from).or(cpu),
            network: views.network.map(network::Before::from).or(network),
        };
        Ok(Report::unchanged().message(message).output(output))
    }

    /// A state of an earlier version is forgotten: rates come back with the next run, and a problem
    /// that is reported again has the same fingerprint as before.
    fn read_state(&self, state: Value) -> Result<State, ModuleError> {
        Ok(serde_json::from_value(state).unwrap_or_default())
    }
}

struct Views {
    cpu: Option<host::Cpu>,
    memory: Option<host::Memory>,
    mounts: Option<host::Mounts>,
    network: Option<host::Network>,
    processes: Option<host::Processes>,
    sensors: Option<host::Sensors>,
}

impl Views {
    const fn none(&self) -> bool {
        self.cpu.is_none()
            && self.memory.is_none()
            && self.mounts.is_none()
            && self.network.is_none()
            && self.processes.is_none()
            && self.sensors.is_none()
    }
}

/// A view, or a sentence that it is not there. One that the node tried to take has its own
/// sentence already.
fn seen<T: View>(
    context: &Context<State>,
    unseen: &mut Vec<String>,
) -> Result<Option<T>, ViewError> {
    match context.host() {
        Ok(view) => Ok(Some(view)),
        Err(ViewError::Absent(view)) => {
            let prefix = format!("{view}: ");
            if !context.missing().iter().any(|sentence| sentence.starts_with(&prefix)) {
                unseen
                    .push(format!("{view}: not handed in; grant `host: [{view}]` to this module"));
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn sentence(open: &Open, missing: &[String]) -> String {
    let mut kinds = BTreeMap::<&str, usize>::new();
    for fingerprint in open.keys() {
        let kind = fingerprint.split(':').next().unwrap_or_default();
        *kinds.entry(kind).or_default() += 1;
    }
    let mut text = match kinds.len() {
        0 => "No open problems".to_owned(),
        _ => {
            let kinds = kinds.iter().map(|(kind, count)| format!("{kind} ({count})"));
            format!("Open problems: {}", kinds.collect::<Vec<_>>().join(", "))
        }
    };
    match missing {
        [] => {}
        [one] => text.push_str(&format!("; could not be seen: {one}")),
        [first, rest @ ..] => {
            text.push_str(&format!("; could not be seen: {first}; and {} more", rest.len()));
        }
    }
    text
}

/// A counter as a number of a metric.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float, exact up to 2^53")]
const fn float(counter: u64) -> f64 {
    counter as f64
}

/// What a counter gained in each second; none where it was reset.
fn per_second(now: u64, before: u64, milliseconds: u64) -> Option<f64> {
    Some(float(now.checked_sub(before)?) * 1_000.0 / float(milliseconds))
}

#[cfg(test)]
mod tests;
