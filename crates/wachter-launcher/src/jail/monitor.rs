//! The run's first process: outside the jail, but with no more rights than the module's user.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wachter_protocol::launcher::{End, StopReason, Usage};

use super::disk::Watch;
use super::fault::{Attempt, Fault};
use super::plan::Plan;
use super::relay::Relay;
use super::system::{self, Forked};
use super::system_calls::Filters;
use super::{
    Channels, END_AT_ONCE, END_POLITELY, EndAtUnwind, Report, init, limits, relay, report, user,
    view,
};
use crate::secrets::Secret;

/// Between asking a run to end and ending it.
const GRACE: Duration = Duration::from_secs(2);

/// No clock overflows within it.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What process 1 says of the module, in one write of a pipe.
#[derive(Clone, Copy, Default)]
pub(super) struct Summary {
    pub(super) status: i32,
    pub(super) cpu_microseconds: u64,
    pub(super) peak_memory_bytes: u64,
}

impl Summary {
    const LENGTH: usize = 20;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.status.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.cpu_microseconds.to_le_bytes());
        bytes[12..].copy_from_slice(&self.peak_memory_bytes.to_le_bytes());
        bytes
    }

    fn read(pipe: BorrowedFd<'_>) -> Option<Self> {
        let mut bytes = [0; Self::LENGTH];
        let read = rustix::io::read(pipe, &mut bytes).ok()?;
        (read == Self::LENGTH).then(|| Self {
            status: i32::from_le_bytes(bytes[..4].try_into().unwrap_or_default()),
            cpu_microseconds: u64::from_le_bytes(bytes[4..12].try_into().unwrap_or_default()),
            peak_memory_bytes: u64::from_le_bytes(bytes[12..].try_into().unwrap_or_default()),
        })
    }
}

/// Sets the run up as far as its namespaces, starts process 1 and waits for the end of all.
pub(super) fn run(
    plan: &Plan,
    filters: &Filters,
    timeout: Duration,
    launcher: i32,
    join: impl FnOnce() -> Result<(), Fault>,
    channels: Channels<'_>,
    secrets: Vec<Secret>,
) -> Result<(), Fault> {
    let begin = Instant::now();
    let Channels { mut stdio, reports } = channels;
    // Blocked signals wait; so the launcher's death and a wish to stop are seen in the loop below.
    let signals = system::signal_set(&[libc::SIGCHLD, END_POLITELY, END_AT_ONCE]);
    system::block_signals(&signals);
    rustix::process::setsid().attempt(|| "begin a session")?;
    join()?;
    limits::prefer_for_want_of_memory();
    limits::set(&plan.limits, plan.memory_for_each)?;
    // With the launcher's rights where these are root's: a granted folder may lie in one that the
    // run's own user cannot enter.
    let privileged = plan.user.groups.is_some();
    let opened = match &plan.view {
        Some(view) if privileged => Some(view::open(view)?),
        _ => None,
    };
    user::drop_to(&plan.user)?;
    user::die_with_parent(Signal::USR1, Some(launcher))?;
    let mut relay = None;
    if !secrets.is_empty() {
        let begun = relay::begin(stdio, &secrets, filters)?;
        stdio = begun.0;
        relay = Some(begun.1);
    }
    if plan.view.is_some() {
        user::leave_namespaces(&plan.user, plan.user_namespace)?;
    } else {
        user::be_opaque()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .attempt(|| "adopt orphans")?;
    }
    let sources = match (&plan.view, opened) {
        (Some(view), None) => view::open(view)?,
        (_, opened) => opened.unwrap_or_default(),
    };
    let mut watch = Watch::begin(&plan.watched, plan.limits.disk.as_bytes());
    let (summary_from, summary_to) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).attempt(|| "make a pipe")?;
    let init = match system::fork().attempt(|| "fork")? {
        Forked::Parent(init) => init.as_raw_nonzero().get(),
        Forked::Child => {
            let _never_unwinds = EndAtUnwind;
            drop(summary_from);
            init::run(plan, filters, sources, Channels { stdio, reports }, &summary_to, secrets)
        }
    };
    drop((sources, stdio, summary_to, secrets));
    keep_only(&[reports.as_raw_fd(), summary_from.as_raw_fd()])?;
    super::capabilities::keep(rustix::thread::CapabilitySet::empty())?;
    let (cause, init_usage) =
        supervise(init, begin + timeout.min(LONGEST), &signals, watch.as_mut());
    if plan.view.is_none() {
        end_orphans_but(relay.as_ref().map(Relay::process).as_slice());
    }
    // With all writers gone, it comes to its end by itself.
    if let Some(relay) = relay {
        relay.finish(&signals, Instant::now() + GRACE);
    }
    let summary = Summary::read(summary_from.as_fd());
    let end = match (cause, summary) {
        (Some(cause), _) => cause,
        (None, Some(summary)) => end_of(summary.status),
        (None, None) => End::Lost,
    };
    let Some(summary) = summary.or(init_usage) else { return Ok(()) };
    let usage = Usage {
        wall_microseconds: begin.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
        cpu_microseconds: summary.cpu_microseconds,
        peak_memory_bytes: summary.peak_memory_bytes,
    };
    report(reports, &Report::Ended { end, usage }, &[]);
    Ok(())
}

fn keep_only(descriptors: &[i32]) -> Result<(), Fault> {
    system::close_all_but(&mut descriptors.to_vec()).attempt(|| "close descriptors")
}

/// Waits until process 1 has ended, and sees to it that it does. Says why, if that was here.
fn supervise(
    init: i32,
    deadline: Instant,
    signals: &libc::sigset_t,
    mut watch: Option<&mut Watch>,
) -> (Option<End>, Option<Summary>) {
    let mut cause = None;
    let mut last_call: Option<Instant> = None;
    let mut look = watch.as_ref().map(|watch| Instant::now() + watch.pause);
    loop {
        let now = Instant::now();
        if let Some(ended) = system::wait(init, false) {
            let summary = Summary {
                status: ended.status,
                cpu_microseconds: ended.cpu_microseconds,
                peak_memory_bytes: ended.peak_memory_bytes,
            };
            return (cause, Some(summary));
        }
        if now >= last_call.unwrap_or(deadline) {
            cause.get_or_insert(End::Timeout);
            system::kill(init, libc::SIGKILL);
            last_call = Some(now + GRACE);
        }
        if let (Some(when), Some(watch)) = (look, watch.as_deref_mut())
            && now >= when
        {
            if watch.exceeded(init) {
                cause.get_or_insert(End::Disk);
                system::kill(init, libc::SIGKILL);
            }
            look = Some(Instant::now() + watch.pause);
        }
        let wake = [Some(last_call.unwrap_or(deadline)), look].into_iter().flatten().min();
        let pause = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        match system::wait_for_signal(signals, pause) {
            Some(END_POLITELY) if cause.is_none() => {
                cause = Some(End::Stopped(StopReason::Cancelled));
                last_call = Some(Instant::now() + GRACE);
                system::kill(init, libc::SIGTERM);
            }
            Some(END_AT_ONCE) => {
                cause.get_or_insert(End::Stopped(StopReason::Cancelled));
                system::kill(init, libc::SIGKILL);
            }
            _ => {}
        }
    }
}

fn end_of(status: i32) -> End {
    if libc::WIFEXITED(status) {
        return End::Code(libc::WEXITSTATUS(status));
    }
    match libc::WTERMSIG(status) {
        // RLIMIT_CPU: processor time is a kind of time.
        libc::SIGXCPU => End::Timeout,
        // RLIMIT_FSIZE: one file alone was too large.
        libc::SIGXFSZ => End::Disk,
        signal => End::Signal(signal),
    }
}

/// Ends everything that this process adopted but `keep`, however fast it forks: each round ends all
/// children there are, and what they had becomes children in turn.
pub(crate) fn end_orphans_but(keep: &[i32]) {
    let path = format!("/proc/self/task/{}/children", rustix::thread::gettid().as_raw_nonzero());
    loop {
        let now = std::fs::read_to_string(&path).unwrap_or_default();
        let orphans = now.split_ascii_whitespace().filter_map(|child| child.parse().ok());
        let orphans: Vec<i32> = orphans.filter(|child| !keep.contains(child)).collect();
        if orphans.is_empty() {
            return;
        }
        for orphan in orphans {
            system::kill(orphan, libc::SIGKILL);
            system::wait(orphan, true);
        }
    }
}
