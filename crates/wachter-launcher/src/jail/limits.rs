//! Limits that each process carries with it (getrlimit(2)). What must hold over all processes of a
//! run is a cgroup's business.

use rustix::process::{Resource, Rlimit};
use wachter_protocol::Limits;

use super::fault::{Attempt, Fault};
use super::system;

/// Open descriptors of one process.
const DESCRIPTORS: u64 = 1_024;
/// Locked memory of one process: enough for a key, not for a hoard.
const LOCKED: u64 = 64 << 10;

/// Sets what may be set before the run has its own user namespace. `memory_for_each` stands in
/// where no cgroup limits the memory of all processes together.
pub(crate) fn set(limits: &Limits, memory_for_each: Option<Resource>) -> Result<(), Fault> {
    let seconds = limits.timeout.as_millis().div_ceil(1_000).max(1);
    let cpu = (u64::from(limits.cpu.as_millicores()) * seconds).div_ceil(1_000).max(1) + 1;
    let mut all = vec![
        (Resource::Core, 0),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Memlock, LOCKED),
        (Resource::Fsize, limits.disk.as_bytes()),
        (Resource::Cpu, cpu),
        // POSIX message queues: none.
        (Resource::Msgqueue, 0),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    all.extend(memory_for_each.map(|resource| (resource, limits.memory.as_bytes())));
    all.into_iter().try_for_each(|(resource, most)| lower(resource, most))
}

/// Limits processes. Counted for each user and user namespace, so it is set last: before, it would
/// count all that the user runs on the host. With `shared`, there is no user namespace, and what the
/// user runs already comes on top.
pub(crate) fn set_processes(limits: &Limits, shared: bool) -> Result<(), Fault> {
    let others = if shared { threads_of_this_user() } else { 0 };
    lower(Resource::Nproc, u64::from(limits.processes) + others)
}

/// Counts what the kernel counts: threads, by their real user. Only processes that this one could
/// signal can be its user's, and asking that costs far less than reading what they are.
fn threads_of_this_user() -> u64 {
    let user = rustix::process::getuid().as_raw().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|process| system::may_signal(*process))
        .filter_map(|process| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let field = |name: &str| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())
            };
            (field("Uid:") == Some(&user)).then(|| field("Threads:")?.parse::<u64>().ok())?
        })
        .sum()
}

/// Makes the run the first to go when the host itself is out of memory, whatever protects the
/// launcher from it. Without effect where the kernel does not offer it.
pub(crate) fn prefer_for_want_of_memory() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
}

/// Lowers a limit for good; one that is lower already stays.
fn lower(resource: Resource, most: u64) -> Result<(), Fault> {
    let now = rustix::process::getrlimit(resource);
    let most = now.maximum.map_or(most, |now| now.min(most));
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(resource, limit).attempt(|| format!("limit {resource:?} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_the_user_are_counted() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let before = threads_of_this_user();
        let waiting = std::thread::spawn(move || wait.recv().is_err());
        // Other tests of the same user may end meanwhile; these two are there.
        assert!(threads_of_this_user() >= 2, "{before}");
        drop(stop);
        assert!(waiting.join().unwrap());
    }
}
