//! The `git` program: what writes, and reads, the author's own work tree.
//!
//! A node never comes here; it reads objects by itself, and so does whoever judges a commit as a node
//! does. The author's configuration stays in force
//! (`safe.directory`, ignored files, the identity of commits), but neither the environment nor
//! replaced and grafted objects can put another repository or history in this one's place.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::CommandError;

/// Variables that would lead `git` to another repository.
const LEADING_ELSEWHERE: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
];

/// `git` in one folder.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    folder: PathBuf,
}

impl Git {
    /// `git` in `folder`, which need not be a repository yet.
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root of the work tree that holds `start`, or nothing when there is none.
    pub(crate) fn discover(start: &Path) -> Result<Option<Self>, CommandError> {
        let git = Self::new(start);
        let output = git
            .command(&["rev-parse", "--show-toplevel"])
            .output()
            .map_err(|error| not_started(&error))?;
        if output.status.success() {
            let root = String::from_utf8(output.stdout)?;
            return Ok(Some(Self::new(root.trim_end_matches('\n'))));
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Only this one means that there is none; an unsafe owner, say, must be told.
        if stderr.contains("not a git repository") {
            return Ok(None);
        }
        Err(failed(&["rev-parse"], &stderr))
    }

    /// Runs `git` and gives its stdout.
    ///
    /// # Errors
    /// `git` is missing, or fails; with what it wrote to stderr.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, CommandError> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(&error))?;
        // Inputs here are a tag or a list of paths: they fit in a pipe or are read at once.
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input));
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(failed(arguments, &String::from_utf8_lossy(&output.stderr)));
        }
        written?;
        Ok(output.stdout)
    }

    /// Runs `git` and gives its stdout as text without the last line feed.
    ///
    /// # Errors
    /// As [`Git::run`], or text that is not UTF-8.
    pub(crate) fn text(&self, arguments: &[&str]) -> Result<String, CommandError> {
        let output = String::from_utf8(self.run(arguments, b"")?)?;
        Ok(output.trim_end_matches('\n').to_owned())
    }

    /// Runs `git` with the terminal, for what may ask for a password.
    ///
    /// # Errors
    /// `git` is missing or fails. It has said why itself.
    pub(crate) fn interactive(&self, arguments: &[&str]) -> Result<(), CommandError> {
        let mut command = self.command(arguments);
        command.env_remove("LC_ALL");
        // Data goes to stdout through one place, and this is talk.
        let output = command.stdout(Stdio::null()).status().map_err(|error| not_started(&error))?;
        if output.success() { Ok(()) } else { Err(failed(arguments, "see above")) }
    }

    /// A value of the author's configuration, with `~` expanded.
    pub(crate) fn config(&self, name: &str) -> Option<String> {
        let value = self.text(&["config", "--path", "--get", name]).ok()?;
        Some(value).filter(|value| !value.is_empty())
    }

    /// Whether anything is committed.
    pub(crate) fn has_head(&self) -> bool {
        self.run(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], b"").is_ok()
    }

    /// The paths that differ from the last commit: changed, staged or not added.
    pub(crate) fn dirty_paths(&self) -> Result<Vec<String>, CommandError> {
        let output = self.run(
            &["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"],
            b"",
        )?;
        let lines = output.split(|byte| *byte == 0).filter(|line| line.len() > 3);
        Ok(lines.map(|line| String::from_utf8_lossy(&line[3..]).into_owned()).collect())
    }

    /// The author, as Git would name them in a commit: name and mail address.
    pub(crate) fn identity(&self) -> Option<(String, String)> {
        // Without a configured address Git guesses one from the host's name, which nobody meant.
        let configured = |name: &str, variable: &str| {
            let variable = std::env::var(variable).ok().filter(|value| !value.is_empty());
            variable.or_else(|| self.config(name))
        };
        let name = configured("user.name", "GIT_COMMITTER_NAME")?;
        let email = configured("user.email", "GIT_COMMITTER_EMAIL")?;
        Some((name, email))
    }

    fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("git");
        // An empty file of grafts, as below, is no reason for advice.
        command.args(["--no-replace-objects", "-c", "advice.graftFileDeprecated=false"]);
        command.args(arguments).current_dir(&self.folder);
        for variable in LEADING_ELSEWHERE {
            command.env_remove(variable);
        }
        // Grafts make another history than the one that nodes see.
        command
            .env("GIT_GRAFT_FILE", "/dev/null")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C");
        command
    }
}

fn not_started(error: &io::Error) -> CommandError {
    CommandError::failed(format!("`git` cannot be started: {error}; install it"))
}

fn failed(arguments: &[&str], stderr: &str) -> CommandError {
    let subcommand =
        arguments.iter().find(|argument| !argument.starts_with('-') && !argument.contains('='));
    let stderr = stderr.trim().replace('\n', "; ");
    CommandError::failed(format!("`git {}` failed: {stderr}", subcommand.unwrap_or(&"")))
}
