//! Process 1 of a run, and the last steps before the module.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::Signal;
use rustix::thread::CapabilitySet;

use super::fault::{Attempt, Fault};
use super::monitor::Summary;
use super::plan::Plan;
use super::system::{self, Forked};
use super::system_calls::Filters;
use super::view::Source;
use super::{
    Channels, EndAtUnwind, Report, Stdio, capabilities, files, limits, network, report, user, view,
};
use crate::secrets::Secret;

/// Builds the view, starts the module, waits for it and for all orphans, and ends.
pub(super) fn run(
    plan: &Plan,
    filters: &Filters,
    sources: Vec<Source>,
    channels: Channels<'_>,
    summary_to: &OwnedFd,
    secrets: Vec<Secret>,
) -> ! {
    let reports = channels.reports;
    match start(plan, filters, sources, channels, summary_to, secrets) {
        Ok(module) => {
            let summary = wait_for(module);
            // A pipe takes this much in one piece.
            let _ = rustix::io::write(summary_to, &summary.to_bytes());
            system::exit(0)
        }
        Err(fault) => {
            report(reports, &Report::Failed(fault), &[]);
            system::exit(1)
        }
    }
}

fn start(
    plan: &Plan,
    filters: &Filters,
    sources: Vec<Source>,
    channels: Channels<'_>,
    summary_to: &OwnedFd,
    secrets: Vec<Secret>,
) -> Result<i32, Fault> {
    let Channels { stdio, reports } = channels;
    // The parent is outside this process namespace and has no number here; the pipe to it tells
    // whether it died before the kernel was asked to watch.
    user::die_with_parent(Signal::KILL, None)?;
    let mut parent = [rustix::event::PollFd::new(summary_to, rustix::event::PollFlags::OUT)];
    rustix::event::poll(&mut parent, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))
        .attempt(|| "look for the parent")?;
    if parent[0].revents().contains(rustix::event::PollFlags::ERR) {
        return Err(rustix::io::Errno::SRCH).attempt(|| "find the parent alive");
    }
    let listeners = match &plan.view {
        Some(view) => {
            let listeners = network::listen(&plan.listeners)?;
            view::enter(view, sources, &secrets)?;
            rustix::system::sethostname(b"module").attempt(|| "set the host name")?;
            listeners
        }
        None => Vec::new(),
    };
    drop(secrets);
    // From here on there is a process that is the module's: this one keeps nothing that it could
    // use, and is closed to it already (`be_opaque`).
    capabilities::keep(plan.capabilities)?;
    let (failed_from, failed_to) = wachter_packet::pair().map_err(|_| Fault {
        attempted: "make a pair of sockets".to_owned(),
        errno: libc::EMFILE,
    })?;
    let module = match system::fork().attempt(|| "fork")? {
        Forked::Parent(module) => module.as_raw_nonzero().get(),
        Forked::Child => {
            let _never_unwinds = EndAtUnwind;
            let Err(fault) = become_module(plan, filters, &stdio);
            report(failed_to.as_fd(), &Report::Failed(fault), &[]);
            system::exit(127)
        }
    };
    drop((stdio, failed_to));
    // Closed by the kernel when the module is executed, or says why it was not.
    if let Ok((Report::Failed(fault), _)) = wachter_packet::receive::<Report>(&failed_from) {
        return Err(fault);
    }
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    report(reports, &Report::Ready, &descriptors);
    drop((failed_from, listeners));
    let _ = system::close_all_but(&mut [summary_to.as_raw_fd()]);
    capabilities::keep(CapabilitySet::empty())?;
    Ok(module)
}

/// The last steps. Returns only if one fails.
fn become_module(
    plan: &Plan,
    filters: &Filters,
    stdio: &Stdio,
) -> Result<std::convert::Infallible, Fault> {
    user::die_with_parent(Signal::KILL, None)?;
    let [stdin, stdout, stderr] = &stdio.ends;
    rustix::stdio::dup2_stdin(stdin).attempt(|| "set stdin")?;
    rustix::stdio::dup2_stdout(stdout).attempt(|| "set stdout")?;
    rustix::stdio::dup2_stderr(stderr).attempt(|| "set stderr")?;
    system::close_all_on_exec().attempt(|| "close descriptors")?;
    std::env::set_current_dir(&plan.folder)
        .attempt(|| format!("enter {}", plan.folder.display()))?;
    limits::set_processes(&plan.limits, plan.view.is_none())?;
    rustix::thread::set_no_new_privs(true).attempt(|| "set no_new_privs")?;
    files::restrict(&plan.rules)?;
    system::reset_signals();
    let arguments: Vec<&CStr> = plan.arguments.iter().map(AsRef::as_ref).collect();
    let environment: Vec<&CStr> = plan.environment.iter().map(AsRef::as_ref).collect();
    filters.apply(plan.surroundings())?;
    let errno = system::execute(&plan.program, &arguments, &environment);
    Err(errno).attempt(|| format!("execute {}", plan.program.to_string_lossy()))
}

/// Waits for everything that ends in this run until the module has, and passes on the wish to stop.
fn wait_for(module: i32) -> Summary {
    let signals = system::signal_set(&[libc::SIGCHLD, libc::SIGTERM]);
    system::block_signals(&signals);
    let mut summary = Summary::default();
    loop {
        while let Some(ended) = system::wait(-1, false) {
            summary.cpu_microseconds += ended.cpu_microseconds;
            summary.peak_memory_bytes = summary.peak_memory_bytes.max(ended.peak_memory_bytes);
            if ended.pid == module {
                summary.status = ended.status;
                return summary;
            }
        }
        if system::wait_for_signal(&signals, None) == Some(libc::SIGTERM) {
            system::kill(module, libc::SIGTERM);
        }
    }
}
