//! `system-monitor`: measures the host and reports what runs full, hot or behind.
//!
//! Everything it knows of the host is in the views that the node hands in. What it keeps from run
//! to run is the open problems, the counters that rates are computed from, and the past of what can run
//! full.

mod clock;
mod cpu;
mod disks;
mod filling;
mod input;
mod memory;
mod mounts;
mod network;
mod processes;
mod sensors;
mod sockets;
mod units;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wachter_module::host::{self, Moment};
use wachter_module::{Context, Module, ModuleError, Report};

use crate::alarms::{self, Alarms, Standing};
use crate::rates::{float, per_second};
use crate::views::seen;
use input::Input;

/// The module.
pub(crate) struct SystemMonitor;

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    standing: Standing,
    /// What could run full.
    past: filling::Past,
    /// The counters of the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<cpu::Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<memory::Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<network::Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disks: Option<disks::Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<sockets::Before>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<units::Before>,
}

/// What one measurement adds to the report.
struct Measured {
    /// Under the name of its view in the output.
    summary: Value,
    metrics: Vec<Metric>,
}

/// A metric, its labels at most three: what a file system, an interface or a sensor is called.
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
            disks: seen(context, &mut unseen)?,
            sockets: seen(context, &mut unseen)?,
            units: seen(context, &mut unseen)?,
            clock: seen(context, &mut unseen)?,
        };
        if views.none() {
            return Err(ModuleError::failed(
                "no view of the host was handed in; grant `host: [cpu, memory, mounts]` to this module",
            ));
        }
        let mut missing: Vec<String> = context.missing().to_vec();
        missing.extend(unseen);

        let mut state = std::mem::take(&mut context.state);
        let mut alarms = Alarms::new(&mut state.standing, views.taken());
        let mut output = Map::new();
        let mut metrics = Vec::new();
        let mut add = |view: &str, measured: Option<Measured>| {
            if let Some(Measured { summary, metrics: more }) = measured {
                output.insert(view.to_owned(), summary);
                metrics.extend(more);
            }
        };
        let (cpu, memory) = (state.cpu.as_ref(), state.memory.as_ref());
        add("cpu", views.cpu.as_ref().map(|view| cpu::measure(view, cpu, &input, &mut alarms)));
        add(
            "memory",
            views.memory.as_ref().map(|view| memory::measure(view, memory, &input, &mut alarms)),
        );
        let past = &mut state.past;
        add(
            "mounts",
            views.mounts.as_ref().map(|view| mounts::measure(view, past, &input, &mut alarms)),
        );
        let before = state.disks.as_ref();
        add(
            "disks",
            views.disks.as_ref().map(|view| disks::measure(view, before, &input, &mut alarms)),
        );
        let before = state.network.as_ref();
        add(
            "network",
            views.network.as_ref().map(|view| network::measure(view, before, &input, &mut alarms)),
        );
        let before = state.sockets.as_ref();
        add(
            "sockets",
            views.sockets.as_ref().map(|view| sockets::measure(view, before, &input, &mut alarms)),
        );
        add(
            "processes",
            views.processes.as_ref().map(|view| processes::measure(view, &input, &mut alarms)),
        );
        let before = &mut state.units;
        add(
            "units",
            views.units.as_ref().map(|view| units::measure(view, before, &input, &mut alarms)),
        );
        add(
            "sensors",
            views.sensors.as_ref().map(|view| sensors::measure(view, &input, &mut alarms)),
        );
        add("clock", views.clock.as_ref().map(|view| clock::measure(view, &input, &mut alarms)));

        let now = views.taken();
        for view in ["cpu", "memory"] {
            if let Some(summary) = output.get_mut(view)
                && let Some(percent) = summary["used_percent"].as_f64()
            {
                summary["trend"] = json!(state.past.trend(view, &now, percent / 100.0));
            }
        }

        for finding in alarms.into_findings() {
            context.finding(finding);
        }
        for Metric { name, value, labels } in metrics {
            match &labels[..] {
                [] => context.metric(name, value, []),
                [(key, label)] => context.metric(name, value, [(key, label)]),
                [(key, label), (other, text)] => {
                    context.metric(name, value, [(key, label), (other, text)]);
                }
                [(key, label), (other, text), (third, last), ..] => {
                    context.metric(name, value, [(key, label), (other, text), (third, last)]);
                }
            }
        }
        output.insert("open".to_owned(), json!(state.standing.open.keys().collect::<Vec<_>>()));
        output.insert("missing".to_owned(), json!(missing));
        let message = state.standing.sentence(&missing);
        // A view that is missing once must not cost the rates of the run after.
        state.cpu = views.cpu.map(cpu::Before::from).or(state.cpu);
        let memory = state.memory.take();
        state.memory = match views.memory {
            Some(view) => Some(memory::Before::after(view, memory)),
            None => memory,
        };
        state.network = views.network.map(network::Before::from).or(state.network);
        state.disks = views.disks.map(disks::Before::from).or(state.disks);
        state.sockets = views.sockets.map(sockets::Before::from).or(state.sockets);
        context.state = state;
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
    disks: Option<host::Disks>,
    sockets: Option<host::Sockets>,
    units: Option<host::Units>,
    clock: Option<host::Clock>,
}

impl Views {
    const fn none(&self) -> bool {
        self.cpu.is_none()
            && self.memory.is_none()
            && self.mounts.is_none()
            && self.network.is_none()
            && self.processes.is_none()
            && self.sensors.is_none()
            && self.disks.is_none()
            && self.sockets.is_none()
            && self.units.is_none()
            && self.clock.is_none()
    }

    /// When they were taken, which is at one moment.
    fn taken(&self) -> Moment {
        let moments = [
            self.cpu.as_ref().map(|view| &view.taken),
            self.memory.as_ref().map(|view| &view.taken),
            self.mounts.as_ref().map(|view| &view.taken),
            self.network.as_ref().map(|view| &view.taken),
            self.processes.as_ref().map(|view| &view.taken),
            self.disks.as_ref().map(|view| &view.taken),
            self.sockets.as_ref().map(|view| &view.taken),
            self.units.as_ref().map(|view| &view.taken),
            self.clock.as_ref().map(|view| &view.taken),
        ];
        moments.into_iter().flatten().next().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
