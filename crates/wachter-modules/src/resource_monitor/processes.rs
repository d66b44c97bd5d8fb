//! What each process has used since the last run, and the least that it ever held.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use wachter_module::host::{Process, Processes};

use crate::rates::per_second;

/// The most processes that are remembered, 70 bytes each: those that hold the most memory.
const MAX_REMEMBERED: usize = 2_048;

/// What a process holds in its first ten minutes says nothing of what it needs, in milliseconds.
pub(super) const WARM_UP: u64 = 10 * 60 * 1_000;

/// A process, and what it has used since the last run.
pub(super) struct Consumer<'a> {
    pub(super) process: &'a Process,
    /// As in `web[2211]`.
    pub(super) subject: String,
    /// What it belongs to, and is judged with.
    pub(super) group: Option<String>,
    /// Memory that the kernel cannot drop, in use and swapped out.
    pub(super) memory: u64,
    /// Cores that it kept busy; none where there was no run before.
    pub(super) cores: Option<f64>,
    /// Bytes that it read from disks and wrote to them in each second.
    pub(super) transferred: Option<f64>,
    /// Whether it was there at the last run.
    pub(super) is_known: bool,
    /// The least memory that it held since it had started up; none while it has not.
    pub(super) least_memory: Option<u64>,
    /// The fewest files that it had open since then.
    pub(super) fewest_descriptors: Option<u32>,
}

/// The processes of the last run, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Table(Vec<Row>);

/// A process is told from a later one of the same number by its start. The state holds one a process, so
/// they are lists there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Listed", into = "Listed")]
struct Row {
    pid: u32,
    started: u64,
    cpu_milliseconds: u64,
    transferred_kibibytes: Option<u64>,
    least_kibibytes: Option<u64>,
    fewest_descriptors: Option<u32>,
}

type Listed = (u32, u64, u64, Option<u64>, Option<u64>, Option<u32>);

impl From<Listed> for Row {
    fn from(listed: Listed) -> Self {
        let (
            pid,
            started,
            cpu_milliseconds,
            transferred_kibibytes,
            least_kibibytes,
            fewest_descriptors,
        ) = listed;
        Self {
            pid,
            started,
            cpu_milliseconds,
            transferred_kibibytes,
            least_kibibytes,
            fewest_descriptors,
        }
    }
}

impl From<Row> for Listed {
    fn from(row: Row) -> Self {
        let Row {
            pid,
            started,
            cpu_milliseconds,
            transferred_kibibytes,
            least_kibibytes,
            fewest_descriptors,
        } = row;
        (pid, started, cpu_milliseconds, transferred_kibibytes, least_kibibytes, fewest_descriptors)
    }
}

impl Table {
    /// Compares the processes with those of the last run, so many milliseconds ago; none where there was no
    /// run before in this boot.
    pub(super) fn look<'a>(&self, view: &'a Processes, passed: Option<u64>) -> Vec<Consumer<'a>> {
        let uptime = view.taken.uptime_milliseconds;
        let consumer = |process: &'a Process| {
            let before = passed.and_then(|_| self.find(process));
            // What started since then began at nothing.
            let is_new = passed.is_some_and(|passed| {
                process.started_milliseconds >= uptime.saturating_sub(passed)
            });
            let rate = |now: u64, before: Option<u64>| {
                per_second(now, before.or(is_new.then_some(0))?, passed?)
            };
            let memory = memory(process);
            let is_warm = uptime.saturating_sub(process.started_milliseconds) >= WARM_UP;
            let least = before.and_then(|row| row.least_kibibytes).map(|least| least << 10);
            let fewest = before.and_then(|row| row.fewest_descriptors);
            let cores = rate(process.cpu_milliseconds, before.map(|row| row.cpu_milliseconds));
            Consumer {
                process,
                subject: format!("{}[{}]", process.name, process.pid),
                group: group(process),
                memory,
                cores: cores.map(|milliseconds| milliseconds / 1_000.0),
                transferred: transferred(process).and_then(|now| {
                    let before = before.and_then(|row| row.transferred_kibibytes);
                    rate(now, before.map(|kibibytes| kibibytes << 10))
                }),
                is_known: !is_new,
                least_memory: is_warm.then(|| least.map_or(memory, |least| least.min(memory))),
                fewest_descriptors: process
                    .descriptors
                    .filter(|_| is_warm)
                    .map(|now| fewest.map_or(now, |fewest| fewest.min(now))),
            }
        };
        view.processes.iter().map(consumer).collect()
    }

    /// What the next run is to know.
    pub(super) fn after(consumers: &[Consumer<'_>]) -> Self {
        let mut largest: Vec<&Consumer<'_>> = consumers.iter().collect();
        if largest.len() > MAX_REMEMBERED {
            largest.sort_by_key(|consumer| Reverse(consumer.memory));
            largest.truncate(MAX_REMEMBERED);
        }
        let row = |consumer: &Consumer<'_>| Row {
            pid: consumer.process.pid,
            started: consumer.process.started_milliseconds,
            cpu_milliseconds: consumer.process.cpu_milliseconds,
            transferred_kibibytes: transferred(consumer.process).map(|bytes| bytes >> 10),
            least_kibibytes: consumer.least_memory.map(|bytes| bytes >> 10),
            fewest_descriptors: consumer.fewest_descriptors,
        };
        let mut rows: Vec<Row> = largest.into_iter().map(row).collect();
        rows.sort_unstable_by_key(|row| row.pid);
        Self(rows)
    }

    fn find(&self, process: &Process) -> Option<&Row> {
        let place = self.0.binary_search_by_key(&process.pid, |row| row.pid).ok()?;
        Some(&self.0[place]).filter(|row| row.started == process.started_milliseconds)
    }
}

fn memory(process: &Process) -> u64 {
    let held = process.anonymous_bytes.unwrap_or(process.resident_bytes);
    held.saturating_add(process.swapped_bytes)
}

fn transferred(process: &Process) -> Option<u64> {
    process.io.map(|io| io.read_bytes.saturating_add(io.written_bytes))
}

/// What a process is judged with: its container, its unit, or its control group. What a person started in a
/// session has nothing in common but the person.
fn group(process: &Process) -> Option<String> {
    if let Some(container) = &process.container {
        // As short as Docker and Podman show them.
        return Some(format!("container {}", container.get(..12).unwrap_or(container)));
    }
    let personal = |unit: &str| {
        unit.starts_with("user@") || (unit.starts_with("session-") && unit.ends_with(".scope"))
    };
    match process.unit.as_deref() {
        Some(unit) if !personal(unit) => Some(unit.to_owned()),
        Some(unit) if unit.starts_with("session-") => None,
        _ => process.cgroup.as_deref().map(shortened),
    }
}

/// A path, of a long one the end: what tells groups apart stands there.
pub(super) fn shortened(path: &str) -> String {
    const MOST: usize = 160;
    let length = path.chars().count();
    if length <= MOST {
        return path.to_owned();
    }
    std::iter::once('…').chain(path.chars().skip(length - MOST)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_is_judged_with() {
        let id = "4c3d0f5e0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef01234567";
        for (cgroup, unit, container, expected) in [
            (None, None, None, None),
            (Some("/system.slice/web.service"), Some("web.service"), None, Some("web.service")),
            (Some("/docker/x"), None, Some(id), Some("container 4c3d0f5e0a1b")),
            (Some("/lxc/web"), None, Some("web"), Some("container web")),
            (Some("/user.slice/session-3.scope"), Some("session-3.scope"), None, None),
            (
                Some("/a/user@1.service/b"),
                Some("user@1.service"),
                None,
                Some("/a/user@1.service/b"),
            ),
            (Some("/own/group"), None, None, Some("/own/group")),
        ] {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let process = Process {
                cgroup: owned(cgroup),
                unit: owned(unit),
                container: owned(container),
                ..Process::default()
            };
            assert_eq!(group(&process).as_deref(), expected, "{cgroup:?}");
        }
        let long = "é".repeat(200);
        assert_eq!(shortened(&long).chars().count(), 161);
    }
}
