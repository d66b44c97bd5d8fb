//! A launcher that says what a test has it say.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use wachter_model::RunId;
use wachter_protocol::launcher::{
    Build, BuildOutcome, Built, LAUNCHER_PROTOCOL, Launched, ToLauncher, ToNode,
};
use wachter_sandbox::{Launcher, LauncherOptions};

/// A socket that can be connected to, behind which nobody says anything yet.
pub(in crate::node) struct Door {
    socket: OwnedFd,
    pub(in crate::node) options: LauncherOptions,
}

/// One that has said who it is.
pub(in crate::node) struct StandIn {
    client: Arc<OwnedFd>,
    heard: mpsc::UnboundedReceiver<ToLauncher>,
    /// What a build under way writes to.
    _pipes: Vec<OwnedFd>,
}

/// It goes.
impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.client, rustix::net::Shutdown::Both);
    }
}

impl Door {
    pub(in crate::node) fn open(folder: &Path) -> Self {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
        let path = folder.join("launcher.sock");
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        Self { socket, options: LauncherOptions::Connect { socket: path } }
    }

    /// Waits for the node, and introduces itself.
    pub(in crate::node) async fn greet(self) -> StandIn {
        let socket = self.socket;
        let greeting = tokio::task::spawn_blocking(move || {
            let client = rustix::net::accept(&socket).unwrap();
            let hello = json!({ "hello": {
                "protocol": LAUNCHER_PROTOCOL, "version": "1.0.0", "profile": "unprivileged",
                "mechanisms": {},
            } });
            wachter_packet::send(&client, &hello, &[]).unwrap();
            client
        });
        let client = Arc::new(greeting.await.unwrap());
        let (hear, heard) = mpsc::unbounded_channel();
        let listening = Arc::clone(&client);
        std::thread::spawn(move || {
            while let Ok((said, _)) = wachter_packet::receive(listening.as_fd()) {
                if hear.send(said).is_err() {
                    return;
                }
            }
        });
        StandIn { client, heard, _pipes: Vec::new() }
    }
}

impl StandIn {
    /// One, and the node's side of it.
    pub(in crate::node) async fn connected(folder: &Path) -> (Self, Launcher) {
        let door = Door::open(folder);
        let options = door.options.clone();
        let (stand_in, launcher) = tokio::join!(door.greet(), Launcher::open(&options));
        (stand_in, launcher.unwrap())
    }

    /// The next that the node asks for, but for reading files again.
    pub(in crate::node) async fn hear(&mut self) -> ToLauncher {
        loop {
            match self.heard.recv().await.expect("the node is there") {
                ToLauncher::Reload => {}
                said => return said,
            }
        }
    }

    /// The next build, which it begins.
    pub(in crate::node) async fn begin_build(&mut self) -> Build {
        let ToLauncher::Build(build) = self.hear().await else { panic!("it wants no build") };
        let ((stdin, write), (stdout, out), (stderr, err)) =
            (std::io::pipe().unwrap(), std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let launched = ToNode::Launched(Launched { run: build.run, listeners: Vec::new() });
        self.say(&launched, &[write.into(), stdout.into(), stderr.into()]);
        self._pipes.extend([stdin.into(), out.into(), err.into()]);
        build
    }

    /// What a build came to that was not begun.
    pub(in crate::node) fn settle(&self, run: RunId, outcome: BuildOutcome) {
        self.say(&ToNode::Built(Built { run, outcome }), &[]);
    }

    pub(in crate::node) fn say(&self, message: &ToNode, descriptors: &[OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        wachter_packet::send(self.client.as_fd(), message, &descriptors).unwrap();
    }
}
