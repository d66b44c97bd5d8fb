//! `wachter sync`, `rollback`, `pin` and `unpin`: which release is in force.
//!
//! Where a node runs on the same data, it is told to look, does the work itself, and is waited for;
//! holding and letting go of releases is then refused, because two writers of one state would lose a
//! change.

use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use wachter_file::FileLock;
use wachter_gitops::{AcceptedRelease, Refusal, Refused, Verdict};
use wachter_model::Duration;

use crate::data_lock::{self, Locked};
use crate::failure::{CommandError, CommandResult, ExitKind, chain};
use crate::follow::Follower;
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

/// Opens the data for a change by the command `purpose`, or says what to do instead.
pub(crate) fn open(
    options: &HostOptions,
    purpose: &str,
) -> Result<(Follower, FileLock), CommandError> {
    let host = options.host()?;
    let lock = data_lock::take(&host.data, purpose).map_err(Locked::into_error)?;
    Ok((Follower::open(host)?, lock))
}

pub(crate) fn sync(_: SyncArguments, options: &HostOptions, format: Format) -> CommandResult {
    let host = options.host()?;
    match data_lock::take(&host.data, "sync") {
        Ok(_lock) => {
            let mut follower = Follower::open(host)?;
            follower.fetch()?;
            judge_and_deploy(&mut follower, format)
        }

        Err(other) => Err(other.into_error()),
    }
}

/// What every command does that may bring a new release into force.
pub(crate) fn judge_and_deploy(follower: &mut Follower, format: Format) -> CommandResult {
    let now = Timestamp::now();
    let verdict = follower.judge(now)?;
    let deploying = follower.deploy(now)?;
    let mut refused = refusals(&verdict);
    refused.extend(deploying.passed_over.iter().cloned());
    let outcome = Outcome {
        accepted: verdict.accepted,
        refused,
        in_force: deploying.deployment.as_ref().map(|deployment| deployment.sequence),
        passed_over: !deploying.passed_over.is_empty(),
    };
    let result = report(&outcome, format);
    if let Err(error) = follower.tidy() {
        output::talk(format_args!("the node's own repository stays untidy: {error}"));
    }
    result
}

/// What was refused, but for what is meant for other nodes: that is nothing to look at.
pub(crate) fn refusals(verdict: &Verdict) -> Vec<String> {
    let other_ring = |refused: &&Refused| matches!(refused.reason, Refusal::OtherRing(_));
    verdict.refused.iter().filter(|refused| !other_ring(refused)).map(sentence).collect()
}

/// All that was refused, for who asks about it.
pub(crate) fn everything(verdict: &Verdict) -> Vec<String> {
    verdict.refused.iter().map(sentence).collect()
}

fn sentence(refused: &Refused) -> String {
    match refused.sequence {
        Some(sequence) => format!("release {sequence} refused: {}", chain(&refused.reason)),
        None => format!("the branch refused: {}", chain(&refused.reason)),
    }
}

/// What came of a look.
pub(crate) struct Outcome {
    pub(crate) accepted: Option<AcceptedRelease>,
    pub(crate) refused: Vec<String>,
    pub(crate) in_force: Option<u64>,
    /// Whether an accepted release is wrong in itself, so that an earlier one stays.
    pub(crate) passed_over: bool,
}

fn report(outcome: &Outcome, format: Format) -> CommandResult {
    let Outcome { accepted, refused, in_force, passed_over } = outcome;
    match format {
        Format::Json => output::json(&json!({
            "accepted": accepted,
            "refused": refused,
            "in_force": in_force,
        }))?,
        Format::Human => {
            for refusal in refused {
                output::data(refusal)?;
            }
            match (accepted, in_force) {
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
    if in_force.is_none() && refused.is_empty() {
        output::talk("the repository has no release; make one with `wachter release --push`");
    }
    match refused.first() {
        Some(refusal) if accepted.is_none() || *passed_over => {
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
    let (mut follower, _lock) = open(options, "rollback")?;
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
    let (mut follower, _lock) = open(options, "pin")?;
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
    let (mut follower, _lock) = open(options, "unpin")?;
    follower.repository().unpin()?;
    let now = Timestamp::now();
    let deployment = follower.deploy(now)?.deployment;
    let sequence = deployment.map_or(0, |deployment| deployment.sequence);
    say(format, sequence, &format!("release {sequence} is in force"))
}

fn say(format: Format, sequence: u64, sentence: &str) -> CommandResult {
    output::result(format, &json!({ "in_force": sequence }), sentence)
}
