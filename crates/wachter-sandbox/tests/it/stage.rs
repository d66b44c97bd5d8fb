//! What attempts aim at: files, sockets, ports and a process, all of which an unconfined program of
//! the same user reaches.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The first user that runs get from a launcher that is root; nobody else on the machine is it.
const FIRST_USER: u32 = 1_879_048_192;

pub(crate) struct Stage {
    folder: TempDir,
    victim: Child,
    abstract_name: String,
    tcp: u16,
    udp: u16,
    _datagram: UnixDatagram,
    _descriptor: OwnedFd,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path(), 0o755);
        let user = user();
        for (name, mode) in [
            ("outside", 0o777),
            ("granted", 0o777),
            ("programs", 0o755),
            ("home", 0o777),
            ("own", 0o755),
        ] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            open_to_all(&path, mode);
        }
        // An unconfined module could write beside itself.
        chown(folder.path().join("own"), Some(user), Some(user)).unwrap();
        let outside = folder.path().join("outside");
        for (name, text) in [
            ("secret", "secret"),
            ("scribble", "text"),
            ("to-rename", ""),
            ("to-remove", ""),
            ("owned", ""),
        ] {
            fs::write(outside.join(name), text).unwrap();
            open_to_all(&outside.join(name), 0o666);
        }
        for name in ["owned", "secret"] {
            chown(outside.join(name), Some(user), Some(user)).unwrap();
        }
        let program = wachter_testkit::executable("wachter-attempts");
        fs::copy(&program, folder.path().join("own/attempts")).unwrap();
        if is_root() {
            fs::copy(&program, folder.path().join("programs/setuid")).unwrap();
            open_to_all(&folder.path().join("programs/setuid"), 0o4755);
        }
        let stream = UnixListener::bind(outside.join("stream")).unwrap();
        open_to_all(&outside.join("stream"), 0o777);
        let datagram = UnixDatagram::bind(outside.join("datagram")).unwrap();
        open_to_all(&outside.join("datagram"), 0o777);
        let abstract_name = format!("wachter-attempts-{}", folder.path().display());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        std::thread::spawn(move || {
            stream.incoming().flatten().try_for_each(|mut client| client.write_all(b"hello"))
        });
        std::thread::spawn(move || {
            hidden.incoming().flatten().try_for_each(|mut client| client.write_all(b"hello"))
        });
        std::thread::spawn(move || {
            tcp.incoming().flatten().try_for_each(|mut client| client.write_all(b"hello"))
        });
        std::thread::spawn(move || -> io::Result<()> {
            let mut bytes = [0; 8];
            loop {
                let (_, from) = udp.recv_from(&mut bytes)?;
                udp.send_to(b"hello", from)?;
            }
        });
        let mut victim = Command::new("sleep");
        victim.arg("600").env_clear().env("WACHTER_SECRET", "secret").stdin(Stdio::null());
        let victim = as_user(&mut victim).spawn().unwrap();
        // Every child from here on inherits it, the launcher included.
        let secret = fs::File::open(outside.join("secret")).unwrap();
        let descriptor = rustix::io::fcntl_dupfd_cloexec(&secret, 99).unwrap();
        rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::empty()).unwrap();
        Self {
            folder,
            victim,
            abstract_name,
            tcp: ports.0,
            udp: ports.1,
            _datagram: datagram,
            _descriptor: descriptor,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The module's input.
    pub(crate) fn input(&self, launcher: u32) -> Value {
        json!({
            "mode": "all",
            "outside": self.path("outside"),
            "abstract": self.abstract_name,
            "tcp": self.tcp,
            "udp": self.udp,
            "victim": self.victim.id(),
            "launcher": launcher,
            "write": self.path("granted"),
            "setuid": is_root().then(|| self.path("programs/setuid")),
        })
    }

    /// The same attempts by the same user without any jail.
    pub(crate) fn unconfined(&self) -> Value {
        let mut child = Command::new(self.path("own/attempts"));
        child
            .env_clear()
            .env("WACHTER_SECRET", "secret")
            .env("TMPDIR", self.path("home"))
            .current_dir("/");
        let mut child =
            as_user(&mut child).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let request = json!({ "input": self.input(std::process::id()) });
        child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["result"]["output"].clone()
    }

    /// Whether the process that attempts were aimed at is still there.
    pub(crate) fn victim_lives(&mut self) -> bool {
        self.victim.try_wait().unwrap().is_none()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user that modules run as: their first own, or the one who runs this.
pub(crate) fn user() -> u32 {
    if is_root() { FIRST_USER } else { rustix::process::geteuid().as_raw() }
}

pub(crate) fn as_user(command: &mut Command) -> &mut Command {
    if is_root() { command.uid(FIRST_USER).gid(FIRST_USER) } else { command }
}

pub(crate) fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
