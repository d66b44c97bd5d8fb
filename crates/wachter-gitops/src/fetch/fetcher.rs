use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::failure::FetchFailure;
use super::fetched::Fetched;
use super::job::Job;
use super::wire::{WireAnswer, WireJob};

/// The most bytes of a job: what a pipe holds, so that writing one never waits for the worker.
const MAX_JOB_BYTES: usize = 32 << 10;

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What a worker inherits: how to find programs, its user's keys and agent, and the proxy. Nothing
/// that could hold a secret of the node.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SSH_AUTH_SOCK",
    "ALL_PROXY",
    "all_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Starts workers and watches over them.
///
/// A worker is this program's own executable, started again with an argument that makes it call
/// [`worker_main`](super::worker_main). The job, credential included, goes through a pipe: it is in
/// no argument and in no environment variable.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The executable.
    pub worker: PathBuf,
    /// The arguments that make it a worker.
    pub arguments: Vec<OsString>,
}

/// Why a fetch did not happen. What was fetched before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The worker did not start, or could not be talked to.
    #[error("the worker `{}` could not be run", worker.display())]
    Start {
        /// The executable.
        worker: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error(
        "the fetch took longer than {seconds} s and was stopped; raise the limit if the network is slow"
    )]
    Deadline {
        /// The limit.
        seconds: u64,
    },
    /// It died before it answered.
    #[error(
        "the worker died ({reason}); if that repeats, the repository may be too large for its limits"
    )]
    Died {
        /// A signal or an exit status.
        reason: String,
    },
    /// It said something that is not an answer.
    #[error("the worker gave an answer that makes no sense; it is not of this version")]
    Answer,
    /// It says why it could not.
    #[error(transparent)]
    Failed(FetchFailure),
}

impl Fetcher {
    /// Runs one worker to its end, in this thread. Nothing of it is left running afterwards.
    ///
    /// # Errors
    /// When the worker fails, dies or takes longer than the job's limit.
    pub fn fetch(&self, job: &Job) -> Result<Fetched, FetchError> {
        let deadline = Instant::now() + job.limits.time;
        let start = |source| FetchError::Start { worker: self.worker.clone(), source };
        let parent =
            i32::try_from(std::process::id()).expect("a process id fits the kernel's own type");
        let document = serde_json::to_vec(&WireJob::new(job, parent));
        let document = Zeroizing::new(document.map_err(|error| start(error.into()))?);
        if document.len() > MAX_JOB_BYTES {
            return Err(start(io::Error::new(io::ErrorKind::InvalidInput, "the job is too large")));
        }
        let mut running = Running { child: self.spawn().map_err(start)?, reaped: false };
        let mut stdin = running.child.stdin.take().expect("stdin was asked to be a pipe");
        let mut stdout = running.child.stdout.take().expect("stdout was asked to be a pipe");
        // One that died at once is found out below.
        let sent = io::Write::write_all(&mut stdin, &document);
        drop((stdin, document));
        let late = || FetchError::Deadline { seconds: job.limits.time.as_secs() };
        let answer = match read_answer(&mut stdout, deadline).map_err(start)? {
            Answer::Whole(bytes) => bytes,
            Answer::Endless => return Err(FetchError::Answer),
            Answer::Late => return Err(late()),
        };
        let status = running.wait(deadline).map_err(start)?.ok_or_else(late)?;
        if answer.is_empty() || !status.success() {
            return Err(match (status.signal(), sent) {
                (Some(signal), _) => FetchError::Died { reason: format!("signal {signal}") },
                (None, Err(source)) => start(source),
                (None, Ok(())) => FetchError::Died { reason: status.to_string() },
            });
        }
        match serde_json::from_slice(&answer) {
            Ok(WireAnswer::Fetched(fetched)) => Ok(fetched),
            Ok(WireAnswer::Failed(failure)) => Err(FetchError::Failed(failure)),
            Err(_) => Err(FetchError::Answer),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.worker);
        command.args(&self.arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command
            .current_dir("/")
            // Its own group, so that the programs it runs can be killed with it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// A worker that is killed, with all that it started, when it is let go.
struct Running {
    child: Child,
    reaped: bool,
}

impl Running {
    /// Waits for the end of a worker that closed its stdout, and so is about to exit. `None` when it
    /// does not.
    fn wait(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        // A descriptor of the process becomes readable when it exits.
        let pid = Pid::from_child(&self.child);
        let descriptor = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        if wait_readable(&descriptor, deadline)? { self.end().map(Some) } else { Ok(None) }
    }

    /// Kills what is left of the group, and only then takes note of the end: until that is done, the
    /// number of the group cannot become another's.
    fn end(&mut self) -> io::Result<ExitStatus> {
        // A group without members is what was wanted.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            // Nothing can be done about a child that cannot be waited for.
            drop(self.end());
        }
    }
}

/// What a worker said.
enum Answer {
    /// All of it: it closed its stdout.
    Whole(Vec<u8>),
    /// More than an answer can have.
    Endless,
    /// It was not done at the deadline.
    Late,
}

fn read_answer(stdout: &mut ChildStdout, deadline: Instant) -> io::Result<Answer> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if !wait_readable(&*stdout, deadline)? {
            return Ok(Answer::Late);
        }
        let bytes = stdout.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(Answer::Whole(answer));
        }
        answer.extend_from_slice(&buffer[..bytes]);
        if answer.len() > MAX_ANSWER_BYTES {
            return Ok(Answer::Endless);
        }
    }
}

fn wait_readable(descriptor: &impl std::os::fd::AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec::try_from(left.max(Duration::from_millis(1))).map_err(io::Error::other)?;
        let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
