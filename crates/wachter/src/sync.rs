//! `wachter sync`, `rollback`, `pin` and `unpin`: which release is in force.
//!
//! Where a node runs on the same data, it is told to look and does the work itself; holding and
//! letting go of releases is then refused, because two writers of one state would lose a change.

use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use wachter_gitops::Verdict;
use wachter_model::Duration;

use crate::failure::{CommandError, CommandResult, ExitKind, chain};
use crate::follow::{DataLock, Deploying, Follower, Locked};
use crate::output::{self, Format};
use crate::place::HostOptions;

#[derive(Args, Debug)]
pub(crate) struct SyncArguments {}

#[derive(Args, Debug)]
pub(crate) struct RollbackArguments {
    /// The release to go back to [default: the one before]
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct PinArguments {
    /// The release to stay on
    sequence: u64,
    /// For how long: 12h, 7d
    #[arg(long = "for", value_name = "TIME")]
    time: Duration,
}

/// The worker's entry: everything comes through stdin.
pub(crate) fn fetch_worker() -> ExitCode {
    wachter_gitops::worker_main(std::io::stdin(), std::io::stdout())
}

/// Opens the data for a change, or says what to do instead.
pub(crate) fn open(options: &HostOptions) -> Result<Opened, CommandError> {
    let host = options.host()?;
    match DataLock::take(&host.data) {
        Ok(lock) => Ok(Opened::Ours(Box::new(Follower::open(host)?), lock)),
        Err(Locked::By(process)) => Ok(Opened::Node(process)),
        Err(Locked::Failed(error)) => Err(error),
    }
}

pub(crate) enum Opened {
    Ours(Box<Follower>, DataLock),
    /// A node has it: its process.
    Node(Option<i32>),
}

impl Opened {
    pub(crate) fn ours(self) -> Result<(Follower, DataLock), CommandError> {
        match self {
            Self::Ours(follower, lock) => Ok((*follower, lock)),
            Self::Node(process) => {
                let process =
                    process.map(|process| format!(" (process {process})")).unwrap_or_default();
                Err(CommandError::failed(format!(
                    "a node is running{process}; stop it, change what is in force, and start it again"
                )))
            }
        }
    }
}

pub(crate) fn sync(_: SyncArguments, options: &HostOptions, format: Format) -> CommandResult {
    match open(options)? {
        Opened::Ours(mut follower, _lock) => {
            follower.fetch()?;
            judge_and_deploy(&mut follower, format)
        }
        Opened::Node(process) => {
            let process = process.and_then(rustix::process::Pid::from_raw);
            let process = process.ok_or_else(|| {
                CommandError::failed("a node is running, but not which process it is")
            })?;
            rustix::process::kill_process(process, rustix::process::Signal::HUP)
                .map_err(|errno| CommandError::failed(format!("cannot reach the node: {errno}")))?;
            output::talk("the node is looking now; see `wachter status`");
            Ok(())
        }
    }
}

/// What every command does that may bring a new release into force.
pub(crate) fn judge_and_deploy(follower: &mut Follower, format: Format) -> CommandResult {
    let now = Timestamp::now();
    let verdict = follower.judge(now)?;
    let deploying = follower.deploy(now)?;
    report(&verdict, &deploying, format)
}

/// What a refusal is called.
pub(crate) fn refusals(verdict: &Verdict) -> Vec<String> {
    verdict
        .refused
        .iter()
        .map(|refused| match refused.sequence {
            Some(sequence) => format!("release {sequence} refused: {}", chain(&refused.reason)),
            None => format!("the branch refused: {}", chain(&refused.reason)),
        })
        .collect()
}

fn report(verdict: &Verdict, deploying: &Deploying, format: Format) -> CommandResult {
    let mut refusals = refusals(verdict);
    refusals.extend(deploying.passed_over.iter().cloned());
    let in_force = deploying.deployment.as_ref().map(|deployment| deployment.sequence);
    match format {
        Format::Json => output::json(&json!({
            "accepted": verdict.accepted,
            "refused": refusals,
            "in_force": in_force,
        }))?,
        Format::Human => {
            for refusal in &refusals {
                output::data(refusal)?;
            }
            match (&verdict.accepted, in_force) {
                (Some(release), _) => output::data(format_args!(
                    "release {} accepted, signed by {}",
                    release.sequence,
                    release.signers.join(", ")
                ))?,
                (None, Some(sequence)) => {
                    output::data(format_args!("release {sequence} stays in force"))?;
                }
                (None, None) => output::data("no release is in force")?,
            }
        }
    }
    match refusals.into_iter().next() {
        Some(refusal) if verdict.accepted.is_none() || !deploying.passed_over.is_empty() => {
            Err(CommandError::new(ExitKind::Refused, refusal))
        }
        _ => Ok(()),
    }
}

pub(crate) fn rollback(
    arguments: &RollbackArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let (mut follower, _lock) = open(options)?.ours()?;
    let now = Timestamp::now();
    let sequence = follower.repository().rollback(arguments.to, now)?;
    follower.deploy(now)?;
    say(
        format,
        sequence,
        &format!(
            "release {sequence} is in force again, until a newer one than all so far is accepted"
        ),
    )
}

pub(crate) fn pin(
    arguments: &PinArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let (mut follower, _lock) = open(options)?.ours()?;
    let now = Timestamp::now();
    let time = SignedDuration::from_millis(i64::try_from(arguments.time.as_millis())?);
    let until = now.checked_add(time)?;
    follower.repository().pin(arguments.sequence, until, now)?;
    follower.deploy(now)?;
    say(
        format,
        arguments.sequence,
        &format!("release {} is in force until {until}", arguments.sequence),
    )
}

pub(crate) fn unpin(options: &HostOptions, format: Format) -> CommandResult {
    let (mut follower, _lock) = open(options)?.ours()?;
    follower.repository().unpin()?;
    let now = Timestamp::now();
    let deployment = follower.deploy(now)?.deployment;
    let sequence = deployment.map_or(0, |deployment| deployment.sequence);
    say(format, sequence, &format!("release {sequence} is in force"))
}

fn say(format: Format, sequence: u64, sentence: &str) -> CommandResult {
    match format {
        Format::Json => output::json(&json!({ "in_force": sequence })),
        Format::Human => output::data(sentence),
    }
}
