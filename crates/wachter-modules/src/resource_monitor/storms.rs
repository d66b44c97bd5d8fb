//! What comes in swarms: dead children that nobody collects, services that end and are started again, and
//! tasks that are made faster than anybody could need.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use wachter_module::Severity;
use wachter_module::host::{Processes, Units};

use super::groups::Lives;
use super::input::Input;
use super::processes::Consumer;
use crate::alarms::{Alarms, Details, Kind};
use crate::rates::float;
use crate::views::PATIENCE_OF_PROCESSES;

pub(super) const ZOMBIE_STORM: Kind = Kind {
    topic: "zombies.storm",
    severity: Severity::Medium,
    what: "dead children are not collected",
};

pub(super) const RESTART_STORM: Kind =
    Kind { topic: "restarts.storm", severity: Severity::High, what: "times it was started again" };

pub(super) const FORK_STORM: Kind =
    Kind { topic: "forks.storm", severity: Severity::High, what: "tasks are made in each second" };

/// As many parents of dead processes as a view has at most.
const MAX_PARENTS: usize = 64;

/// The most looks that are remembered of one unit.
const MAX_LOOKS: usize = 32;

/// Judges the parents of dead processes.
pub(super) fn judge_zombies(view: &Processes, input: &Input, alarms: &mut Alarms<'_>) {
    for zombies in view.zombies.iter().filter(|zombies| !input.ignore.contains(&zombies.name)) {
        let name = if zombies.name.is_empty() { "?" } else { &zombies.name };
        let subject = format!("{name}[{}]", zombies.parent);
        let details =
            Details { lasting: Duration::from_secs(input.zombies_seconds), ..Details::default() };
        let count = f64::from(zombies.count);
        alarms.judge_with(ZOMBIE_STORM, &subject, count, input.zombies_of_one_parent, details);
    }
    // Where there are too many parents, those with the fewest children are left out; and where there are too
    // many processes, some dead ones are not counted.
    let least = view.zombies.last().map_or(0, |zombies| zombies.count);
    let too_many = view.zombies.len() >= MAX_PARENTS
        && f64::from(least) >= input.zombies_of_one_parent.resolve;
    let unseen = view.left_out.as_ref().is_some_and(|left_out| left_out.unseen > 0);
    let may_be_left_out = |_: &str| too_many || unseen;
    alarms.end_unseen_but(ZOMBIE_STORM, PATIENCE_OF_PROCESSES, may_be_left_out);
}

/// Whether a unit that is not told of may be there all the same: there are too many.
pub(super) fn may_be_left_out(view: &Units, name: &str) -> bool {
    let told = u32::try_from(view.units.len()).unwrap_or(u32::MAX);
    told < view.total && !view.units.iter().any(|unit| unit.name == name)
}

/// How often each unit had been started again, at the times when that changed: 64 units at most, which is how
/// many the view asks of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Restarts(BTreeMap<String, Vec<(u64, u64)>>);

impl Restarts {
    /// Judges units by what systemd counts, at a time in milliseconds since boot.
    pub(super) fn judge_units(
        &mut self,
        view: &Units,
        uptime: u64,
        input: &Input,
        alarms: &mut Alarms<'_>,
    ) {
        let begin = uptime.saturating_sub(input.restarts_seconds.saturating_mul(1_000));
        for unit in view.units.iter().filter(|unit| !input.ignore.contains(&unit.name)) {
            let Some(restarts) = unit.restarts else {
                // Of a unit that is not running it is not asked.
                alarms.unknown(RESTART_STORM, &unit.name);
                continue;
            };
            let count = self.count(&unit.name, restarts, uptime, begin);
            judge_restarts(&unit.name, float(count), input, alarms);
        }
        // One that was not asked about this time may be again; of most there is nothing to remember.
        self.0.retain(|name, looks| {
            let unit = view.units.iter().find(|unit| unit.name == *name);
            let is_recent = looks.last().is_some_and(|(time, _)| *time >= begin);
            match unit {
                Some(unit) => unit.restarts.is_some() || looks.len() > 1,
                None => is_recent && may_be_left_out(view, name),
            }
        });
    }

    /// Says that units could not be seen.
    pub(super) fn unknown(&self, alarms: &mut Alarms<'_>) {
        self.0.keys().for_each(|name| alarms.unknown(RESTART_STORM, name));
    }

    /// Forgets all: the host has started anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How often it was started again since `begin`. What it was before the first look is no news.
    fn count(&mut self, name: &str, restarts: u64, uptime: u64, begin: u64) -> u64 {
        let looks = self.0.entry(name.to_owned()).or_default();
        match looks.last() {
            // Somebody started it by hand, and systemd counts anew.
            Some((_, last)) if restarts < *last => *looks = vec![(uptime, restarts)],
            Some((_, last)) if restarts == *last => {}
            _ => looks.push((uptime, restarts)),
        }
        // Of those before the window the last says where the counter stood when it began.
        let old = looks.iter().filter(|(time, _)| *time <= begin).count().saturating_sub(1);
        looks.drain(..old.max(looks.len().saturating_sub(MAX_LOOKS)));
        restarts.saturating_sub(looks.first().map_or(restarts, |(_, first)| *first))
    }
}

/// Judges containers, whose processes are all others after a restart.
pub(super) fn judge_containers<'a>(
    lives: &Lives,
    groups: impl Iterator<Item = &'a String>,
    uptime: u64,
    input: &Input,
    alarms: &mut Alarms<'_>,
) {
    let begin = uptime.saturating_sub(input.restarts_seconds.saturating_mul(1_000));
    let containers = groups.filter(|name| name.starts_with("container "));
    for name in containers.filter(|name| !input.ignore.contains(*name)) {
        let count = lives.get(name).map_or(0, |life| life.restarts_since(begin));
        let count = u32::try_from(count).map_or(f64::MAX, f64::from);
        judge_restarts(name, count, input, alarms);
    }
}

fn judge_restarts(subject: &str, count: f64, input: &Input, alarms: &mut Alarms<'_>) {
    let words = format!("; counted over {} s", input.restarts_seconds);
    let details = Details { words, ..Details::default() };
    alarms.judge_with(RESTART_STORM, subject, count, input.restarts, details);
}

/// Judges how many tasks are made, and says who made most of those that are still there.
pub(super) fn judge_forks(
    rate: Option<f64>,
    total: u32,
    consumers: &[Consumer<'_>],
    input: &Input,
    alarms: &mut Alarms<'_>,
) {
    let Some(rate) = rate else {
        alarms.unknown(FORK_STORM, "host");
        return;
    };
    let mut made = BTreeMap::<u32, usize>::new();
    let young = consumers.iter().filter(|consumer| !consumer.is_known);
    for consumer in young {
        *made.entry(consumer.process.parent).or_default() += 1;
    }
    let parent = made.iter().max_by_key(|(_, count)| **count).map(|(parent, count)| {
        let found = consumers.iter().find(|consumer| consumer.process.pid == *parent);
        (found.map_or_else(|| format!("[{parent}]"), |found| found.subject.clone()), *count)
    });
    let words = match &parent {
        Some((parent, count)) if *count > 1 => {
            format!("; {count} that are new and still there were started by {parent}")
        }
        _ => String::new(),
    };
    let details = Details {
        lasting: Duration::from_secs(input.forks_seconds),
        words,
        evidence: Map::from_iter([
            ("processes".to_owned(), json!(total)),
            ("parent".to_owned(), json!(parent.map(|(parent, _)| parent))),
        ]),
    };
    alarms.judge_with(FORK_STORM, "host", rate, input.forks_per_second, details);
}
