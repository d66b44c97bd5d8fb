//! Hashes a module, and copies it where that is yet to be done, or has it compiled, in a process of its
//! own: the loop has other runs to start and to end meanwhile.
//!
//! Only what takes longer than starting a process is done here. It is done before the run has a
//! control group or a user, so that none of it counts as the run's, and in the launcher's own rights,
//! for only the launcher can write what it copies to.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Pid, Signal};
use wachter_model::chain;
use wachter_packet::PacketError;
use wachter_protocol::launcher::Launch;

use crate::authority::Signed;
use crate::cgroup::RunGroup;
use crate::compiled::Compiled;
use crate::folders::Folders;
use crate::jail::EndAtUnwind;
use crate::jail::system::{self, Forked};
use crate::jail::user;
use crate::store::Store;

/// A request whose module is being checked.
pub(crate) struct Check {
    pub(crate) connection: u64,
    pub(crate) launch: Launch,
    pub(crate) signed: Signed,
    pub(crate) told: OwnedFd,
    /// What is compiled, if that is what is done.
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
    /// Begins to do what `work` says.
    ///
    /// # Errors
    /// There is no process or descriptor left; one sentence.
    pub(crate) fn begin(
        connection: u64,
        launch: Launch,
        signed: Signed,
        compilation: Option<Compilation>,
        work: impl FnOnce(&Signed) -> Result<(), String>,
    ) -> Result<Self, String> {
        let (told, tell) = wachter_packet::pair().map_err(|error| chain(&error))?;
        let launcher = rustix::process::getpid().as_raw_nonzero().get();
        match system::fork().map_err(|errno| format!("cannot fork: {errno}"))? {
            Forked::Parent(process) => {
                Ok(Self { connection, launch, signed, told, compilation, process })
            }
            Forked::Child => {
                let _never_unwinds = EndAtUnwind;
                let alone = system::close_all_but(&mut [tell.as_raw_fd()]).is_ok()
                    && user::die_with_parent(Signal::KILL, Some(launcher)).is_ok();
                if alone {
                    let outcome = work(&signed);
                    // A launcher that is gone needs no answer.
                    let _ = wachter_packet::send(&tell, &outcome, &[]);
                }
                system::exit(0)
            }
        }
    }

    /// What came of it; none while it is under way.
    pub(crate) fn outcome(&self) -> Option<Result<(), String>> {
        match wachter_packet::receive::<Result<(), String>>(&self.told) {
            Ok((outcome, _)) => Some(outcome),
            Err(PacketError::Full) => None,
            Err(_) => Some(Err("the module could not be checked; try again".to_owned())),
        }
    }

    /// The process, which is no run's.
    pub(crate) fn process(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// Ends the process if it is still there, with what it left unfinished.
    pub(crate) fn end(&self, store: &Store, compiled: &Compiled) {
        system::kill(self.process(), libc::SIGKILL);
        system::wait(self.process(), true);
        store.remove_copy_of(self.process());
        compiled.remove_unfinished_of(self.process());
    }
}
