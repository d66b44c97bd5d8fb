use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use gix_transport::Protocol;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;

use super::failure::{FetchFailure, printable};
use super::job::Remote;
use super::location::SshLocation;
use super::meter::{Meter, Metered};

/// How much of a program's stderr is kept: its end, where the reason stands.
const KEPT_STDERR_BYTES: usize = 2048;

/// A program that speaks Git's protocol on its stdin and stdout: `ssh`, or `git upload-pack`.
pub(crate) struct Program {
    name: String,
    child: Child,
    stderr: JoinHandle<Vec<u8>>,
}

pub(crate) type ProgramConnection = Connection<Metered<ChildStdout>, ChildStdin>;

/// `ssh`, which never asks and never learns a host key.
pub(crate) fn ssh(remote: &Remote, location: &SshLocation) -> Command {
    let program = remote.ssh_program.clone().unwrap_or_else(|| "ssh".into());
    let mut command = Command::new(program);
    command.args([
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oSendEnv=GIT_PROTOCOL",
        "-oForwardAgent=no",
        "-oClearAllForwardings=yes",
        "-oPermitLocalCommand=no",
        "-oControlMaster=no",
        "-oControlPath=none",
    ]);
    if let Some(port) = location.port {
        command.arg("-p").arg(port.to_string());
    }
    let host = match &location.user {
        Some(user) => format!("{user}@{}", location.host),
        None => location.host.clone(),
    };
    // A shell on the other side reads this.
    command.args([
        "--",
        &host,
        &format!("git-upload-pack '{}'", location.path.replace('\'', "'\\''")),
    ]);
    command
}

/// `git upload-pack` on a repository of this machine.
pub(crate) fn upload_pack(path: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .args(["upload-pack"])
        .arg(path)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // The operator named this folder; it may belong to another user.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*");
    command
}

impl Program {
    /// Starts a program and connects to it.
    pub(crate) fn start(
        mut command: Command,
        meter: &Arc<Meter>,
    ) -> Result<(Self, ProgramConnection), FetchFailure> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let mut child = command
            .env("GIT_PROTOCOL", "version=2")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| FetchFailure::Program {
                program: name.clone(),
                stderr: error.to_string(),
            })?;
        let stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
        let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
        let stderr = std::thread::spawn(move || read_end(stderr));
        let reader = Metered { inner: stdout, meter: Arc::clone(meter) };
        let host = None::<(String, Option<u16>)>;
        let connection =
            Connection::new(reader, stdin, Protocol::V2, "", host, ConnectMode::Process, false);
        Ok((Self { name, child, stderr }, connection))
    }

    /// Ends the program after its connection was dropped. When the fetch `failed`, gives the
    /// program's own reason, if it had one.
    pub(crate) fn finish(mut self, failed: bool) -> Option<FetchFailure> {
        if failed {
            // It may wait for more; what it has to say, it has said.
            drop(self.child.kill());
        }
        let status = self.child.wait().ok()?;
        let stderr = self.stderr.join().unwrap_or_default();
        let stderr = printable(&String::from_utf8_lossy(&stderr), KEPT_STDERR_BYTES);
        let own_failure = !status.success() && (!failed || !stderr.is_empty());
        own_failure.then_some(FetchFailure::Program { program: self.name, stderr })
    }
}

fn read_end(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = VecDeque::new();
    let mut buffer = [0; 1024];
    while let Ok(bytes @ 1..) = stderr.read(&mut buffer) {
        let fresh = &buffer[..bytes];
        kept.extend(fresh);
        kept.drain(..kept.len().saturating_sub(KEPT_STDERR_BYTES));
    }
    kept.into()
}

/// Says goodbye the way protocol version 2 wants it, so that the other side does not complain.
pub(crate) fn close(connection: ProgramConnection) {
    let (_, mut stdin) = connection.into_inner();
    drop(stdin.write_all(b"0000"));
}
