//! Runs the executables as a person would, and shows what they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use wachter_testkit::{GitServer, author_command, executable};

use crate::say;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A home, a managed repository in it and a server for it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) server: GitServer,
}

impl Place {
    pub(crate) fn make() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("wachter-demo-").tempdir()?;
        fs::create_dir(folder.path().join("git"))?;
        let server = GitServer::serve(folder.path().join("git"))?;
        Ok(Self { folder, server })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("infra")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.path("key")
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        author_command(self.folder.path(), program.as_ref())
    }

    /// Runs `wachter` and shows the command and what it said.
    pub(crate) fn wachter(&self, arguments: &[&str]) -> Outcome<String> {
        let (text, success) = self.try_wachter(arguments)?;
        if success {
            Ok(text)
        } else {
            Err(format!("`wachter {}` failed", arguments.join(" ")).into())
        }
    }

    /// The same for a command that must not succeed.
    pub(crate) fn refused(&self, arguments: &[&str]) -> Outcome<()> {
        let (_, success) = self.try_wachter(arguments)?;
        if success {
            Err(format!("`wachter {}` went well", arguments.join(" ")).into())
        } else {
            Ok(())
        }
    }

    /// The same for a command that may well refuse.
    pub(crate) fn try_wachter(&self, arguments: &[&str]) -> Outcome<(String, bool)> {
        say(&format!("\n$ wachter {}", arguments.join(" ")));
        let output = self.command(executable("wachter")).args(arguments).output()?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        for line in text.lines() {
            say(&format!("  {line}"));
        }
        Ok((text, output.status.success()))
    }

    /// Runs `git` in the repository without showing it.
    pub(crate) fn git(&self, arguments: &[&str]) -> Outcome<String> {
        let output = self.command("git").args(arguments).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("`git {}` failed: {said}", arguments.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Starts the node; what it says goes to a file.
    pub(crate) fn start_node(&self) -> Outcome<Node> {
        say("\n$ wachter run &");
        let log = self.path("node.log");
        let file = fs::File::create(&log)?;
        let child = self
            .command(executable("wachter"))
            .arg("run")
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Node { child, log, shown: 0 })
    }
}

/// A node at work. Ended when dropped.
pub(crate) struct Node {
    child: Child,
    log: PathBuf,
    shown: usize,
}

impl Node {
    /// Ends it by SIGKILL, as a power cut would.
    pub(crate) fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until the node has said each of `words` since the last time, and shows what it said.
    pub(crate) fn hear(&mut self, words: &[&str]) -> Outcome<()> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = fs::read_to_string(&self.log)?;
            let new = text.get(self.shown..).unwrap_or_default();
            if all_in(new, words) {
                for line in new.lines() {
                    say(&format!("  {line}"));
                }
                self.shown = text.len();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the node ended with {status}: {new}").into());
            }
            if Instant::now() > until {
                return Err(format!("the node did not say {words:?}, but: {new}").into());
            }
            // A person watches: what happens in between is not missed by looking now and then.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Whether each word is there, as often as it is asked for.
fn all_in(text: &str, words: &[&str]) -> bool {
    words.iter().all(|word| {
        let asked = words.iter().filter(|other| *other == word).count();
        text.matches(word).count() >= asked
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}
