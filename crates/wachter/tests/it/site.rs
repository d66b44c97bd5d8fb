//! A managed repository, a real Git server for it, and a node of it, all below one folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wachter_testkit::{GitServer, GitServerOptions, author_command, executable};

pub(crate) struct Site {
    folder: TempDir,
    server: Option<GitServer>,
    environment: Vec<(&'static str, String)>,
}

pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Wakes often and says one line.
pub(crate) const HELLO: &str = "name: hello\nmodule: hello\non: { schedule: { every: 200ms } }\nwith: { greeting: Good day }\n";

impl Site {
    /// With one release of one module that says hello.
    pub(crate) fn new() -> Self {
        Self::with(GitServerOptions::default())
    }

    /// The same, behind this server. Where it speaks TLS, `SSL_CERT_FILE` names its certificate.
    pub(crate) fn with(options: GitServerOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = folder.path().join("git");
        fs::create_dir(&root).unwrap();
        let server = GitServer::serve_with(&root, options).unwrap();
        let url = server.url("infra.git");
        let mut site = Self { folder, server: Some(server), environment: Vec::new() };
        if let Some(certificate) = site.server().certificate() {
            fs::write(site.path("authority.pem"), certificate).unwrap();
            let path = site.text("authority.pem");
            site.set("GIT_SSL_CAINFO", path.as_str());
            site.set("SSL_CERT_FILE", path);
        }
        let (key, local) = (site.text("key"), site.text("node.yaml"));
        site.ok(&[
            "init",
            "infra",
            "--yes",
            "--name",
            "ann",
            "--generate-key",
            &key,
            "--url",
            &url,
            "--local-file",
            &local,
        ]);
        site.ok(&["module", "new", "hello", "--language", "shell"]);
        fs::remove_file(site.path("infra/config/agents/system-monitor.yaml")).unwrap();
        site.write("config/agents/hello.yaml", HELLO);
        site.git(&["init", "-q", "--bare", &site.text("git/infra.git")]);
        site.git(&["-C", &site.text("git/infra.git"), "config", "http.receivepack", "true"]);
        if !site.git(&["remote"]).contains("origin") {
            site.git(&["remote", "add", "origin", &url]);
        }
        site.release();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("infra").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Signs and commits everything, and makes and pushes a release of it.
    pub(crate) fn release(&self) {
        self.ok(&["sign", "--all"]);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "Change"]);
        self.ok(&["release", "--yes", "--push", "origin"]);
    }

    /// The server, while there is one.
    pub(crate) fn server(&self) -> &GitServer {
        self.server.as_ref().unwrap()
    }

    /// Puts a variable into the environment of every command from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// No server answers any more.
    pub(crate) fn stop_server(&mut self) {
        self.server = None;
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = author_command(self.folder.path(), program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn wachter(&self, arguments: &[&str]) -> Said {
        self.wachter_from(arguments, Stdio::null())
    }

    /// A command with something to read.
    pub(crate) fn wachter_from(&self, arguments: &[&str], input: impl Into<Stdio>) -> Said {
        let mut command = self.command(executable("wachter"));
        let output = command.args(arguments).stdin(input).output().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let said = self.wachter(arguments);
        assert_eq!(said.code, 0, "wachter {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said.stdout
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--output", "json"]].concat())).unwrap()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = self.command("git").args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start(&self) -> Node {
        self.start_command(&["run"])
    }

    /// A command that is not waited for.
    pub(crate) fn start_command(&self, arguments: &[&str]) -> Node {
        let log = self.path("node.log");
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let shown = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let child = self
            .command(executable("wachter"))
            .args(arguments)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Node { child, log, shown }
    }
}

/// A node at work; ended without mercy when dropped.
pub(crate) struct Node {
    pub(crate) child: Child,
    log: PathBuf,
    shown: usize,
}

impl Node {
    /// Waits until the node has said `words` since this was last asked.
    pub(crate) fn hear(&mut self, words: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&self.log).unwrap();
            if let Some(found) = text[self.shown..].find(words) {
                self.shown += found + words.len();
                return;
            }
            assert!(
                Instant::now() < until,
                "the node did not say `{words}` but: {}",
                &text[self.shown..]
            );
            assert!(self.child.try_wait().unwrap().is_none(), "the node ended: {text}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Forgets what was said so far.
    pub(crate) fn forget(&mut self) {
        self.shown = fs::read_to_string(&self.log).unwrap().len();
    }

    /// Kills it by SIGKILL, after some time that it may use.
    pub(crate) fn kill_after(&mut self, time: Duration) {
        std::thread::park_timeout(time);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill")
                .args([signal, &self.child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes whose working folder, executable or arguments name `folder`.
pub(crate) fn processes_of(folder: &std::path::Path) -> Vec<String> {
    let wanted = folder.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        if arguments.contains(&wanted) || environment.contains(&wanted) {
            found.push(format!("{} {arguments}", entry.file_name().to_string_lossy()));
        }
    }
    found
}
