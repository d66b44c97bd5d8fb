//! The client of `wachter-launcher`: starts it or connects to it, and passes runs on.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use wachter_model::{Digest, RunId};
use wachter_packet::PacketError;
use wachter_protocol::launcher::{
    BuildOutcome, Built, Exited, Hello, LAUNCHER_PROTOCOL, Launched, RefusalKind, Refused, Retain,
    Stop, StopReason, ToLauncher, ToNode,
};

/// How to reach a launcher.
#[derive(Clone, Debug)]
pub enum LauncherOptions {
    /// One that runs already, as root under systemd.
    Connect {
        /// Its socket.
        socket: PathBuf,
    },
    /// One of our own, as our own user; it ends with the connection.
    Spawn {
        /// The executable.
        program: PathBuf,
        /// Its arguments, but for `--connected`.
        arguments: Vec<OsString>,
    },
}

/// Why there is no launcher to speak with.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// Not there.
    #[error("cannot start {}; install it beside `wachter`, or name it with --launcher", path.display())]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens.
    #[error("cannot connect to {}; is wachter-launcher running?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It went away before it said anything; its own words stand on stderr.
    #[error("the launcher ended before it was ready: {0}")]
    Ended(String),
    /// Of another version.
    #[error(
        "the launcher speaks protocol {found}, this node {LAUNCHER_PROTOCOL}; install both from one release"
    )]
    Protocol {
        /// What it speaks.
        found: u32,
    },
    /// The system refused.
    #[error("cannot speak with the launcher")]
    System(#[source] io::Error),
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The run began: its descriptors, and who will say how it ended.
    Launched { launched: Launched, descriptors: Vec<OwnedFd>, exit: oneshot::Receiver<Ended> },
    /// It did not.
    Refused(Refused),
    /// There was nothing to build.
    Built(BuildOutcome),
}

/// How a run ended, and what a build came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exited: Exited,
    pub(crate) built: Option<BuildOutcome>,
}

/// Why a request went nowhere: the launcher is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the launcher is gone; start it again")]
pub struct LauncherGone;

/// A request, and for a launch who waits for what becomes of it.
type Order = (ToLauncher, Option<(RunId, oneshot::Sender<Begun>)>);

struct Waiting {
    begun: Option<oneshot::Sender<Begun>>,
    exit: Option<oneshot::Sender<Ended>>,
    built: Option<BuildOutcome>,
}

/// A connection to a launcher. Cheap to clone; the last clone dropped ends the connection, and with
/// it every run that was asked for over it.
#[derive(Clone, Debug)]
pub struct Launcher {
    hello: Arc<Hello>,
    requests: mpsc::Sender<Order>,
}

impl Launcher {
    /// Reaches a launcher and waits for its first words.
    ///
    /// # Errors
    /// See [`LauncherError`].
    pub async fn open(options: &LauncherOptions) -> Result<Self, LauncherError> {
        let (socket, child) = match options {
            LauncherOptions::Connect { socket } => (connect(socket)?, None),
            LauncherOptions::Spawn { program, arguments } => {
                let (socket, child) = spawn(program, arguments)?;
                (socket, Some(child))
            }
        };
        // A packet socket like any other to the runtime, which only waits for it.
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true).map_err(LauncherError::System)?;
        let socket = UnixStream::from_std(socket).map_err(LauncherError::System)?;
        let stranger = || LauncherError::Ended("it did not introduce itself".to_owned());
        let hello: serde_json::Value = match receive(&socket).await {
            Ok((hello, _)) => hello,
            Err(PacketError::Json(_) | PacketError::TooLarge) => return Err(stranger()),
            Err(_) => return Err(LauncherError::Ended(last_words(child).await)),
        };
        // Another version may say more, so its number is looked at before anything else is understood.
        let found = hello["hello"]["protocol"].as_u64().and_then(|found| found.try_into().ok());
        match found {
            Some(LAUNCHER_PROTOCOL) => {}
            Some(found) => return Err(LauncherError::Protocol { found }),
            None => return Err(stranger()),
        }
        let Ok(ToNode::Hello(hello)) = serde_json::from_value(hello) else {
            return Err(stranger());
        };
        // As many requests as there is use for: the launcher answers each at once.
        let (requests, taken) = mpsc::channel(64);
        tokio::spawn(serve(socket, taken, child));
        Ok(Self { hello: Arc::new(hello), requests })
    }

    /// What the launcher said of itself and of what it can enforce.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks for a run or a build, and waits for what becomes of it.
    pub(crate) async fn order(
        &self,
        run: RunId,
        request: ToLauncher,
    ) -> Result<Begun, LauncherGone> {
        let (begun, answer) = oneshot::channel();
        self.requests.send((request, Some((run, begun)))).await.map_err(|_| LauncherGone)?;
        answer.await.map_err(|_| LauncherGone)
    }

    /// Has a run ended, without waiting for a launcher that may not listen. Without a launcher there is
    /// no run.
    pub(crate) fn stop_soon(&self, stop: Stop) {
        if let Err(mpsc::error::TrySendError::Full(request)) =
            self.requests.try_send((ToLauncher::Stop(stop), None))
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let requests = self.requests.clone();
            runtime.spawn(async move { requests.send(request).await });
        }
    }

    /// Has the local file read again.
    ///
    /// # Errors
    /// The launcher is gone.
    pub async fn reload(&self) -> Result<(), LauncherGone> {
        self.requests.send((ToLauncher::Reload, None)).await.map_err(|_| LauncherGone)
    }

    /// Has the environments removed that none of these modules uses.
    ///
    /// # Errors
    /// The launcher is gone.
    pub async fn retain(&self, modules: BTreeSet<Digest>) -> Result<(), LauncherGone> {
        let retain = ToLauncher::Retain(Retain { modules });
        self.requests.send((retain, None)).await.map_err(|_| LauncherGone)
    }

    /// Waits until the launcher is gone.
    pub async fn gone(&self) {
        self.requests.closed().await;
    }
}

fn connect(path: &Path) -> Result<OwnedFd, LauncherError> {
    let failed = |errno: rustix::io::Errno| LauncherError::Connect {
        path: path.to_owned(),
        source: errno.into(),
    };
    let address = rustix::net::SocketAddrUnix::new(path).map_err(failed)?;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    rustix::net::connect(&socket, &address).map_err(failed)?;
    Ok(socket)
}

fn spawn(
    program: &Path,
    arguments: &[OsString],
) -> Result<(OwnedFd, tokio::process::Child), LauncherError> {
    let failed = |source| LauncherError::Spawn { path: program.to_owned(), source };
    let (ours, theirs) =
        wachter_packet::pair().map_err(|_| failed(io::Error::other("no descriptor is left")))?;
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .arg("--connected")
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    Ok((ours, child))
}

/// What a launcher that ended said on stderr.
async fn last_words(child: Option<tokio::process::Child>) -> String {
    let Some(child) = child else { return "it closed the connection".to_owned() };
    match child.wait_with_output().await {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let text = text.trim().trim_start_matches("wachter-launcher: ");
            if text.is_empty() { output.status.to_string() } else { crate::output::printable(text) }
        }
        Err(error) => error.to_string(),
    }
}

async fn receive<T: DeserializeOwned>(
    socket: &UnixStream,
) -> Result<(T, Vec<OwnedFd>), PacketError> {
    ready(socket, Interest::READABLE, || wachter_packet::receive(socket)).await
}

async fn send(socket: &UnixStream, message: &ToLauncher) -> Result<(), PacketError> {
    ready(socket, Interest::WRITABLE, || wachter_packet::send(socket, message, &[])).await
}

/// Tries until the socket is ready for it.
async fn ready<T>(
    socket: &UnixStream,
    interest: Interest,
    mut attempt: impl FnMut() -> Result<T, PacketError>,
) -> Result<T, PacketError> {
    loop {
        socket.ready(interest).await.map_err(|_| PacketError::Closed)?;
        let outcome = socket.try_io(interest, || match attempt() {
            // This tells the runtime to wait again.
            Err(PacketError::Full) => Err(io::ErrorKind::WouldBlock.into()),
            outcome => Ok(outcome),
        });
        if let Ok(outcome) = outcome {
            return outcome;
        }
    }
}

type Table = Arc<Mutex<HashMap<RunId, Waiting>>>;

/// Owns the connection until either side is gone. What waited is told by its dropped sender.
async fn serve(
    socket: UnixStream,
    mut requests: mpsc::Receiver<Order>,
    mut child: Option<tokio::process::Child>,
) {
    let table = Table::default();
    let locked = || table.lock().unwrap_or_else(PoisonError::into_inner);
    let listen = async {
        loop {
            match receive(&socket).await {
                Ok((message, descriptors)) => {
                    if let Some(run) = hear(&table, message, descriptors) {
                        let stop = Stop { run, at_once: true, reason: StopReason::Cancelled };
                        if send(&socket, &ToLauncher::Stop(stop)).await.is_err() {
                            return;
                        }
                    }
                }
                // One packet that is not understood costs itself.
                Err(PacketError::Json(_) | PacketError::TooLarge) => {}
                Err(_) => return,
            }
        }
    };
    let speak = async {
        while let Some((request, waiting)) = requests.recv().await {
            if let Some((run, begun)) = waiting {
                if locked().contains_key(&run) {
                    // Asked for over this connection already: who waits for that one goes on waiting.
                    let reason = "a run of this name is under way".to_owned();
                    let _ = begun.send(Begun::Refused(Refused {
                        run,
                        kind: RefusalKind::Request,
                        reason,
                    }));
                    continue;
                }
                locked().insert(run, Waiting { begun: Some(begun), exit: None, built: None });
            }
            if send(&socket, &request).await.is_err() {
                return;
            }
        }
    };
    let log = pass_log_on(child.as_mut().and_then(|child| child.stderr.take()));
    tokio::select! { () = listen => {}, () = speak => {}, () = log => {} }
    drop(socket);
    // It ends when its last connection does; waiting takes it out of the process table.
    if let Some(mut child) = child {
        let _ = child.wait().await;
    }
}

/// Hands on what a launcher of our own logs: a pipe that nobody empties would hold it up. Never ends,
/// since a launcher may well close its log and go on.
async fn pass_log_on(stderr: Option<tokio::process::ChildStderr>) {
    if let Some(stderr) = stderr {
        let mut lines = tokio::io::BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{}", crate::output::printable(&line));
        }
    }
    std::future::pending::<()>().await;
}

/// Passes on what the launcher says. Gives a run that began although nobody waits for it any more.
fn hear(table: &Table, message: ToNode, descriptors: Vec<OwnedFd>) -> Option<RunId> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    match message {
        ToNode::Launched(launched) => {
            if let Some(waiting) = table.get_mut(&launched.run) {
                let (sender, exit) = oneshot::channel();
                waiting.exit = Some(sender);
                let run = launched.run;
                let begun = waiting.begun.take()?;
                return begun
                    .send(Begun::Launched { launched, descriptors, exit })
                    .is_err()
                    .then_some(run);
            }
        }
        ToNode::Refused(refused) => {
            if let Some(begun) = table.remove(&refused.run).and_then(|waiting| waiting.begun) {
                let _ = begun.send(Begun::Refused(refused));
            }
        }
        ToNode::Built(Built { run, outcome }) => {
            if let Some(waiting) = table.get_mut(&run)
                && waiting.begun.is_none()
            {
                waiting.built = Some(outcome);
            } else if let Some(begun) = table.remove(&run).and_then(|waiting| waiting.begun) {
                let _ = begun.send(Begun::Built(outcome));
            }
        }
        ToNode::Exited(exited) => {
            if let Some(Waiting { exit: Some(exit), built, .. }) = table.remove(&exited.run) {
                let _ = exit.send(Ended { exited, built });
            }
        }
        ToNode::Hello(_) => {}
    }
    None
}
