//! Work on files that takes longer than starting a process, in a process of its own: the loop has
//! other runs to start and to end meanwhile.
//!
//! A module is hashed, and copied where that is yet to be done, or compiled; so is an environment. It is
//! done before or after the run has a control group and a user, so that none of it counts as the run's, and in the
//! launcher's own rights, for only the launcher can write what it copies to.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Pid, Signal};
use wachter_model::{Digest, ModuleName, RunId};
use wachter_packet::PacketError;
use wachter_protocol::launcher::{Build, Exited, Launch};

use crate::authority::{Authority, Signed};
use crate::build::Building;
use crate::cgroup::RunGroup;
use crate::folders::Folders;
use crate::jail::EndAtUnwind;
use crate::jail::system::{self, Forked};
use crate::jail::user;

/// What a node asked for.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Launch(Launch),
    Build(Build),
}

impl Order {
    pub(crate) fn run(&self) -> RunId {
        match self {
            Self::Launch(launch) => launch.run,
            Self::Build(build) => build.run,
        }
    }

    /// The module, by its name and its digest.
    pub(crate) fn module(&self) -> (&ModuleName, Digest) {
        match self {
            Self::Launch(launch) => (&launch.name, launch.module),
            Self::Build(build) => (&build.name, build.module),
        }
    }
}

/// What is looked at, and what is done when that is over.
pub(crate) enum Step {
    /// The files of a module; then the order is carried out.
    Module(Order, Signed),
    /// The files of an environment; then the order is carried out.
    Environment(Order, Signed, Digest),
    /// A module in WebAssembly is compiled; then its run begins.
    Compile(Launch, Signed),
    /// What a build has installed; then the node is told of it and of the build's end.
    Keep(Box<Building>, Exited),
}

/// What came of it: where it was an environment, what the kernel says of its files.
pub(crate) type Outcome = Result<Option<Digest>, String>;

/// A request whose files are being looked at.
pub(crate) struct Check {
    pub(crate) connection: u64,
    pub(crate) step: Step,
    pub(crate) told: OwnedFd,
    /// What belongs to a compilation, if that is what is done.
    pub(crate) compilation: Option<Compilation>,
    process: Pid,
}

/// What belongs to a compilation while it is under way.
pub(crate) struct Compilation {
    /// Whose user it has.
    pub(crate) slot: u32,
    pub(crate) group: RunGroup,
    /// Held until it has ended.
    pub(crate) _folders: Folders,
}

impl Check {
    /// Begins with `work`, in another process.
    ///
    /// # Errors
    /// There is no process or descriptor left; one sentence.
    pub(crate) fn begin(
        connection: u64,
        step: Step,
        compilation: Option<Compilation>,
        work: impl FnOnce(&Step) -> Outcome,
    ) -> Result<Self, String> {
        let (told, tell) = wachter_packet::pair().map_err(|error| wachter_model::chain(&error))?;
        let launcher = rustix::process::getpid().as_raw_nonzero().get();
        match system::fork().map_err(|errno| format!("cannot fork: {errno}"))? {
            Forked::Parent(process) => Ok(Self { connection, step, told, compilation, process }),
            Forked::Child => {
                let _never_unwinds = EndAtUnwind;
                let alone = system::close_all_but(&mut [tell.as_raw_fd()]).is_ok()
                    && user::die_with_parent(Signal::KILL, Some(launcher)).is_ok();
                if alone {
                    // A launcher that is gone needs no answer.
                    let _ = wachter_packet::send(&tell, &work(&step), &[]);
                }
                system::exit(0)
            }
        }
    }

    /// What came of it; none while it is under way.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match wachter_packet::receive::<Outcome>(&self.told) {
            Ok((outcome, _)) => Some(outcome),
            Err(PacketError::Full) => None,
            Err(_) => Some(Err("the files could not be checked; try again".to_owned())),
        }
    }

    /// The process, which is no run's.
    pub(crate) fn process(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// Ends the process if it is still there, with what it left unfinished. Gives what it was about.
    pub(crate) fn end(self, authority: &Authority) -> (Step, Option<Compilation>) {
        system::kill(self.process(), libc::SIGKILL);
        system::wait(self.process(), true);
        authority.store().remove_copy_of(self.process());
        authority.environments().remove_copy_of(self.process());
        authority.compiled().remove_unfinished_of(self.process());
        (self.step, self.compilation)
    }
}
