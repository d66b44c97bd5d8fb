//! Runs under way: what their monitors report, and how they end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use wachter_model::RunId;
use wachter_packet::PacketError;
use wachter_protocol::Profile;
use wachter_protocol::launcher::{End, Exited, Launched, RefusalKind, StopReason, ToNode, Usage};

use super::{ENDED_BEFORE, Server};
use crate::build::Building;
use crate::cgroup::RunGroup;
use crate::check::Check;
use crate::folders::Folders;
use crate::jail::{self, Report, system};

/// A run under way.
pub(crate) struct Run {
    pub(super) connection: u64,
    pub(super) monitor: rustix::process::Pid,
    pub(super) reports: OwnedFd,
    pub(super) stdio: Option<[OwnedFd; 3]>,
    pub(super) group: RunGroup,
    pub(super) listeners: Vec<Option<wachter_protocol::Endpoint>>,
    pub(super) slot: u32,
    pub(super) folders: Folders,
    /// What it builds, if it is a build.
    pub(super) building: Option<Box<Building>>,
    /// The environment that it uses or builds.
    pub(super) environment: Option<wachter_model::Digest>,
    pub(super) begun: Instant,
    pub(super) stopped: Option<StopReason>,
    pub(super) ended: Option<(End, Usage)>,
    /// A step of the set-up failed, and the node was told.
    pub(super) refused: bool,
}

impl Server {
    /// Takes one report of a run.
    pub(super) fn follow(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match wachter_packet::receive::<Report>(&run.reports) {
            Ok((Report::Ready, sockets)) => {
                let (connection, listeners) = (run.connection, run.listeners.clone());
                let Some(stdio) = run.stdio.take() else { return };
                let descriptors: Vec<_> = stdio.iter().chain(&sockets).map(AsFd::as_fd).collect();
                self.tell(
                    connection,
                    &ToNode::Launched(Launched { run: id, listeners }),
                    &descriptors,
                );
            }
            Ok((Report::Failed(fault), _)) => {
                let connection = run.connection;
                // Told once; what is left ends without a word.
                run.refused = true;
                if run.stdio.take().is_some() {
                    self.refuse(connection, id, RefusalKind::Setup, fault.to_string());
                }
            }
            Ok((Report::Ended { end, usage }, _)) => run.ended = Some((end, usage)),
            Err(PacketError::Full) => {}
            Err(_) => {
                if let Some(mut run) = self.runs.remove(&id) {
                    let building = run.building.take();
                    let (connection, refused) = (run.connection, run.refused);
                    let started = run.stdio.is_none();
                    let (exited, group) = self.finish(id, run);
                    if refused {
                        // The node knows.
                    } else if let Some(building) = building.filter(|_| exited.end == End::Code(0))
                        && started
                    {
                        self.keep(connection, building, exited);
                    } else if started {
                        self.tell(connection, &ToNode::Exited(exited), &[]);
                    } else {
                        let reason = ENDED_BEFORE.to_owned();
                        self.refuse(connection, id, RefusalKind::Setup, reason);
                    }
                    // They hold no process any more, so the node need not wait for this.
                    self.clear(group);
                }
            }
        }
    }

    /// Makes sure that nothing of a run is left, and sums up.
    pub(super) fn finish(&self, id: RunId, run: Run) -> (Exited, RunGroup) {
        run.signal(libc::SIGKILL);
        run.group.end();
        system::wait(run.monitor.as_raw_nonzero().get(), true);
        // A monitor that was killed leaves process 1 of its run to this process. Waiting for that one
        // is waiting for all in its namespace.
        if self.host.profile == Profile::NoNamespaces || run.ended.is_none() {
            self.end_strays();
        }
        let group = run.group.usage();
        let (mut end, mut usage) = run.ended.unwrap_or((End::Lost, Usage::default()));
        usage.wall_microseconds = run.begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        usage.cpu_microseconds = group.cpu_microseconds.unwrap_or(usage.cpu_microseconds);
        usage.peak_memory_bytes = group.peak_memory_bytes.unwrap_or(usage.peak_memory_bytes);
        match (end, run.stopped) {
            (End::Stopped(_) | End::Lost, Some(reason)) => end = End::Stopped(reason),
            (End::Signal(libc::SIGKILL), _) | (End::Lost, None) if group.out_of_memory => {
                end = End::Memory;
            }
            _ => {}
        }
        drop(run.folders);
        (Exited { run: id, end, usage }, run.group)
    }

    /// Removes the empty groups of a run, now or when the kernel lets go of them.
    pub(super) fn clear(&mut self, group: RunGroup) {
        if !group.remove() {
            self.leftovers.push(group);
        }
    }

    /// Ends processes that a run left to this process, without touching its own.
    fn end_strays(&self) {
        let monitors = self.runs.values().map(|run| run.monitor.as_raw_nonzero().get());
        let own: Vec<i32> = monitors.chain(self.checks.values().map(Check::process)).collect();
        jail::end_orphans_but(&own);
    }
}

impl Run {
    pub(super) fn signal(&self, signal: i32) {
        system::kill(self.monitor.as_raw_nonzero().get(), signal);
    }
}
