//! What units, containers and control groups use: the sums of their processes, and the lives that they have
//! had.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::processes::{Consumer, WARM_UP, shortened};

/// The most groups that are remembered, 250 bytes each: those that hold the most memory.
const MAX_REMEMBERED: usize = 256;

/// The most restarts that are remembered of a group.
const MAX_RESTARTS: usize = 32;

/// The sum of some processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum<'a> {
    pub(super) processes: u32,
    pub(super) cores: Option<f64>,
    pub(super) transferred: Option<f64>,
    pub(super) memory: u64,
    pub(super) descriptors: Option<u64>,
    /// The process that holds the most memory, and how much.
    pub(super) largest: Option<(&'a str, u64)>,
    /// The process that keeps the most cores busy, and how many.
    pub(super) busiest: Option<(&'a str, f64)>,
    /// The limit of memory that all of them have in common.
    pub(super) limit: Option<u64>,
    /// When the first of them started.
    oldest: u64,
    /// Whether one of them was there in the last run.
    is_known: bool,
}

impl<'a> Sum<'a> {
    fn add(&mut self, consumer: &'a Consumer<'a>) {
        let limit = consumer.process.memory_limit_bytes;
        let started = consumer.process.started_milliseconds;
        if self.processes == 0 {
            (self.limit, self.oldest) = (limit, started);
        } else if self.limit != limit {
            self.limit = None;
        }
        self.oldest = self.oldest.min(started);
        self.processes = self.processes.saturating_add(1);
        let sum = |sum: Option<f64>, more: Option<f64>| match (sum, more) {
            (Some(sum), Some(more)) => Some(sum + more),
            (one, other) => one.or(other),
        };
        self.cores = sum(self.cores, consumer.cores);
        self.transferred = sum(self.transferred, consumer.transferred);
        self.memory = self.memory.saturating_add(consumer.memory);
        if let Some(open) = consumer.process.descriptors {
            self.descriptors = Some(self.descriptors.unwrap_or(0).saturating_add(open.into()));
        }
        if self.largest.is_none_or(|(_, most)| consumer.memory > most) {
            self.largest = Some((&consumer.subject, consumer.memory));
        }
        if let Some(cores) = consumer.cores
            && self.busiest.is_none_or(|(_, most)| cores > most)
        {
            self.busiest = Some((&consumer.subject, cores));
        }
        self.is_known |= consumer.is_known;
    }
}

/// Sums by a name that each process has, or has not.
pub(super) fn sums<'a>(
    consumers: &'a [Consumer<'a>],
    name: impl Fn(&Consumer<'a>) -> Option<String>,
) -> BTreeMap<String, Sum<'a>> {
    let mut sums = BTreeMap::<String, Sum<'a>>::new();
    for consumer in consumers {
        if let Some(name) = name(consumer) {
            sums.entry(name).or_default().add(consumer);
        }
    }
    sums
}

/// The path of the control group of a process, as it is shown.
pub(super) fn control_group(consumer: &Consumer<'_>) -> Option<String> {
    consumer.process.cgroup.as_deref().map(shortened)
}

/// What is remembered of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Lives(BTreeMap<String, Life>);

/// From the start of a group to its end, which is that none of its processes is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Life {
    /// The least memory that it held in this life, once it had started up.
    #[serde(skip_serializing_if = "Option::is_none")]
    least_kibibytes: Option<u64>,
    /// When it was started again, since boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restarts: Vec<u64>,
    /// Whether an earlier life ended with a leak.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaked: bool,
}

impl Life {
    pub(super) fn least_memory(&self) -> Option<u64> {
        self.least_kibibytes.map(|kibibytes| kibibytes << 10)
    }

    /// How often it was started again since a time.
    pub(super) fn restarts_since(&self, uptime: u64) -> usize {
        self.restarts.iter().filter(|restart| **restart >= uptime).count()
    }
}

impl Lives {
    /// Takes in what is there now. Told are those that were started again since the last run: all their
    /// processes are others.
    pub(super) fn take_in(
        &mut self,
        sums: &BTreeMap<String, Sum<'_>>,
        uptime: u64,
        has_before: bool,
    ) -> Vec<String> {
        let mut again = Vec::new();
        for (name, sum) in sums {
            let life = self.0.get_mut(name);
            if let Some(life) = life
                && has_before
                && !sum.is_known
            {
                life.restarts.push(uptime);
                let old = life.restarts.len().saturating_sub(MAX_RESTARTS);
                life.restarts.drain(..old);
                life.least_kibibytes = None;
                again.push(name.clone());
            }
            let life = self.0.entry(name.clone()).or_default();
            if uptime.saturating_sub(sum.oldest) >= WARM_UP {
                let now = sum.memory >> 10;
                life.least_kibibytes =
                    Some(life.least_kibibytes.map_or(now, |least| least.min(now)));
            }
        }
        // What is gone for a moment may be about to start again; it is kept as long as there is room.
        if self.0.len() > MAX_REMEMBERED {
            let mut order: Vec<(u64, String)> = self
                .0
                .keys()
                .map(|name| (sums.get(name).map_or(0, |sum| sum.memory + 1), name.clone()))
                .collect();
            order.sort_unstable_by_key(|(memory, _)| Reverse(*memory));
            for (_, name) in &order[MAX_REMEMBERED..] {
                self.0.remove(name);
            }
        }
        again
    }

    pub(super) fn get(&self, name: &str) -> Option<&Life> {
        self.0.get(name)
    }

    /// That it was started again while it leaked.
    pub(super) fn leaked(&mut self, name: &str) {
        if let Some(life) = self.0.get_mut(name) {
            life.leaked = true;
        }
    }

    /// Forgets all: the host has started anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
