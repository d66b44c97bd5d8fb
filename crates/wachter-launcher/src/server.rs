//! The launcher's one loop: connections of nodes, reports of runs, and nothing else.
//!
//! # Invariants
//! - One thread, one place that waits, no queue: a node that does not read is disconnected, and its
//!   runs end.
//! - A run belongs to the connection that asked for it and never outlives it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use wachter_model::{RunId, chain};
use wachter_packet::PacketError;
use wachter_protocol::launcher::{
    End, Exited, Hello, LAUNCHER_PROTOCOL, Launch, Launched, RefusalKind, Refused, Stop,
    StopReason, ToLauncher, ToNode, Usage,
};
use wachter_protocol::{LocalFile, Mechanism, Profile};

use crate::authority::{Admitted, Authority, Refusal, Signed};
use crate::cgroup::RunGroup;
use crate::check::Check;
use crate::folders::Folders;
use crate::host::{self, Host};
use crate::jail::plan::{Base, Plan, Request};
use crate::jail::system_calls::Filters;
use crate::jail::user::User;
use crate::jail::{self, Report, system};
use crate::passwd;
use crate::scratch;
use crate::supervision::Heartbeat;

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

/// A run under way.
pub(crate) struct Run {
    connection: u64,
    monitor: rustix::process::Pid,
    reports: OwnedFd,
    stdio: Option<[OwnedFd; 3]>,
    group: RunGroup,
    listeners: Vec<Option<wachter_protocol::Endpoint>>,
    slot: u32,
    folders: Folders,
    begun: Instant,
    stopped: Option<StopReason>,
    ended: Option<(End, Usage)>,
    /// A step of the set-up failed, and the node was told.
    refused: bool,
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
            check.end(self.authority.store());
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
                let run = launch.run;
                if let Err(Refusal { kind, reason }) = self.launch(connection, launch) {
                    self.refuse(connection, run, kind, reason);
                }
            }
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

    fn disconnect(&mut self, connection: u64) {
        self.connections.remove(&connection);
        let checked = self.checks.extract_if(.., |_, check| check.connection == connection);
        for (_, check) in checked {
            check.end(self.authority.store());
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
            check.end(self.authority.store());
            self.refuse(connection, stop.run, RefusalKind::Setup, ENDED_BEFORE.to_owned());
        }
        let Some(run) = self.runs.get_mut(&stop.run).filter(|run| run.connection == connection)
        else {
            return;
        };
        run.stopped.get_or_insert(stop.reason);
        run.signal(if stop.at_once { jail::END_AT_ONCE } else { jail::END_POLITELY });
    }

    fn launch(&mut self, connection: u64, launch: Launch) -> Result<(), Refusal> {
        if self.runs.contains_key(&launch.run) || self.checks.contains_key(&launch.run) {
            return Err(Refusal::new(RefusalKind::Request, "a run of this name is under way"));
        }
        let signed = self.authority.admit(&launch)?;
        if self.authority.store().holds_little(&signed.digests) {
            let held = self.authority.store().hold(&signed.digests, &signed.source);
            held.map_err(|error| Refusal::new(RefusalKind::Module, chain(&error)))?;
            return self.begin(connection, &launch, &signed);
        }
        // For each check there is a place for its run.
        self.free_slot()?;
        let run = launch.run;
        let check = Check::begin(self.authority.store(), connection, launch, signed)
            .map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        self.checks.insert(run, check);
        Ok(())
    }

    /// Begins the run of a module that was checked, or says why not.
    fn take_outcome(&mut self, id: RunId) {
        let Some(outcome) = self.checks.get(&id).and_then(Check::outcome) else { return };
        let Some(check) = self.checks.remove(&id) else { return };
        check.end(self.authority.store());
        let begun = outcome
            .map_err(|reason| Refusal::new(RefusalKind::Module, reason))
            .and_then(|()| self.begin(check.connection, &check.launch, &check.signed));
        if let Err(Refusal { kind, reason }) = begun {
            self.refuse(check.connection, id, kind, reason);
        }
    }

    /// Begins the run of a module whose files were checked just now.
    fn begin(&mut self, connection: u64, launch: &Launch, signed: &Signed) -> Result<(), Refusal> {
        let folder = self.authority.store().place(&signed.digests);
        let admitted = self.authority.decide(launch, &signed.digests, folder)?;
        self.require(&admitted)?;
        let slot = self.free_slot()?;
        let setup = |fault: &dyn ToString| Refusal::new(RefusalKind::Setup, fault.to_string());
        let user = self.user(&admitted, slot)?;
        let no_namespaces = self.host.profile == Profile::NoNamespaces;
        let secrets = self.authority.secrets(&admitted)?;
        let folders = match no_namespaces {
            true => Folders::make(&self.state, launch.run, &user, &secrets)
                .map_err(|reason| setup(&reason))?,
            false => Folders::default(),
        };
        let forbidden = self.forbidden();
        let Admitted { grant, folder, program, .. } = admitted;
        let plan = Plan::new(Request {
            grant: &grant,
            profile: self.host.profile,
            module: &folder,
            program,
            user,
            scratch: scratch::folder(&self.state, launch.run),
            secrets: folders.secrets(),
            base: &self.base,
            forbidden: &forbidden,
            memory_for_each: !self.host.enforces(Mechanism::CgroupMemory),
        })
        .map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        let mut limits = plan.limits.clone();
        // The relay is none of the module's processes.
        limits.processes += u32::from(!secrets.is_empty());
        let group = self.host.cgroups.make(launch.run, &limits).map_err(|fault| setup(&fault))?;
        let timeout = launch.timeout.to_std().min(plan.limits.timeout.to_std());
        let joined = group.clone();
        let descriptor = group.open();
        let begun = jail::begin(
            &plan,
            &self.filters,
            timeout,
            secrets,
            descriptor.as_ref().map(AsFd::as_fd),
            move |within| joined.join(within),
        );
        let begun = match begun {
            Ok(begun) => begun,
            Err(fault) => {
                group.remove();
                return Err(setup(&fault));
            }
        };
        let run = Run {
            connection,
            monitor: begun.monitor,
            reports: begun.reports,
            stdio: Some(begun.stdio),
            group,
            listeners: plan.listeners.into_iter().map(|listener| listener.endpoint).collect(),
            slot,
            folders,
            begun: Instant::now(),
            stopped: None,
            ended: None,
            refused: false,
        };
        self.runs.insert(launch.run, run);
        Ok(())
    }

    /// Refuses what cannot be enforced, unless the owner accepted that by name.
    fn require(&self, admitted: &Admitted) -> Result<(), Refusal> {
        let confinement = &self.authority.local().confinement;
        let missing: Vec<Mechanism> = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| {
                !self.host.enforces(*mechanism) && !confinement.accept_absent.contains(mechanism)
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = missing.iter().map(|mechanism| format!("`{mechanism}`")).collect();
        Err(Refusal::new(
            RefusalKind::Mechanism,
            format!(
                "`{}` cannot be confined as required: {} absent on this host; see `wachter doctor`, \
             or accept each absence by name under `confinement.accept_absent` in the local file",
                admitted.manifest.name,
                names.join(", ")
            ),
        ))
    }

    /// What no run may see; with the identity that the owner names now.
    fn forbidden(&self) -> Vec<PathBuf> {
        let identity = self.authority.local().secrets.identity.as_ref();
        let identity = identity.map(|path| path.as_path().to_owned());
        let mut forbidden = self.forbidden.clone();
        forbidden.extend(host::with_real_paths(identity.as_slice()));
        forbidden
    }

    fn free_slot(&self) -> Result<u32, Refusal> {
        let most = self.authority.local().confinement.users.count;
        let busy = || {
            Refusal::new(
                RefusalKind::Busy,
                format!(
                    "{most} runs are under way; try again later, or raise `confinement.users.count`"
                ),
            )
        };
        if self.runs.len() + self.checks.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return Err(busy());
        }
        (0..most).find(|slot| !self.runs.values().any(|run| run.slot == *slot)).ok_or_else(busy)
    }

    /// The user that a run gets: its own where the launcher is root, the launcher's elsewhere.
    fn user(&self, admitted: &Admitted, slot: u32) -> Result<User, Refusal> {
        let setup = |reason: String| Refusal::new(RefusalKind::Setup, reason);
        let permissions = admitted.grant.permissions();
        if self.host.profile != Profile::Root && permissions.user.as_deref() == Some("root") {
            return Err(setup(
                "`permissions.user: root` needs the profile `root`; start wachter-launcher as root"
                    .to_owned(),
            ));
        }
        // Also without namespaces: a run that shares the launcher's root would own root's files.
        if !self.host.changes_users {
            let own = rustix::process::geteuid().as_raw();
            let other = permissions
                .user
                .as_deref()
                .is_some_and(|name| passwd::user(name).map(|(uid, _)| uid) != Ok(own));
            if other || !permissions.groups.is_empty() {
                return Err(setup(
                    "`permissions.user` and `permissions.groups` need a launcher that may change \
                     users; start wachter-launcher as root, or leave them out"
                        .to_owned(),
                ));
            }
            return Ok(User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                groups: None,
            });
        }
        let groups = permissions
            .groups
            .iter()
            .map(|group| passwd::group(group))
            .collect::<Result<Vec<u32>, _>>()
            .map_err(setup)?;
        let (uid, gid) = match &permissions.user {
            Some(name) => passwd::user(name).map_err(setup)?,
            None => {
                let own = self.authority.local().confinement.users.first + slot;
                (own, own)
            }
        };
        Ok(User { uid, gid, groups: Some(groups) })
    }

    /// Takes one report of a run.
    fn follow(&mut self, id: RunId) {
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
                if let Some(run) = self.runs.remove(&id) {
                    let (connection, refused) = (run.connection, run.refused);
                    let started = run.stdio.is_none();
                    let (exited, group) = self.finish(id, run);
                    if refused {
                        // The node knows.
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
    fn finish(&self, id: RunId, run: Run) -> (Exited, RunGroup) {
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
    fn clear(&mut self, group: RunGroup) {
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

impl Run {
    fn signal(&self, signal: i32) {
        system::kill(self.monitor.as_raw_nonzero().get(), signal);
    }
}

/// The launcher's log is its stderr, which systemd keeps.
pub(crate) fn eprintln_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "wachter-launcher: {text}");
}
