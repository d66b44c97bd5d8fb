use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wachter_file::Holder;

use super::{Deployed, NodeStatus};
use crate::data_lock;
use crate::failure::CommandError;
use crate::place::Host;
use crate::sync::Outcome;

/// What a node may take beyond its longest fetch, for judging and deploying.
const GRACE: Duration = Duration::from_secs(30);

/// Has a running node look now, by SIGHUP, and waits for what comes of it.
///
/// # Errors
/// The node cannot be reached, ends, does not finish in time, or could not fetch.
pub(crate) fn look(host: &Host, holder: &Holder) -> Result<Outcome, CommandError> {
    let unreachable = |error: io::Error| {
        CommandError::failed(format!("cannot reach the node, process {}: {error}", holder.process))
    };
    let pid = Pid::from_raw(holder.process).ok_or(io::ErrorKind::InvalidInput);
    let pid = pid.map_err(|kind| unreachable(kind.into()))?;
    let node = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| unreachable(error.into()))?;
    // The number was read before: only now is it certain that the descriptor is that of the node, and
    // not of a program that got its number after it.
    if data_lock::node(&host.data)?.as_ref() != Some(holder) {
        return Err(CommandError::failed("the node has just ended; run `wachter sync` again"));
    }
    // Watched before the signal is sent, so that no answer is missed.
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(|error| unreachable(error.into()))?;
    inotify::add_watch(&changes, &host.data, WatchFlags::MOVED_TO)
        .map_err(|error| unreachable(error.into()))?;
    let before = Deployed::read(&host.data).ok().map(|deployed| deployed.release.sequence);
    let asked = Timestamp::now();
    pidfd_send_signal(&node, Signal::HUP).map_err(|error| unreachable(error.into()))?;
    let most = host.local.repository.limits.time.to_std() + GRACE;
    let deadline = Instant::now() + most;
    loop {
        if let Some(status) = NodeStatus::read(&host.data)
            && status.look_began.is_some_and(|began| began >= asked)
        {
            return outcome(host, status, before);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CommandError::failed(format!(
                "the node has not finished within {} s; see `wachter status`",
                most.as_secs()
            )));
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&changes, PollFlags::IN), PollFd::new(&node, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(unreachable(error.into())),
        }
        if !polled[1].revents().is_empty() {
            return Err(CommandError::failed(
                "the node has ended; see what it wrote, and start it again with `wachter run`",
            ));
        }
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&changes, &mut buffer);
        while reader.next().is_ok() {}
    }
}

fn outcome(host: &Host, status: NodeStatus, before: Option<u64>) -> Result<Outcome, CommandError> {
    if let Some(error) = status.fetch_error {
        return Err(CommandError::failed(error));
    }
    let release = Deployed::read(&host.data).ok().map(|deployed| deployed.release);
    let in_force = release.as_ref().map(|release| release.sequence);
    let accepted = release.filter(|release| Some(release.sequence) > before);
    Ok(Outcome { accepted, refused: status.refused, in_force, passed_over: false })
}
