//! One build of a Python module's environment, from request to report. What is installed is none of
//! this side's business: it lets the build reach the package index, and hears how it went.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, ModuleName, RunId};
use wachter_protocol::launcher::{
    Build, BuildOutcome, End, RefusalKind, StopReason, ToLauncher, Usage,
};
use wachter_protocol::{Egress, Grant, Python};

use crate::egress::{Broker, Connection, ConnectionEnd};
use crate::jailed::{Course, Jailed, Over};
use crate::launcher::{Launcher, LauncherGone};
use crate::lines::{Lines, read_some};
use crate::output::{OutputError, printable};

/// How much of what the build says is kept: its end, where the reason stands.
const KEPT: usize = 8 << 10;
/// The most that a build may say.
const MAX_OUTPUT: usize = 4 << 20;
/// Connections of a build at one time: it asks for several packages at once.
const CONNECTIONS: u32 = 64;

/// A module, and where its packages come from.
#[derive(Clone, Debug)]
pub struct BuildOrder {
    /// The build's name, one that was not used before.
    pub run: RunId,
    /// The module.
    pub module: ModuleName,
    /// Which of its versions.
    pub digest: Digest,
    /// What the owner of the host says of builds.
    pub python: Python,
}

/// How a build went.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildReport {
    /// What came of it.
    pub verdict: BuildVerdict,
    /// Connections to the index, and those that were not let out.
    pub connections: Vec<Connection>,
    /// What was used; nothing where there was nothing to build.
    pub usage: Usage,
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildVerdict {
    /// The environment was there.
    Present(Digest),
    /// It is there now.
    Built(Digest),
    /// It is not.
    Failed(BuildFailure),
}

/// Why there is no environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildFailure {
    /// It was not begun.
    #[error("{reason}")]
    NotBegun {
        /// What kind of refusal.
        kind: RefusalKind,
        /// The reason, and what to do.
        reason: String,
    },
    /// `uv` could not install what the lock file names.
    #[error("its packages cannot be installed: {said}; {advice}")]
    Packages {
        /// What `uv` said last, in one line.
        said: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// What was installed cannot be used.
    #[error("what its packages install cannot be used: {0}")]
    Refused(String),
    /// It took too long.
    #[error(
        "the build took longer than its time limit; raise `python.limits.timeout` in the local file"
    )]
    Timeout,
    /// It took too much memory.
    #[error(
        "the build used more than its memory limit; raise `python.limits.memory` in the local file"
    )]
    Memory,
    /// It wrote too much.
    #[error(
        "the build wrote more than its disk limit; raise `python.limits.disk` in the local file"
    )]
    Disk,
    /// It was stopped.
    #[error("the build was stopped")]
    Stopped,
    /// The launcher or its part of the build was killed.
    #[error("the build was lost with the launcher")]
    Lost,
}

/// Sees that the environment of a module is there, and builds it where it is not. `observe` hears each
/// line that `uv` writes; `cancel` ends the build.
///
/// # Errors
/// The launcher is gone before the build began. Everything else is in the report.
pub async fn build_environment(
    launcher: &Launcher,
    order: BuildOrder,
    cancel: &CancellationToken,
    mut observe: impl FnMut(&str),
) -> Result<BuildReport, LauncherGone> {
    let run = order.run;
    let failed = |failure| BuildVerdict::Failed(failure);
    let at_once =
        |verdict| BuildReport { verdict, connections: Vec::new(), usage: Usage::default() };
    // The same that the launcher works out: it is told here too, where a wrong index can be said.
    let grant = match Grant::for_environment(order.digest, &order.python) {
        Ok(grant) => grant,
        Err(error) => {
            let (kind, reason) = (RefusalKind::Setup, error.to_string());
            return Ok(at_once(failed(BuildFailure::NotBegun { kind, reason })));
        }
    };
    let request = ToLauncher::Build(Build { run, name: order.module, module: order.digest });
    let quotas = Egress { connections: CONNECTIONS, bytes: grant.limits().disk };
    let broker = Arc::new(Broker::new(&grant, &quotas));
    let jailed = Jailed { run, request, politely: false, input: Vec::new(), broker };
    let mut said = Said::default();
    let seen = jailed
        .see_through(launcher, cancel, |stdout, stderr| said.hear(stdout, stderr, &mut observe));
    let Over { heard, ended, connections } = match seen.await? {
        Course::Over(over) => over,
        Course::Built(outcome) => return Ok(at_once(settled(outcome))),
        Course::Cancelled => return Ok(at_once(failed(BuildFailure::Stopped))),
        Course::Refused(refused) => {
            let (kind, reason) = (refused.kind, refused.reason);
            return Ok(at_once(failed(BuildFailure::NotBegun { kind, reason })));
        }
    };
    let usage = ended.as_ref().map_or_else(Usage::default, |ended| ended.exited.usage);
    let end = ended.as_ref().map_or(End::Lost, |ended| ended.exited.end);
    let built = ended.and_then(|ended| ended.built);
    let verdict = match (end, built) {
        (_, Some(outcome)) => settled(outcome),
        (End::Timeout, None) => failed(BuildFailure::Timeout),
        (End::Memory, None) => failed(BuildFailure::Memory),
        (End::Disk, None) => failed(BuildFailure::Disk),
        (End::Stopped(StopReason::Cancelled), None) => failed(BuildFailure::Stopped),
        (End::Lost | End::Code(0), None) => failed(BuildFailure::Lost),
        (End::Code(_) | End::Signal(_) | End::Stopped(_), None) => {
            let mut said = if heard.is_err() { "it said too much".to_owned() } else { said.last() };
            let advice = advice(&said, &connections);
            // What kept it from its index, uv cannot tell.
            let kept_back = connections.iter().find_map(|connection| match &connection.end {
                ConnectionEnd::Refused(reason) => Some((&connection.endpoint, reason)),
                _ => None,
            });
            if let Some((endpoint, reason)) = kept_back {
                let reason = reason.split(';').next().unwrap_or_default();
                said = format!("{said} ({endpoint} was not reached: {reason})");
            }
            failed(BuildFailure::Packages { said, advice })
        }
    };
    Ok(BuildReport { verdict, connections, usage })
}

fn settled(outcome: BuildOutcome) -> BuildVerdict {
    match outcome {
        BuildOutcome::Present(key) => BuildVerdict::Present(key),
        BuildOutcome::Kept(key) => BuildVerdict::Built(key),
        BuildOutcome::Refused(reason) => BuildVerdict::Failed(BuildFailure::Refused(reason)),
    }
}

/// What to do, by what `uv` said and where it could not get to.
fn advice(said: &str, connections: &[Connection]) -> &'static str {
    let kept_back =
        connections.iter().any(|connection| matches!(connection.end, ConnectionEnd::Refused(_)));
    let not_reached =
        connections.iter().any(|connection| matches!(connection.end, ConnectionEnd::Failed(_)));
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let full = connections.iter().any(|connection| connection.end == ConnectionEnd::Quota);
    if full {
        return "it is larger than a build may be: raise `python.limits.disk` in the local file";
    }
    if kept_back {
        return "name the host that was not reached under `python.hosts`, or its range under `python.network_ranges`, in the local file";
    }
    if says(&["Hash mismatch", "hash mismatch"]) {
        return "the index has another file than was locked: find out why, and lock it anew with `uv pip compile --generate-hashes` only if it is right";
    }
    if says(&["--require-hashes", "no trusted hash", "must be pinned"]) {
        return "lock every package with its digests: `uv pip compile --generate-hashes requirements.in`";
    }
    if says(&[
        "no wheels",
        "no usable wheels",
        "source distribution",
        "building source",
        "only-binary",
        "no-build",
    ]) {
        return "nothing is built here, since that would run code of the package: take a version that has a wheel for this Python and machine";
    }
    if says(&["No space left", "os error 28"]) {
        return "make room, or raise `python.limits.disk` in the local file";
    }
    if not_reached || says(&["error sending request", "Failed to fetch", "client error"]) {
        return "see whether this host reaches `python.index`; it is tried again";
    }
    "correct the lock file, sign the module again and make a release"
}

/// What a build said.
#[derive(Default)]
struct Said {
    kept: Vec<u8>,
    total: usize,
}

impl Said {
    /// Hears both streams to their end.
    async fn hear(
        &mut self,
        stdout: OwnedFd,
        stderr: OwnedFd,
        observe: &mut impl FnMut(&str),
    ) -> Result<(), OutputError> {
        let open = |fd| pipe::Receiver::from_owned_fd(fd).ok();
        let (mut stdout, mut stderr) = (open(stdout), open(stderr));
        let (mut out, mut err) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        let mut lines = Lines::default();
        while stdout.is_some() || stderr.is_some() {
            let piece = tokio::select! {
                read = read_some(&mut stdout, &mut out) => match read {
                    Some(bytes) => &out[..bytes],
                    None => { stdout = None; continue }
                },
                read = read_some(&mut stderr, &mut err) => match read {
                    Some(bytes) => &err[..bytes],
                    None => { stderr = None; continue }
                },
            };
            self.total += piece.len();
            if self.total > MAX_OUTPUT {
                return Err(OutputError::TooMuch);
            }
            self.kept.extend_from_slice(piece);
            self.kept.drain(..self.kept.len().saturating_sub(KEPT));
            lines.feed(piece, |line| observe(&line));
        }
        lines.finish(|line| observe(&line));
        Ok(())
    }

    /// The error that stands at the end, with its causes, in one line without the drawing around it.
    fn last(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        let begins = |line: &&str| line.starts_with("error:") || line.starts_with('\u{d7}');
        let begin = lines.iter().rposition(begins).unwrap_or(0);
        let mut said = String::new();
        for line in &lines[begin..] {
            let line = line
                .trim_start_matches(|character: char| !character.is_ascii() || character == ' ');
            let line = line.trim_start_matches("error:");
            let (between, line) = match line.strip_prefix("cause:") {
                Some(cause) => (": ", cause),
                None if line.starts_with("hint:") => ("; ", line),
                None => (" ", line),
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                if !said.is_empty() {
                    said.push_str(between);
                }
                said.push_str(&words.join(" "));
            }
        }
        match said.trim_end_matches('.') {
            "" => "uv said nothing".to_owned(),
            said => printable(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str, advised: &str) {
        let said = Said { kept: text.as_bytes().to_vec(), total: text.len() };
        assert_eq!(said.last(), expected);
        assert!(advice(&said.last(), &[]).contains(advised), "{}", advice(&said.last(), &[]));
    }

    #[test]
    fn the_reason_is_found_in_what_uv_says() {
        check(
            "Using Python 3.11\n  \u{d7} Failed to download `six==1.16.0`\n  \u{2570}\u{2500}\u{25b6} Hash mismatch for `six==1.16.0`\n\n      Expected:\n        sha256:00\n",
            "Failed to download `six==1.16.0` Hash mismatch for `six==1.16.0` Expected: sha256:00",
            "another file than was locked",
        );
        check(
            "Using CPython 3.11.2\nerror: Request failed after 3 retries\n  cause: Failed to fetch: https://a/\n  cause: tunnel error: unsuccessful\n",
            "Request failed after 3 retries: Failed to fetch: https://a/: tunnel error: unsuccessful",
            "reaches `python.index`",
        );
        check(
            "error: No solution found\n  cause: Because a==1 has no usable wheels, your requirements are unsatisfiable.\n\nhint: Wheels are required\n",
            "No solution found: Because a==1 has no usable wheels, your requirements are unsatisfiable.; hint: Wheels are required",
            "has a wheel for this Python",
        );
        check(
            "error: In `--require-hashes` mode, all requirements must have a hash, but none were provided for: six\n",
            "In `--require-hashes` mode, all requirements must have a hash, but none were provided for: six",
            "--generate-hashes",
        );
        check("", "uv said nothing", "correct the lock file");
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_line(bytes: Vec<u8>) {
            let said = Said { total: bytes.len(), kept: bytes }.last();
            prop_assert!(!said.is_empty());
            prop_assert!(!said.chars().any(char::is_control), "{said:?}");
        }
    }
}
