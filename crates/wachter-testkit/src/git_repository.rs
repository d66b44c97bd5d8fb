use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::SshKey;

/// A Git repository with a work tree, driven by the `git` program.
///
/// No configuration of the user or the system is read. Dates and names are fixed, so that the same
/// steps give the same object ids.
#[derive(Clone, Debug)]
pub struct GitRepository {
    path: PathBuf,
}

/// One line for [`GitRepository::make_tree`].
#[derive(Clone, Debug)]
pub struct TreeEntry<'a> {
    /// Six octal digits, as in `git ls-tree`, without a leading zero for folders.
    pub mode: &'a str,
    /// The object, in hexadecimal.
    pub id: &'a str,
    /// The name, as raw bytes.
    pub name: &'a [u8],
}

/// What went wrong when `git` was run.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be started or talked to.
    #[error("`git` cannot be run")]
    Run(#[from] io::Error),
    /// It said no.
    #[error("`git {command}` failed: {stderr}")]
    Failed {
        /// The arguments.
        command: String,
        /// What it wrote to stderr.
        stderr: String,
    },
}

impl GitRepository {
    /// Makes an empty repository at `path`, with the branch `main`.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn init(path: impl Into<PathBuf>) -> Result<Self, GitError> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        let repository = Self { path };
        repository.git(&["init", "-q", "-b", "main", "."])?;
        repository.git(&["config", "user.name", "Test"])?;
        repository.git(&["config", "user.email", "test@example.com"])?;
        // A server must never collect garbage in the middle of a test.
        repository.git(&["config", "gc.auto", "0"])?;
        Ok(repository)
    }

    /// The folder of the work tree.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `git` in the repository and returns its stdout without the last line feed.
    ///
    /// # Errors
    /// When it exits with another status than 0.
    pub fn git(&self, arguments: &[&str]) -> Result<String, GitError> {
        let output = self.git_with_input(arguments, b"")?;
        Ok(String::from_utf8_lossy(&output).trim_end_matches('\n').to_owned())
    }

    /// Runs `git` with `input` on its stdin and returns its stdout as it is.
    ///
    /// # Errors
    /// When it exits with another status than 0.
    pub fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let mut child = command()
            .args(arguments)
            .current_dir(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        let input = input.to_vec();
        // In a thread, for a program that answers before it has read everything.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        let written = writer.join().expect("the writer does not panic");
        if !output.status.success() {
            return Err(GitError::Failed {
                command: arguments.join(" "),
                stderr: String::from_utf8_lossy(&output.stderr).trim_end().to_owned(),
            });
        }
        written?;
        Ok(output.stdout)
    }

    /// Writes a file of the work tree, with its folders.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
        let file = self.path.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, content)
    }

    /// Commits everything in the work tree and returns the commit's id.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn commit(&self, message: &str) -> Result<String, GitError> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// As [`GitRepository::commit`], signed by `key` (`git commit -S` with `gpg.format=ssh`).
    ///
    /// # Errors
    /// When `git` or `ssh-keygen` fails.
    pub fn commit_signed(&self, message: &str, key: &SshKey) -> Result<String, GitError> {
        self.git(&["add", "-A"])?;
        let signing = format!("user.signingkey={}", key.private().display());
        let sign = ["-c", "gpg.format=ssh", "-c", &signing];
        let commit = ["commit", "-q", "-S", "--allow-empty", "-m", message];
        self.git(&[&sign[..], &commit[..]].concat())?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Makes an annotated tag on `target` signed by `key` (`git tag -s` with `gpg.format=ssh`).
    /// The message is taken as it is: no line is stripped.
    ///
    /// # Errors
    /// When `git` or `ssh-keygen` fails, for instance because the tag exists.
    pub fn tag_signed(
        &self,
        name: &str,
        target: &str,
        message: &str,
        key: &SshKey,
    ) -> Result<(), GitError> {
        let signing = format!("user.signingkey={}", key.private().display());
        let sign = ["-c", "gpg.format=ssh", "-c", &signing];
        let tag = ["tag", "-s", "--cleanup=verbatim", "-F", "-", name, target];
        self.git_with_input(&[&sign[..], &tag[..]].concat(), message.as_bytes())?;
        Ok(())
    }

    /// Stores an object without asking whether it makes sense (`hash-object --literally`), and
    /// returns its id.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn store(&self, kind: &str, content: &[u8]) -> Result<String, GitError> {
        let arguments = ["hash-object", "-w", "--literally", "--stdin", "-t", kind];
        let output = self.git_with_input(&arguments, content)?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    /// Stores a tree with exactly these entries in exactly this order, however hostile.
    ///
    /// # Errors
    /// When `git` fails.
    ///
    /// # Panics
    /// When an id is not hexadecimal.
    pub fn make_tree(&self, entries: &[TreeEntry<'_>]) -> Result<String, GitError> {
        let mut content = Vec::new();
        for entry in entries {
            content.extend(entry.mode.as_bytes());
            content.push(b' ');
            content.extend(entry.name);
            content.push(0);
            let digits = entry.id.as_bytes().chunks(2);
            content.extend(digits.map(|pair| {
                let text = std::str::from_utf8(pair).expect("an object id is hexadecimal");
                u8::from_str_radix(text, 16).expect("an object id is hexadecimal")
            }));
        }
        self.store("tree", &content)
    }

    /// Stores a commit of `tree` and returns its id. No reference is moved.
    ///
    /// # Errors
    /// When `git` fails.
    pub fn make_commit(&self, tree: &str, parents: &[&str]) -> Result<String, GitError> {
        let mut content = format!("tree {tree}\n");
        for parent in parents {
            writeln!(content, "parent {parent}").expect("writing to a string does not fail");
        }
        let person = "Test <test@example.com> 1700000000 +0000";
        writeln!(content, "author {person}\ncommitter {person}\n\nmade by hand")
            .expect("writing to a string does not fail");
        self.store("commit", content.as_bytes())
    }
}

/// `git` with nothing of its user's configuration, and with fixed dates.
fn command() -> Command {
    let mut command = Command::new("git");
    let inherited = ["PATH", "TMPDIR", "HOME"].map(|name| (name, std::env::var_os(name)));
    command.env_clear();
    command.envs(inherited.into_iter().filter_map(|(name, value)| Some((name, value?))));
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ("GIT_COMMITTER_DATE", "1700000000 +0000"),
        ("LC_ALL", "C"),
    ]);
    command
}
