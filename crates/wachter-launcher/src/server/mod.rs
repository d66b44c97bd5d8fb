//! The launcher's one loop: connections of nodes, reports of runs, and nothing else.
//!
//! # Invariants
//! - One thread, one place that waits, no queue: a node that does not read is disconnected, and its
//!   runs end.
//! - A run belongs to the connection that asked for it and never outlives it.

mod build;
mod compile;
mod launch;
mod run;
mod user;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use wachter_model::RunId;
use wachter_packet::PacketError;
use wachter_protocol::LocalFile;
use wachter_protocol::launcher::{
    Hello, LAUNCHER_PROTOCOL, RefusalKind, Refused, Stop, ToLauncher, ToNode,
};

use crate::authority::{Authority, Refusal};
use crate::cgroup::RunGroup;
use crate::check::{Check, Order};
use crate::host::Host;
use crate::jail;
use crate::jail::plan::Base;
use crate::jail::system_calls::Filters;
use crate::supervision::Heartbeat;
use run::Run;

/// Between two attempts at removing a group that the kernel still holds.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Why there is nothing to follow.
const ENDED_BEFORE: &str = "the run was ended before it began; try again";

/// Everything that the loop needs to know.
pub(crate) struct Server {
    pub(crate) authority: Authority,
    pub(crate) host: Host,
    pub(crate) filters: Filters,
    pub(crate) base: Base,
    pub(crate) forbidden: Vec<PathBuf>,
    pub(crate) state: PathBuf,
    /// What builds environments, where the local file does not say.
    pub(crate) uv: Option<PathBuf>,
    /// Reads the local file again; none in development.
    pub(crate) reload: Box<dyn Fn() -> Result<LocalFile, String>>,
    pub(crate) connections: BTreeMap<u64, OwnedFd>,
    pub(crate) listener: Option<OwnedFd>,
    /// The user, beside root, whose connections are taken.
    pub(crate) node_user: u32,
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Requests whose modules are being checked.
    pub(crate) checks: BTreeMap<RunId, Check>,
    pub(crate) next: u64,
    /// Groups that could not be removed yet.
    pub(crate) leftovers: Vec<RunGroup>,
    pub(crate) heartbeat: Heartbeat,
}

/// What woke the loop.
#[derive(Clone, Copy)]
enum Woken {
    Listener,
    Connection(u64),
    Run(RunId),
    Check(RunId),
}

impl Server {
    /// Serves until there is nobody left to serve.
    pub(crate) fn serve(&mut self) {
        while self.listener.is_some() || !self.connections.is_empty() {
            for woken in self.wait() {
                match woken {
                    Woken::Listener => self.accept(),
                    Woken::Connection(connection) => self.hear(connection),
                    Woken::Run(run) => self.follow(run),
                    Woken::Check(run) => self.take_outcome(run),
                }
            }
            self.leftovers.retain(|group| !group.remove());
            self.heartbeat.beat(Instant::now());
        }
        // The last node is gone: so are its runs.
        while let Some((_, check)) = self.checks.pop_first() {
            let _ = self.end_check(check);
        }
        while let Some((id, run)) = self.runs.pop_first() {
            let (_, group) = self.finish(id, run);
            self.clear(group);
        }
        for _ in 0..20 {
            self.leftovers.retain(|group| !group.remove());
            if self.leftovers.is_empty() {
                break;
            }
            let _ = rustix::event::poll(&mut [], Some(&PAUSE));
        }
        self.host.cgroups.remove();
    }

    fn wait(&self) -> Vec<Woken> {
        let listener = self.listener.iter().map(|fd| (fd, Woken::Listener));
        let connections = self.connections.iter().map(|(id, fd)| (fd, Woken::Connection(*id)));
        let runs = self.runs.iter().map(|(id, run)| (&run.reports, Woken::Run(*id)));
        let checks = self.checks.iter().map(|(id, check)| (&check.told, Woken::Check(*id)));
        let (descriptors, meanings): (Vec<&OwnedFd>, Vec<Woken>) =
            listener.chain(connections).chain(runs).chain(checks).unzip();
        let mut polled: Vec<PollFd<'_>> =
            descriptors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let attempt = (!self.leftovers.is_empty()).then_some(PAUSE);
        let beat = self.heartbeat.pause(Instant::now());
        let beat = beat.and_then(|pause| Timespec::try_from(pause).ok());
        let pause = attempt.into_iter().chain(beat).min();
        // Interrupted: nothing is ready, and the loop comes round again.
        if rustix::event::poll(&mut polled, pause.as_ref()).is_err() {
            return Vec::new();
        }
        polled
            .iter()
            .zip(meanings)
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, meaning)| meaning)
            .collect()
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let Ok(connection) = rustix::net::accept_with(listener, flags) else { return };
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&connection) else { return };
        let uid = peer.uid.as_raw();
        if uid == 0 || uid == self.node_user {
            self.connect(connection);
        }
    }

    /// Takes on a connection and says who answers.
    pub(crate) fn connect(&mut self, connection: OwnedFd) {
        let id = self.next;
        self.next += 1;
        self.connections.insert(id, connection);
        let hello = Hello {
            protocol: LAUNCHER_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: self.host.profile,
            mechanisms: self.host.mechanisms.clone(),
        };
        self.tell(id, &ToNode::Hello(hello), &[]);
    }

    fn hear(&mut self, connection: u64) {
        let Some(socket) = self.connections.get(&connection) else { return };
        match wachter_packet::receive::<ToLauncher>(socket) {
            Ok((ToLauncher::Launch(launch), _)) => {
                self.take_order(connection, Order::Launch(launch));
            }
            Ok((ToLauncher::Build(build), _)) => self.take_order(connection, Order::Build(build)),
            Ok((ToLauncher::Retain(retain), _)) => self.retain(&retain),
            Ok((ToLauncher::Stop(stop), _)) => self.stop(connection, stop),
            Ok((ToLauncher::Reload, _)) => match (self.reload)() {
                Ok(local) => self.authority.replace_local(local),
                Err(reason) => eprintln_line(&format!("the local file was not reloaded: {reason}")),
            },
            Err(PacketError::Full) => {}
            Err(PacketError::Json(_) | PacketError::TooLarge) => {
                // No run has this name, so there is nobody to tell but the log.
                eprintln_line("a request was not understood and was passed over");
            }
            Err(PacketError::Closed | PacketError::System(_)) => self.disconnect(connection),
        }
    }

    fn take_order(&mut self, connection: u64, order: Order) {
        let run = order.run();
        if let Err(Refusal { kind, reason }) = self.take_up(connection, order) {
            self.refuse(connection, run, kind, reason);
        }
    }

    fn disconnect(&mut self, connection: u64) {
        self.connections.remove(&connection);
        let checked = self.checks.extract_if(.., |_, check| check.connection == connection);
        let checked: Vec<Check> = checked.map(|(_, check)| check).collect();
        for check in checked {
            let _ = self.end_check(check);
        }
        let mine: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, run)| run.connection == connection)
            .map(|(id, _)| *id)
            .collect();
        for run in mine {
            if let Some(run) = self.runs.get(&run) {
                run.signal(jail::END_AT_ONCE);
            }
        }
    }

    fn stop(&mut self, connection: u64, stop: Stop) {
        if self.checks.get(&stop.run).is_some_and(|check| check.connection == connection)
            && let Some(check) = self.checks.remove(&stop.run)
        {
            let _ = self.end_check(check);
            self.refuse(connection, stop.run, RefusalKind::Setup, ENDED_BEFORE.to_owned());
        }
        let Some(run) = self.runs.get_mut(&stop.run).filter(|run| run.connection == connection)
        else {
            return;
        };
        run.stopped.get_or_insert(stop.reason);
        run.signal(if stop.at_once { jail::END_AT_ONCE } else { jail::END_POLITELY });
    }

    fn refuse(&mut self, connection: u64, run: RunId, kind: RefusalKind, reason: String) {
        self.tell(connection, &ToNode::Refused(Refused { run, kind, reason }), &[]);
    }

    fn tell(
        &mut self,
        connection: u64,
        message: &ToNode,
        descriptors: &[std::os::fd::BorrowedFd<'_>],
    ) {
        let Some(socket) = self.connections.get(&connection) else { return };
        if let Err(error) = wachter_packet::send(socket, message, descriptors) {
            // Waiting for one node would hold up all; it will connect again.
            eprintln_line(&format!("a node does not listen and is disconnected: {error}"));
            self.disconnect(connection);
        }
    }
}

/// The launcher's log is its stderr, which systemd keeps.
pub(crate) fn eprintln_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "wachter-launcher: {text}");
}
