//! The jail: one file a mechanism, put together here.
//!
//! Three processes make a run, all forked from the launcher and all of this executable but the last:
//!
//! ```text
//! launcher ── monitor ── init ── module
//!             joins the cgroup, sets limits, drops to a user of its own, leaves the namespaces;
//!             then watches the clock and the disk
//!                        is process 1 of the run: builds the view, takes over orphans, and takes
//!                        every process with it when it ends
//!                                restricts itself with Landlock, gives up capabilities, filters
//!                                system calls and becomes the module
//! ```
//!
//! Where secrets were granted, a fourth stands between the module and the node, the [`relay`]: what the
//! module writes goes through it, without the secrets. The monitor starts it before it leaves the
//! namespaces, and waits for its end.
//!
//! A run cannot outlive any of the three above it: each asks the kernel to be ended when its parent
//! dies, and the end of process 1 ends its namespace. Without namespaces the monitor and the
//! launcher adopt orphans and end them one by one.
//!
//! # Invariants
//! - The order of steps is that of the text above; nothing of the module runs before the last one.
//! - A step that fails ends the run before it began. There is no weaker way to go on.
//! - Only the module has the descriptors 0, 1 and 2 of the run; it has no others.
//! - The values of secrets are wiped from the launcher, the monitor and process 1 before the module
//!   begins; the relay and the files that the module was granted are all that is left of them.

pub(crate) mod capabilities;
pub(crate) mod disk;
pub(crate) mod fault;
mod files;
mod filter;
mod init;
mod limits;
mod monitor;
mod network;
pub(crate) mod plan;
mod relay;
#[allow(unsafe_code, reason = "the one file with calls that have no safe interface")]
pub(crate) mod system;
pub(crate) mod system_calls;
pub(crate) mod user;
pub(crate) mod view;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use wachter_protocol::launcher::{End, Usage};

use fault::{Attempt, Fault};
pub(crate) use monitor::end_orphans_but;
use plan::Plan;
use system::Forked;
use system_calls::Filters;

use crate::secrets::Secret;

/// What the processes of a run tell the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    /// The module was started. Its listening sockets come along.
    Ready,
    /// A step failed; nothing was started.
    Failed(Fault),
    /// All is over.
    Ended {
        /// How.
        end: End,
        /// What was used, as far as processes tell.
        usage: Usage,
    },
}

/// A run that was begun.
pub(crate) struct Begun {
    /// The monitor.
    pub(crate) monitor: Pid,
    /// Where [`Report`]s come from; its end is the monitor's end.
    pub(crate) reports: OwnedFd,
    /// The write end of stdin and the read ends of stdout and stderr.
    pub(crate) stdio: [OwnedFd; 3],
}

/// The ends of a run's pipes that are its own.
struct Stdio {
    ends: [OwnedFd; 3],
}

/// Where a run's words go: the module's, and those of the processes above it.
struct Channels<'a> {
    stdio: Stdio,
    reports: BorrowedFd<'a>,
}

/// Signals to the monitor.
pub(crate) const END_POLITELY: i32 = libc::SIGTERM;
pub(crate) const END_AT_ONCE: i32 = libc::SIGUSR1;

/// Begins a run, in the version 2 control group `group` where there is one. `join` puts the calling
/// process into the run's groups: into the others alone, or into that one too.
///
/// # Errors
/// There is no process or descriptor left. What fails later is reported.
pub(crate) fn begin(
    plan: &Plan,
    filters: &Filters,
    timeout: Duration,
    secrets: Vec<Secret>,
    group: Option<BorrowedFd<'_>>,
    join: impl FnOnce(bool) -> Result<(), Fault>,
) -> Result<Begun, Fault> {
    let (theirs, ours) = pipes()?;
    let (reports, report_to) = wachter_packet::pair().map_err(|_| Fault {
        attempted: "make a pair of sockets".to_owned(),
        errno: libc::EMFILE,
    })?;
    let launcher = rustix::process::getpid().as_raw_nonzero().get();
    let (forked, within) = system::fork_into(group).attempt(|| "fork")?;
    match forked {
        // Of the secrets, this process has nothing any more from here on.
        Forked::Parent(monitor) => Ok(Begun { monitor, reports, stdio: ours }),
        Forked::Child => {
            let _never_unwinds = EndAtUnwind;
            let keep = theirs.ends.iter().map(AsRawFd::as_raw_fd).chain([report_to.as_raw_fd()]);
            let closed = system::close_all_but(&mut keep.collect::<Vec<_>>())
                .attempt(|| "close descriptors");
            let outcome = closed.and_then(|()| {
                monitor::run(
                    plan,
                    filters,
                    timeout,
                    launcher,
                    || join(within),
                    Channels { stdio: theirs, reports: report_to.as_fd() },
                    secrets,
                )
            });
            let code = match outcome {
                Ok(()) => 0,
                Err(fault) => {
                    report(report_to.as_fd(), &Report::Failed(fault), &[]);
                    1
                }
            };
            system::exit(code)
        }
    }
}

/// A panic must not carry a forked child back into the launcher's loop.
pub(crate) struct EndAtUnwind;

impl Drop for EndAtUnwind {
    fn drop(&mut self) {
        system::exit(101);
    }
}

fn report(to: BorrowedFd<'_>, report: &Report, descriptors: &[BorrowedFd<'_>]) {
    // If nobody listens any more, nobody needs to know: this process is about to be ended.
    let _ = wachter_packet::send(to, report, descriptors);
}

fn pipes() -> Result<(Stdio, [OwnedFd; 3]), Fault> {
    let pipe =
        || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).attempt(|| "make a pipe");
    let ((stdin, write_in), (read_out, stdout), (read_err, stderr)) = (pipe()?, pipe()?, pipe()?);
    Ok((Stdio { ends: [stdin, stdout, stderr] }, [write_in, read_out, read_err]))
}
