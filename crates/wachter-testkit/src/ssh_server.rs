use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tempfile::TempDir;

use crate::SshKey;

/// OpenSSH's own server on the loopback interface, on a port of the kernel's choice.
///
/// Each connection gets an `sshd -i` of its own (sshd(8)), with a host key and a list of keys that lie
/// in a temporary folder. It knows one user, who is the user that runs this: root cannot be another,
/// since the repositories of tests are its own, and nobody else can become another. What `sshd` wants
/// of the machine besides, a user to drop to and an empty folder, root gives it in a view of its own.
///
/// It stops when it is dropped, with all that it started.
#[derive(Debug)]
pub struct SshServer {
    address: SocketAddr,
    user: String,
    host_key: SshKey,
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    folder: TempDir,
    sessions: Mutex<Vec<Child>>,
    stopping: AtomicBool,
}

/// Gives `sshd` as root what it wants of the machine, where nobody else sees it. `/run` is covered, so
/// that no daemon of the machine is asked about users.
const PREPARE: &str = r#"
set -eu
mount --bind "$1/passwd" /etc/passwd
mount -t tmpfs -o mode=755 none /run
mkdir -m 755 /run/sshd
exec "$2" -i -e -f "$1/config"
"#;

impl SshServer {
    /// Where `sshd` is; `None` where it is not installed, with a word about it on stdout.
    ///
    /// # Panics
    /// It is not installed and `CI` is `true`: there everything is.
    #[must_use]
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.push("/usr/sbin".into());
        folders.extend(unpacked().map(|root| root.join("usr/sbin")));
        let found =
            folders.into_iter().map(|folder| folder.join("sshd")).find(|path| path.is_file());
        assert!(
            found.is_some() || std::env::var("CI").as_deref() != Ok("true"),
            "`sshd` is not installed; run `cargo xtask setup`"
        );
        if found.is_none() {
            println!("skipped: `sshd` is not installed; run `cargo xtask setup`");
        }
        found
    }

    /// Serves the repositories of this machine to whoever has `key`, with `program`.
    ///
    /// # Errors
    /// When no port can be bound, no key made, or this user has no entry in `/etc/passwd`.
    pub fn serve(program: &Path, key: &SshKey) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let host_key = SshKey::generate(folder.path(), "host")?;
        let user = prepare_user(folder.path())?;
        let path = folder.path().display();
        let configuration = format!(
            "HostKey {path}/host\nAuthorizedKeysFile {path}/authorized_keys\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nAcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\n"
        );
        fs::write(folder.path().join("config"), configuration)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            program: program.to_owned(),
            folder,
            sessions: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accept = std::thread::Builder::new().name("ssh-server".into()).spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        })?;
        let server = Self { address, user, host_key, shared, accept: Some(accept) };
        server.admit(key, None)?;
        Ok(server)
    }

    /// Takes `key` from now on and no other. With a command, that is run instead of what the client
    /// asks for, which it finds in `SSH_ORIGINAL_COMMAND`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn admit(&self, key: &SshKey, command: Option<&str>) -> io::Result<()> {
        let option = command.map(|command| format!("command=\"{command}\" ")).unwrap_or_default();
        let line = format!("{option}{}\n", key.public());
        fs::write(self.shared.folder.path().join("authorized_keys"), line)
    }

    /// The URL of a repository by its path on this machine.
    #[must_use]
    pub fn url(&self, repository: &Path) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, repository.display())
    }

    /// The line of `known_hosts` that says that `key` is this server's (sshd(8)).
    #[must_use]
    pub fn known_host(&self, key: &SshKey) -> String {
        format!("[{}]:{} {}\n", self.address.ip(), self.address.port(), key.public())
    }

    /// Its host key.
    #[must_use]
    pub fn host_key(&self) -> &SshKey {
        &self.host_key
    }

    /// What it wrote to its log so far.
    ///
    /// # Errors
    /// When no one has connected yet.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.shared.log())
    }

    /// Kills every `sshd` that serves somebody, by SIGKILL. New connections are taken all the same.
    pub fn kill_sessions(&self) {
        self.shared.kill_sessions();
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
        self.shared.kill_sessions();
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        // A connection that cannot be served is the client's to notice.
        if let Ok(session) = stream.and_then(|stream| shared.start(stream)) {
            shared.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        }
    }
}

impl Shared {
    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn start(&self, stream: TcpStream) -> io::Result<Child> {
        let folder = self.folder.path();
        let mut command = if is_root()? {
            let mut command = Command::new("unshare");
            command
                .args(["--mount", "--propagation", "private", "--", "sh", "-c", PREPARE, "sh"])
                .arg(folder)
                .arg(&self.program);
            command
        } else {
            let mut command = Command::new(&self.program);
            command.args(["-i", "-e", "-f"]).arg(folder.join("config"));
            command
        };
        if let Some(libraries) = unpacked().map(|root| root.join("usr/lib").join(MULTIARCH))
            && self.program.starts_with(libraries.ancestors().nth(3).unwrap_or(Path::new("/")))
        {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let (input, output) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream));
        command
            .process_group(0)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(File::options().create(true).append(true).open(self.log())?)
            .spawn()
    }

    fn kill_sessions(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for mut session in sessions.drain(..) {
            // The group: as root, `sshd` is one process before and another after the login.
            let group = format!("-{}", session.id());
            let kill = ["-KILL", "--", &group];
            drop(Command::new("kill").args(kill).stderr(Stdio::null()).status());
            drop(session.wait());
        }
    }
}

/// Says who may log in, and for root makes the list of users that `sshd` sees.
fn prepare_user(folder: &Path) -> io::Result<String> {
    let users = fs::read_to_string("/etc/passwd")?;
    if is_root()? {
        let home = folder.join("home");
        fs::create_dir(&home)?;
        // `sshd` becomes the second before anyone has logged in.
        let ours = format!(
            "git:x:0:0::{}:/bin/sh\nsshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n",
            home.display()
        );
        let others = users.lines().filter(|line| !line.starts_with("sshd:"));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        fs::write(folder.join("passwd"), format!("{ours}{others}"))?;
        // What is served lies below it.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        return Ok("git".to_owned());
    }
    let own = fs::metadata("/proc/self")?.uid().to_string();
    let entry = users.lines().find(|line| line.split(':').nth(2) == Some(&own));
    let name = entry.and_then(|line| line.split(':').next());
    name.map(str::to_owned).ok_or_else(|| io::Error::other("this user is not in /etc/passwd"))
}

fn is_root() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// Where `cargo xtask setup` unpacks Debian packages for who may not install them, or that must not
/// be installed because a daemon would be started.
fn unpacked() -> Option<PathBuf> {
    // target/debug/deps/test-<hash>
    let test = std::env::current_exe().ok()?;
    Some(test.ancestors().nth(3)?.join("tools/debian")).filter(|root| root.is_dir())
}

#[cfg(target_arch = "x86_64")]
const MULTIARCH: &str = "x86_64-linux-gnu";
#[cfg(target_arch = "aarch64")]
const MULTIARCH: &str = "aarch64-linux-gnu";
