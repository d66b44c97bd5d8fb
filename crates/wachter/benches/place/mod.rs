//! A managed repository and its node, for benchmarks.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wachter_api::{Client, GetStatus, Nothing};
use wachter_testkit::{author_command, executable};

/// A managed repository in a folder, and a node of it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// One that `wachter init` made, for this host.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        let (key, local) = (place.text("key"), place.text("node.yaml"));
        let said = ["--generate-key", &key, "--local-file", &local];
        place.wachter(&[&["init", "infra", "--yes", "--name", "ann"], &said[..]].concat());
        place
    }

    /// Signs and commits what was changed, and makes a release of it.
    pub(crate) fn release(&self) {
        self.wachter(&["sign", "--all"]);
        for arguments in [&["add", "-A"][..], &["commit", "-q", "-m", "Agents"]] {
            assert!(self.command("git").args(arguments).status().unwrap().success());
        }
        self.wachter(&["release", "--yes"]);
    }

    pub(crate) fn start(&self) -> Child {
        let log = fs::File::create(self.path("node.log")).unwrap();
        let mut command = self.command(executable("wachter"));
        command.arg("run").stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.path("data/node.sock"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn wachter(&self, arguments: &[&str]) {
        let said = self.command(executable("wachter")).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "wachter {}: {errors}", arguments.join(" "));
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        author_command(self.folder.path(), program)
    }
}

/// Waits until the node is at work.
pub(crate) async fn client_is_ready(client: &Client, node: &Child) {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let status = client.call::<GetStatus>(&Nothing {}, &Nothing {}).await;
        if status.is_ok_and(|status| status.release.is_some() && status.launcher.is_some()) {
            return;
        }
        assert!(Instant::now() < until, "process {} was never ready", node.id());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
