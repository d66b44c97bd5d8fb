//! The process between a module that was given secrets and the node: it passes on what the module
//! writes, without the secrets.
//!
//! The node is never told a value, so it cannot look for one. This process knows the values, and
//! nothing else: it has the run's user, no capability, no file, and of the system calls those for
//! reading, writing, waiting and memory. It ends with the last writer of the run, or with the monitor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use wachter_secret::{Redactor, Secrets};

use super::fault::{Attempt, Fault};
use super::files::{self, Rules};
use super::system::{self, Forked};
use super::system_calls::Filters;
use super::{END_AT_ONCE, EndAtUnwind, Stdio, capabilities, user};
use crate::secrets::Secret;

/// What is read at once.
const PIECE: usize = 32 << 10;

/// The process, seen from the monitor.
pub(super) struct Relay(i32);

/// Puts a relay between the ends of a run's stdout and stderr and the module's, which it gives back.
/// The caller has the run's user already, and is still outside its namespaces.
pub(super) fn begin(
    stdio: Stdio,
    secrets: &[Secret],
    filters: &Filters,
) -> Result<(Stdio, Relay), Fault> {
    let pipe =
        || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).attempt(|| "make a pipe");
    let ((read_out, write_out), (read_err, write_err)) = (pipe()?, pipe()?);
    let (ready_from, ready_to) = wachter_packet::pair().map_err(|_| Fault {
        attempted: "make a pair of sockets".to_owned(),
        errno: libc::EMFILE,
    })?;
    let monitor = rustix::process::getpid().as_raw_nonzero().get();
    let [stdin, stdout, stderr] = stdio.ends;
    match system::fork().attempt(|| "fork")? {
        Forked::Parent(relay) => {
            drop((read_out, read_err, stdout, stderr, ready_to));
            // Nothing is given to the module before what it writes is looked at.
            match wachter_packet::receive::<Result<(), Fault>>(&ready_from) {
                Ok((ready, _)) => ready?,
                Err(_) => return Err(Errno::PIPE).attempt(|| "start the relay of output"),
            }
            let relay = Relay(relay.as_raw_nonzero().get());
            Ok((Stdio { ends: [stdin, write_out, write_err] }, relay))
        }
        Forked::Child => {
            let _never_unwinds = EndAtUnwind;
            let streams = [(read_out, stdout), (read_err, stderr)];
            let mut keep = vec![ready_to.as_raw_fd()];
            keep.extend(streams.iter().flat_map(|(from, to)| [from.as_raw_fd(), to.as_raw_fd()]));
            let looked_for = Secrets::new(
                secrets.iter().map(|secret| (secret.name.as_str(), secret.value.as_slice())),
            );
            let streams = streams.map(|(from, to)| Stream::new(from, to, &looked_for));
            let confined = system::close_all_but(&mut keep)
                .attempt(|| "close descriptors")
                .and_then(|()| streams.iter().try_for_each(Stream::never_wait_for_reader))
                .and_then(|()| confine(monitor, filters));
            let failed = confined.is_err();
            // The filter allows no other way of sending a packet than this.
            let told = serde_json::to_vec(&confined).unwrap_or_default();
            let told = rustix::io::write(&ready_to, &told);
            drop(ready_to);
            if failed || told.is_err() {
                system::exit(1);
            }
            pass_on(streams);
            system::exit(0)
        }
    }
}

/// Gives up all that is not needed, for good.
fn confine(monitor: i32, filters: &Filters) -> Result<(), Fault> {
    user::die_with_parent(Signal::KILL, Some(monitor))?;
    user::be_opaque()?;
    capabilities::keep(CapabilitySet::empty())?;
    rustix::thread::set_no_new_privs(true).attempt(|| "set no_new_privs")?;
    files::restrict(&Rules::default())?;
    filters.apply_to_relay()
}

/// One of the module's streams, on its way to the node.
struct Stream {
    /// None once the module and all that it started have closed it.
    from: Option<OwnedFd>,
    /// None once nobody reads it any more.
    to: Option<OwnedFd>,
    redactor: Option<Redactor>,
    /// Looked at, and not passed on yet.
    clean: Vec<u8>,
}

impl Stream {
    fn new(from: OwnedFd, to: OwnedFd, secrets: &Secrets) -> Self {
        let redactor = Some(Redactor::new(secrets));
        Self { from: Some(from), to: Some(to), redactor, clean: Vec::new() }
    }

    /// A slow reader of one stream must not hold the other up.
    fn never_wait_for_reader(&self) -> Result<(), Fault> {
        let Some(to) = &self.to else { return Ok(()) };
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::WRONLY;
        rustix::fs::fcntl_setfl(to, flags).attempt(|| "set up a pipe")
    }

    /// What to wait for: a reader where there is something to pass on, else a writer.
    fn awaited(&self) -> Option<(&OwnedFd, PollFlags)> {
        match (&self.from, &self.to) {
            (_, Some(to)) if !self.clean.is_empty() => Some((to, PollFlags::OUT)),
            (Some(from), Some(_)) => Some((from, PollFlags::IN)),
            _ => None,
        }
    }

    /// Does what was waited for.
    fn go_on(&mut self, piece: &mut [u8]) {
        if !self.clean.is_empty() {
            let Some(to) = &self.to else { return };
            match rustix::io::write(to, &self.clean) {
                Ok(written) => drop(self.clean.drain(..written)),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Nobody listens: the module is told so by its own pipe.
                Err(_) => (self.from, self.to) = (None, None),
            }
            return;
        }
        let Some(from) = &self.from else { return };
        match rustix::io::read(from, &mut *piece) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) | Ok(0) => {
                self.from = None;
                if let Some(redactor) = self.redactor.take() {
                    redactor.finish(&mut self.clean);
                }
            }
            Ok(read) => {
                if let Some(redactor) = &mut self.redactor {
                    redactor.feed(&piece[..read], &mut self.clean);
                }
            }
        }
        self.close_when_done();
    }

    /// The node waits for the end of a stream.
    fn close_when_done(&mut self) {
        if self.from.is_none() && self.clean.is_empty() {
            self.to = None;
        }
    }
}

/// Passes both streams on until both have ended.
fn pass_on(mut streams: [Stream; 2]) {
    let mut piece = vec![0; PIECE];
    loop {
        let awaited: Vec<Option<(&OwnedFd, PollFlags)>> =
            streams.iter().map(Stream::awaited).collect();
        let mut polled: Vec<PollFd<'_>> = awaited
            .iter()
            .flatten()
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd.as_fd(), *flags))
            .collect();
        if polled.is_empty() {
            return;
        }
        match rustix::event::poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let mut events = polled.iter().map(|fd| !fd.revents().is_empty());
        let ready: Vec<bool> = awaited
            .iter()
            .map(|awaited| awaited.is_some() && events.next() == Some(true))
            .collect();
        for (stream, ready) in streams.iter_mut().zip(ready) {
            if ready {
                stream.go_on(&mut piece);
            }
            stream.close_when_done();
        }
    }
}

impl Relay {
    /// The process.
    pub(super) const fn process(&self) -> i32 {
        self.0
    }

    /// Waits until it has passed on the last words of a run that is over, and ends it where nobody
    /// reads them until `deadline`.
    pub(super) fn finish(self, signals: &libc::sigset_t, deadline: Instant) {
        while system::wait(self.0, false).is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || system::wait_for_signal(signals, Some(left)) == Some(END_AT_ONCE) {
                system::kill(self.0, libc::SIGKILL);
                system::wait(self.0, true);
                return;
            }
        }
    }
}
