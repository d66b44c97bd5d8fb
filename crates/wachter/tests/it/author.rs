//! A person with a home, a key and a managed repository.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use wachter_testkit::SshKey;

/// Someone at a terminal, in a home of their own.
#[derive(Clone)]
pub(crate) struct Author {
    home: Arc<TempDir>,
    folder: PathBuf,
    agent: Option<Arc<SshAgent>>,
    agent_socket: Option<PathBuf>,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Outcome {
    command: String,
    code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct SshAgent(Child);

impl Author {
    /// With an empty home.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("keys")).unwrap();
        // As `git` prints it, whatever links lead to the temporary folder.
        let folder = home.path().canonicalize().unwrap();
        Self { home: Arc::new(home), folder, agent: None, agent_socket: None }
    }

    /// With a repository in `fleet`, set up by `wachter init`.
    pub(crate) fn with_repository() -> Self {
        let author = Self::new();
        author.wachter(&["init", "--yes", "--name", "alice", "fleet"]).succeeds();
        author.within("fleet")
    }

    /// The same person in a folder below.
    pub(crate) fn within(&self, folder: &str) -> Self {
        Self { folder: self.folder.join(folder), ..self.clone() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().canonicalize().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `wachter`. No private key may show up in what it says.
    pub(crate) fn wachter(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command(&wachter_testkit::executable("wachter"));
        let output = command.args(arguments).output().unwrap();
        let outcome = Outcome {
            command: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        for secret in self.secrets() {
            let said = outcome.stdout.contains(&secret) || outcome.stderr.contains(&secret);
            assert!(!said, "a line of a private key was printed: {outcome:?}");
        }
        outcome
    }

    /// Runs `wachter` with `--output json`, which must succeed.
    pub(crate) fn plan(&self, arguments: &[&str]) -> Value {
        let outcome = self.wachter(&[arguments, &["--output", "json"]].concat());
        outcome.succeeds();
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// A node that sees the repository for the first time takes this release.
    pub(crate) fn node_takes(&self, sequence: u64) -> Value {
        let path = self.folder.display().to_string();
        let verdict = self.plan(&["verify", "--repository", &path]);
        assert_eq!(verdict["accepted"]["sequence"], sequence, "{verdict}");
        verdict["accepted"].clone()
    }

    /// A node that sees the repository for the first time takes nothing, for this reason.
    pub(crate) fn node_refuses(&self, reason: &str) {
        let path = self.folder.display().to_string();
        self.wachter(&["verify", "--repository", &path]).fails(3, reason);
    }

    /// Runs `git`, which must succeed.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let mut command = self.command(Path::new("git"));
        command
            .args(["-c", "user.name=Alice", "-c", "user.email=alice@example.com"])
            .args(arguments);
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "A change"]);
    }

    /// Signs a tag with any message, as someone who does not use `wachter` would.
    pub(crate) fn tag(&self, name: &str, commit: &str, message: &str, key: &SshKey) {
        self.tag_with(&key.private().display().to_string(), name, commit, message);
    }

    pub(crate) fn tag_with(&self, key: &str, name: &str, commit: &str, message: &str) {
        let file = self.home().join("message");
        fs::write(&file, message).unwrap();
        let signing = format!("user.signingkey={key}");
        let file = file.display().to_string();
        self.git(&["-c", &signing, "tag", "-s", "--cleanup=verbatim", "-F", &file, name, commit]);
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.join(path)).unwrap()
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.folder.join(path)).unwrap();
    }

    pub(crate) fn executable(&self, path: &str) {
        fs::set_permissions(self.folder.join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn new_key(&self, name: &str) -> SshKey {
        SshKey::generate(&self.home().join("keys"), name).unwrap()
    }

    /// A key under a passphrase.
    pub(crate) fn encrypted_key(&self, name: &str, passphrase: &str) -> PathBuf {
        let path = self.home().join("keys").join(name);
        let mut command = self.command(Path::new("ssh-keygen"));
        command.args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(&path);
        assert!(command.status().unwrap().success());
        path
    }

    pub(crate) fn fingerprint(&self, public: &Path) -> String {
        let output = self.command(Path::new("ssh-keygen")).arg("-lf").arg(public).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    /// `ssh-keygen -Y verify` says yes.
    pub(crate) fn openssh_agrees(
        &self,
        who: &str,
        namespace: &str,
        allowed: &str,
        file: &str,
        signature: &str,
    ) {
        let list = self.home().join("allowed-signers");
        fs::write(&list, allowed).unwrap();
        let mut command = self.command(Path::new("ssh-keygen"));
        command
            .args(["-Y", "verify", "-I", who, "-n", namespace, "-f"])
            .arg(list)
            .arg("-s")
            .arg(signature);
        command.stdin(fs::File::open(self.folder.join(file)).unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts an empty `ssh-agent`, which ends with this person.
    pub(crate) fn start_agent(&mut self) {
        let socket = self.home().join("agent");
        let mut command = self.command(Path::new("ssh-agent"));
        let mut child =
            command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        self.agent = Some(Arc::new(SshAgent(child)));
        self.agent_at(&socket);
    }

    /// Believes that an agent listens there.
    pub(crate) fn agent_at(&mut self, socket: &Path) {
        self.agent_socket = Some(socket.to_owned());
    }

    pub(crate) fn add_to_agent(&self, key: &Path, passphrase: &str) {
        let answer = self.home().join("askpass");
        let mut script = fs::File::create(&answer).unwrap();
        writeln!(script, "#!/bin/sh\necho '{passphrase}'").unwrap();
        drop(script);
        fs::set_permissions(&answer, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = self.command(Path::new("ssh-add"));
        command.arg("-q").arg(key).env("SSH_ASKPASS", answer).env("SSH_ASKPASS_REQUIRE", "force");
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The lines of all private keys.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for folder in ["keys", ".config/wachter/keys"] {
            let entries = fs::read_dir(self.home().join(folder)).into_iter().flatten();
            for path in
                entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_none())
            {
                let text = fs::read_to_string(path).unwrap();
                secrets.extend(
                    text.lines()
                        .filter(|line| line.len() > 40 && !line.contains("-----"))
                        .map(str::to_owned),
                );
            }
        }
        secrets
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.home()).env("USER", "alice").env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        // For root the default lies in /etc.
        command.env("WACHTER_LOCAL_FILE", self.home().join("node.yaml"));
        command.env("WACHTER_DATA", self.home().join("data"));
        if let Some(socket) = &self.agent_socket {
            command.env("SSH_AUTH_SOCK", socket);
        }
        command
    }
}

impl Outcome {
    /// It succeeded.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert_eq!(
            self.code,
            Some(0),
            "`wachter {}`: {}{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }

    /// It failed with this exit code, and said this on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, expected: &str) -> &Self {
        let said = format!("`wachter {}`: {}{}", self.command, self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{said}");
        assert!(self.stderr.contains(expected), "{expected:?} is not in {said}");
        self
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
