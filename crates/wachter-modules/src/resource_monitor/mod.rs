//! `resource-monitor`: who uses the processors, memory, disks and open files of a host, and what of it runs
//! away.
//!
//! Everything it knows of the host is in the views that the node hands in. A process is known by its number
//! and its start, a unit or container by its name, so that it is seen when it was started again.
//!
//! # Limits
//! The state has 70 bytes for each of 2,048 processes at most, 250 for each of 256 groups, 5 KiB for each of 64
//! that grow, and the open problems: 600 KiB if all of it is full, and mostly below 50 KiB.
//!
//! # Invariants
//! - Page cache is no memory of anybody: only what belongs to no file counts.
//! - Nothing is foretold that the past does not support, which [`exhaustion`](crate::exhaustion) decides.

mod groups;
mod hogs;
mod input;
mod leaks;
mod processes;
mod storms;
mod top;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use wachter_module::host::{self, Moment};
use wachter_module::{Context, Module, ModuleError, Report};

use crate::alarms::{Alarms, Standing};
use crate::rates::per_second;
use crate::views::{PATIENCE_OF_PROCESSES, may_be_left_out, seen};
use groups::{Lives, Sum, control_group, sums};
use input::Input;
use leaks::{DESCRIPTORS_LEAK, Leak, Limit, Limiting, MEMORY_LEAK, Suspect, Watch};
use processes::{Consumer, Table};
use storms::Restarts;

/// The module.
pub(crate) struct ResourceMonitor;

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    standing: Standing,
    /// When the last run was.
    taken: Option<Moment>,
    processes: Table,
    groups: Lives,
    watch: Watch,
    restarts: Restarts,
    /// How many tasks had been made.
    forks: Option<u64>,
}

struct Views {
    processes: host::Processes,
    cpu: Option<host::Cpu>,
    memory: Option<host::Memory>,
    units: Option<host::Units>,
}

impl Module for ResourceMonitor {
    type Input = Input;
    type State = State;

    fn execute(&self, input: Input, context: &mut Context<State>) -> Result<Report, ModuleError> {
        input.check()?;
        let mut missing = context.missing().to_vec();
        let Some(processes) = seen(context, &mut missing)? else {
            return Err(ModuleError::failed(
                "the view of processes was not handed in; grant `host: [cpu, memory, processes, units]` to this module",
            ));
        };
        let views = Views {
            processes,
            cpu: seen(context, &mut missing)?,
            memory: seen(context, &mut missing)?,
            units: seen(context, &mut missing)?,
        };
        let mut state = std::mem::take(&mut context.state);
        let now = &views.processes.taken;
        let passed = state.taken.as_ref().and_then(|taken| now.since(taken));
        if passed.is_none() {
            state.groups.clear();
            state.restarts.clear();
        }
        let consumers = state.processes.look(&views.processes, passed);
        let groups = sums(&consumers, |consumer| consumer.group.clone());
        let mut alarms = Alarms::new(&mut state.standing, now.clone());

        let again = state.groups.take_in(&groups, now.uptime_milliseconds, passed.is_some());
        for name in again {
            let used = groups.get(&name).map_or(0, |sum| sum.memory);
            if state.watch.restarted(&name, used, &mut alarms) {
                state.groups.leaked(&name);
            }
        }
        let suspects = suspects(&views, &consumers, &groups, &state.groups, &input, &mut alarms);
        let minute = now.unix_milliseconds.map(|time| time / 60_000);
        let days = |kind: crate::alarms::Kind| {
            if kind.topic == MEMORY_LEAK.topic {
                input.memory_exhausted_days
            } else {
                input.descriptors_exhausted_days
            }
        };
        let left_out = |subject: &str| may_be_left_out(&views.processes, subject);
        let leaks = state.watch.judge(&suspects, minute, days, &mut alarms);
        // Without the time of day nothing has ended.
        let leak_kinds = [MEMORY_LEAK, DESCRIPTORS_LEAK].into_iter().filter(|_| minute.is_some());
        let cores = views.cpu.as_ref().map(|view| view.cores.len());
        hogs::judge(&consumers, &groups, cores, &input, &mut alarms);
        for kind in leak_kinds.chain([hogs::CPU_HOG, hogs::CPU_SPINNING]) {
            alarms.end_unseen_but(kind, PATIENCE_OF_PROCESSES, left_out);
        }
        let forks = views.cpu.as_ref().and_then(|view| {
            per_second(view.forks, state.forks?, passed.filter(|passed| *passed > 0)?)
        });
        let total = views.processes.total;
        storms::judge_forks(forks, total, &consumers, &input, &mut alarms);
        storms::judge_zombies(&views.processes, &input, &mut alarms);
        let uptime = now.uptime_milliseconds;
        storms::judge_containers(&state.groups, groups.keys(), uptime, &input, &mut alarms);
        match &views.units {
            Some(view) => state.restarts.judge_units(view, uptime, &input, &mut alarms),
            None => state.restarts.unknown(&mut alarms),
        }
        let units = views.units.as_ref();
        alarms.end_unseen_but(storms::RESTART_STORM, PATIENCE_OF_PROCESSES, |subject| {
            if subject.starts_with("container ") {
                left_out(subject)
            } else {
                units.is_some_and(|view| storms::may_be_left_out(view, subject))
            }
        });

        for finding in alarms.into_findings() {
            context.finding(finding);
        }
        measure(context, &consumers, &groups, &leaks, forks, input.top);
        let mut output = summary(total, &consumers, &leaks, forks, input.top);
        let message = state.standing.sentence(&missing);
        let open: Vec<_> = state.standing.open.keys().collect();
        output.insert("open".to_owned(), json!(open));
        output.insert("missing".to_owned(), json!(missing));
        state.processes = Table::after(&consumers);
        state.forks = views.cpu.as_ref().map(|view| view.forks);
        state.taken = Some(views.processes.taken.clone());
        context.state = state;
        Ok(Report::unchanged().message(message).output(output))
    }

    /// A state of an earlier version is forgotten: rates come back with the next run, and a problem
    /// that is reported again has the same fingerprint as before.
    fn read_state(&self, state: Value) -> Result<State, ModuleError> {
        Ok(serde_json::from_value(state).unwrap_or_default())
    }
}

/// What may leak: groups, processes, and the open files of processes.
fn suspects<'a>(
    views: &Views,
    consumers: &'a [Consumer<'a>],
    groups: &'a BTreeMap<String, Sum<'a>>,
    lives: &Lives,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Vec<Suspect<'a>> {
    let memory = views.memory.as_ref();
    let mut suspects = Vec::new();
    for (name, sum) in groups.iter().filter(|(name, _)| !input.ignore.contains(*name)) {
        let life = lives.get(name);
        let limit = memory_limit(sum.memory, sum.limit, 0, memory);
        let least = life.and_then(groups::Life::least_memory);
        let Some((limit, least)) = limit.zip(least) else {
            alarms.unknown(MEMORY_LEAK, name);
            continue;
        };
        let mut words = match sum.largest {
            Some((largest, _)) if sum.processes > 1 => format!("; most of it is held by {largest}"),
            _ => String::new(),
        };
        if life.is_some_and(|life| life.leaked) {
            words.push_str("; so it did before it was started again");
        }
        suspects.push(Suspect {
            kind: MEMORY_LEAK,
            subject: name,
            started: 0,
            group: None,
            used: sum.memory,
            least,
            limit,
            words,
        });
    }
    for consumer in consumers.iter().filter(|consumer| input.watches(consumer)) {
        let process = consumer.process;
        let group = consumer.group.as_deref();
        let suspect = |kind, used, least, limit| Suspect {
            kind,
            subject: &consumer.subject,
            // One that is as old as the host is not taken for a group.
            started: process.started_milliseconds.max(1),
            group,
            used,
            least,
            limit,
            words: String::new(),
        };
        let own = process.memory_limit_bytes;
        // Others have some of what the group may have.
        let others = group
            .and_then(|group| groups.get(group))
            .filter(|sum| sum.limit == own)
            .map_or(0, |sum| sum.memory.saturating_sub(consumer.memory));
        match memory_limit(consumer.memory, own, others, memory).zip(consumer.least_memory) {
            Some((limit, least)) => {
                suspects.push(suspect(MEMORY_LEAK, consumer.memory, least, limit));
            }
            None => alarms.unknown(MEMORY_LEAK, &consumer.subject),
        }
        let open = process.descriptors.map(u64::from);
        match (open, process.descriptors_most, consumer.fewest_descriptors) {
            (Some(open), Some(most), Some(fewest)) if most > 0 => {
                let limit = Limit { what: Limiting::Process, total: most, reach: most };
                suspects.push(suspect(DESCRIPTORS_LEAK, open, fewest.into(), limit));
            }
            (Some(open), ..) => {
                let message = format!("{} has {open} files open, near no limit", consumer.subject);
                let evidence = json!({ "open": open });
                alarms.tell(DESCRIPTORS_LEAK, &consumer.subject, None, message, evidence);
            }
            (None, ..) => alarms.unknown(DESCRIPTORS_LEAK, &consumer.subject),
        }
    }
    suspects
}

/// How much memory something that uses some can get: what its control group may have, of which others have
/// some, and what the host has left.
fn memory_limit(
    used: u64,
    group: Option<u64>,
    others: u64,
    memory: Option<&host::Memory>,
) -> Option<Limit> {
    let host = memory.filter(|memory| memory.total_bytes > 0).map(|memory| {
        let left = memory.available_bytes.saturating_add(memory.swap_free_bytes);
        let total = memory.total_bytes.saturating_add(memory.swap_total_bytes);
        Limit { what: Limiting::Host, total, reach: used.saturating_add(left) }
    });
    let group = group.filter(|group| *group > 0).map(|total| {
        let reach = total.saturating_sub(others);
        Limit { what: Limiting::Group, total, reach }
    });
    match (group, host) {
        (Some(group), Some(host)) if group.total >= host.total => Some(host),
        (Some(group), Some(host)) if host.reach < group.reach => {
            Some(Limit { total: group.total, ..host })
        }
        (group, host) => group.or(host),
    }
}

fn measure(
    context: &Context<State>,
    consumers: &[Consumer<'_>],
    groups: &BTreeMap<String, Sum<'_>>,
    leaks: &[Leak],
    forks: Option<f64>,
    count: usize,
) {
    // By name, since numbers of processes would be ever new labels.
    let names = sums(consumers, |consumer| Some(consumer.process.name.clone()));
    for (metric, name, value) in top::metrics(&names, count) {
        context.metric(&format!("process_{metric}"), value, [("process", name)]);
    }
    for (metric, name, value) in top::metrics(groups, count) {
        context.metric(&format!("group_{metric}"), value, [("group", name)]);
    }
    for Leak { kind, subject, filling } in leaks {
        let name = if kind.topic == MEMORY_LEAK.topic {
            "memory_exhausted_days"
        } else {
            "descriptors_exhausted_days"
        };
        context.metric(name, filling.days(), [("subject", subject)]);
    }
    if let Some(rate) = forks {
        context.metric("tasks_made_per_second", rate, []);
    }
}

fn summary(
    total: u32,
    consumers: &[Consumer<'_>],
    leaks: &[Leak],
    forks: Option<f64>,
    count: usize,
) -> Map<String, Value> {
    let units = sums(consumers, |consumer| consumer.process.unit.clone());
    let control_groups = sums(consumers, control_group);
    let leaks: Map<String, Value> = leaks
        .iter()
        .map(|leak| (format!("{}:{}", leak.kind.topic, leak.subject), leak.filling.summary()))
        .collect();
    let of = |count: usize, top: Value| json!({ "total": count, "top": top });
    Map::from_iter([
        (
            "processes".to_owned(),
            json!({ "total": total, "seen": consumers.len(), "top": top::processes(consumers, count) }),
        ),
        ("units".to_owned(), of(units.len(), top::sums(&units, count))),
        ("control_groups".to_owned(), of(control_groups.len(), top::sums(&control_groups, count))),
        ("growing".to_owned(), Value::Object(leaks)),
        ("tasks_made_per_second".to_owned(), json!(forks)),
    ])
}

#[cfg(test)]
mod tests;
