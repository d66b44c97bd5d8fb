//! Hashes a module, and copies it where that is yet to be done, in a process of its own: the loop has
//! other runs to start and to end meanwhile.
//!
//! Only what takes longer than starting a process is checked here. It is done before the run has a
//! control group or a user, so that none of it counts as the run's, and in the launcher's own rights,
//! for only the launcher can write what it copies to.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Pid, Signal};
use wachter_model::chain;
use wachter_packet::PacketError;
use wachter_protocol::launcher::Launch;

use crate::authority::Signed;
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
    process: Pid,
}

impl Check {
    /// Begins to check.
    ///
    /// # Errors
    /// There is no process or descriptor left; one sentence.
    pub(crate) fn begin(
        store: &Store,
        connection: u64,
        launch: Launch,
        signed: Signed,
    ) -> Result<Self, String> {
        let (told, tell) = wachter_packet::pair().map_err(|error| chain(&error))?;
        let launcher = rustix::process::getpid().as_raw_nonzero().get();
        match system::fork().map_err(|errno| format!("cannot fork: {errno}"))? {
            Forked::Parent(process) => Ok(Self { connection, launch, signed, told, process }),
            Forked::Child => {
                let _never_unwinds = EndAtUnwind;
                let alone = system::close_all_but(&mut [tell.as_raw_fd()]).is_ok()
                    && user::die_with_parent(Signal::KILL, Some(launcher)).is_ok();
                if alone {
                    let outcome = store.hold(&signed.digests, &signed.source);
                    let outcome = outcome.map(drop).map_err(|error| chain(&error));
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

    /// Ends the process if it is still there, with what it left of a copy.
    pub(crate) fn end(&self, store: &Store) {
        system::kill(self.process(), libc::SIGKILL);
        system::wait(self.process(), true);
        store.remove_copy_of(self.process());
    }
}
