//! `wachter sync`, `rollback`, `pin`, `unpin` and `apply`: which release is in force.
//!
//! Where a node runs on the same data it is asked, and does the work itself: two writers of one state
//! would lose a change. Where none runs, the command works on the files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use wachter_api::shapes::{ApplyBundle, Pin, Release, ReleaseReport, Rollback};
use wachter_api::{
    ApplyReleaseBundle, Nothing, PinRelease, RollBack, Single, Synchronize, UnpinRelease,
};
use wachter_file::FileLock;
use wachter_gitops::{Refusal, Refused, Verdict};
use wachter_model::Duration;

use crate::client::Node;
use crate::data_lock::{self, Locked};
use crate::failure::{CommandError, CommandResult, ExitKind, chain};
use crate::follow::Follower;
use crate::node::{Deployed, held};
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
    /// The release to stay on [default: the one in force]
    sequence: Option<u64>,
    /// For how long: 12h, 7d
    #[arg(long = "for", value_name = "TIME")]
    time: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArguments {
    /// A file made by `git bundle create FILE main --tags`; a node that runs must be able to read it
    bundle: PathBuf,
}

/// The worker's entry: everything comes through stdin.
pub(crate) fn fetch_worker() -> ExitCode {
    wachter_gitops::worker_main(std::io::stdin(), std::io::stdout())
}

pub(crate) fn sync(_: SyncArguments, options: &HostOptions, format: Format) -> CommandResult {
    let report = match ask::<Synchronize>(options, &Nothing {})? {
        Some(report) => report,
        None => {
            let mut files = Files::open(options, "sync")?;
            files.follower.fetch()?;
            files.judge_and_deploy()?
        }
    };
    say_what_was_found(&report, format)
}

pub(crate) fn apply(
    arguments: ApplyArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let path = std::path::absolute(arguments.bundle)?;
    let text = path.to_str().ok_or_else(|| {
        CommandError::usage(format!("{} is not UTF-8; rename it", path.display()))
    })?;
    let bundle = ApplyBundle { path: text.to_owned() };
    let report = match ask::<ApplyReleaseBundle>(options, &bundle)? {
        Some(report) => report,
        None => {
            let mut files = Files::open(options, "apply")?;
            files.follower.take_bundle(path)?;
            files.judge_and_deploy()?
        }
    };
    say_what_was_found(&report, format)
}

pub(crate) fn rollback(
    arguments: &RollbackArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let to = arguments.to;
    let report = match ask::<RollBack>(options, &Rollback { to })? {
        Some(report) => report,
        None => {
            let mut files = Files::open(options, "rollback")?;
            files.follower.repository().rollback(to, Timestamp::now())?;
            files.deploy(Vec::new())?
        }
    };
    say(&report, format, |sequence| {
        format!(
            "release {sequence} is in force again, until a newer one than all so far is accepted"
        )
    })
}

pub(crate) fn pin(
    arguments: &PinArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let PinArguments { sequence, time } = *arguments;
    let now = Timestamp::now();
    let time = SignedDuration::from_millis(i64::try_from(time.as_millis())?);
    let until = now.checked_add(time)?;
    let report = match ask::<PinRelease>(options, &Pin { sequence, until })? {
        Some(report) => report,
        None => {
            let mut files = Files::open(options, "pin")?;
            let repository = files.follower.repository();
            let in_force = repository.state().in_force(now).map(|release| release.sequence);
            let sequence = sequence.or(in_force).ok_or_else(|| {
                CommandError::failed("no release is in force to stay on; run `wachter sync` first")
            })?;
            repository.pin(sequence, until, now)?;
            files.deploy(Vec::new())?
        }
    };
    say(&report, format, |sequence| format!("release {sequence} is in force until {until}"))
}

pub(crate) fn unpin(options: &HostOptions, format: Format) -> CommandResult {
    let report = match ask::<UnpinRelease>(options, &Nothing {})? {
        Some(report) => report,
        None => {
            let mut files = Files::open(options, "unpin")?;
            files.follower.repository().unpin()?;
            files.deploy(Vec::new())?
        }
    };
    say(&report, format, |sequence| format!("release {sequence} is in force"))
}

/// Asks the node of this host; none where none runs.
fn ask<E>(options: &HostOptions, body: &E::Body) -> Result<Option<E::Answer>, CommandError>
where
    E: Single<Query = Nothing, Answer = ReleaseReport>,
{
    let node = Node::new(options);
    // Ended before anything is fetched: what works on the files blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(node.ask::<E>(&Nothing {}, body))
}

/// What a node without a process has: its data folder, locked.
struct Files {
    follower: Follower,
    data: PathBuf,
    /// The release in force before.
    before: Option<u64>,
    _lock: FileLock,
}

impl Files {
    fn open(options: &HostOptions, purpose: &str) -> Result<Self, CommandError> {
        let host = options.host()?;
        let lock = data_lock::take(&host.data, purpose).map_err(Locked::into_error)?;
        let data = host.data.clone();
        let before = Deployed::read(&data).ok().map(|deployed| deployed.release.sequence);
        Ok(Self { follower: Follower::open(host)?, data, before, _lock: lock })
    }

    /// What every command does that may bring a new release into force.
    fn judge_and_deploy(&mut self) -> Result<ReleaseReport, CommandError> {
        let verdict = self.follower.judge(Timestamp::now())?;
        let report = self.deploy(refusals(&verdict))?;
        if let Err(error) = self.follower.tidy() {
            output::talk(format_args!("the node's own repository stays untidy: {error}"));
        }
        Ok(report)
    }

    fn deploy(&mut self, mut refused: Vec<String>) -> Result<ReleaseReport, CommandError> {
        let deploying = self.follower.deploy(Timestamp::now())?;
        refused.extend(deploying.passed_over);
        let held = deploying.deployment.as_ref().map(held).unwrap_or_default();
        let pin = self.follower.repository().state().pin;
        let release = deploying.deployment.and_then(|_| Deployed::read(&self.data).ok());
        let release = release.map(|deployed| {
            let release = deployed.release;
            Release {
                sequence: release.sequence,
                commit: release.commit.to_string(),
                signers: release.signers,
                accepted_at: release.accepted_at,
                not_after: release.not_after,
                pinned_until: pin
                    .filter(|pin| pin.sequence == release.sequence)
                    .map(|pin| pin.until),
            }
        });
        let sequence = release.as_ref().map(|release| release.sequence);
        Ok(ReleaseReport { changed: sequence != self.before, release, refused, held })
    }
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

/// Says what came of a look. Where it brought no new release and something was refused, that is how
/// the command ends.
fn say_what_was_found(report: &ReleaseReport, format: Format) -> CommandResult {
    let ReleaseReport { release, changed, refused, held } = report;
    match format {
        Format::Json => output::json(&value(report))?,
        Format::Human => {
            for refusal in refused {
                output::data(refusal)?;
            }
            match release {
                Some(release) if *changed => output::data(format_args!(
                    "release {} accepted, signed by {}",
                    release.sequence,
                    release.signers.join(", ")
                ))?,
                Some(release) => {
                    output::data(format_args!("release {} stays in force", release.sequence))?;
                }
                None => output::data("no release is in force")?,
            }
            if *changed {
                held.iter().for_each(output::talk);
            }
        }
    }
    if release.is_none() && refused.is_empty() {
        output::talk("the repository has no release; make one with `wachter release --push`");
    }
    match refused.first() {
        Some(refusal) if !changed => Err(CommandError::new(ExitKind::Refused, refusal)),
        _ => Ok(()),
    }
}

/// Says which release somebody chose.
fn say(
    report: &ReleaseReport,
    format: Format,
    sentence: impl FnOnce(u64) -> String,
) -> CommandResult {
    let words = match &report.release {
        Some(release) => sentence(release.sequence),
        None => "no release is in force".to_owned(),
    };
    output::result(format, &value(report), words)
}

fn value(report: &ReleaseReport) -> serde_json::Value {
    let ReleaseReport { release, changed, refused, held } = report;
    json!({
        "in_force": release.as_ref().map(|release| release.sequence),
        "accepted": release.as_ref().filter(|_| *changed),
        "release": release,
        "refused": refused,
        "held": held,
    })
}
