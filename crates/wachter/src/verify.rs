//! `wachter verify`: what this host would say to a release, without taking it.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use wachter_gitops::Verdict;

use crate::doctor::Folder;
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::follow::{Deploying, Follower};
use crate::output::{self, Format};
use crate::place::{Host, HostOptions};
use crate::sync::everything;

#[derive(Args, Debug)]
pub(crate) struct VerifyArguments {
    /// The release to ask about, as 7 or wachter/7 [default: the highest that would be accepted]
    release: Option<String>,
    /// Where the repository is [default: `repository.url` of the local file]
    #[arg(long, value_name = "URL|PATH")]
    repository: Option<String>,
}

/// Judges in a folder of its own, as a node that has seen nothing yet would.
pub(crate) fn carry_out(
    arguments: VerifyArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let folder = Folder::new()?;
    let host = options.host()?;
    let mut local = host.local.clone();
    if let Some(repository) = arguments.repository {
        local.repository.url = match std::path::absolute(&repository) {
            Ok(path) if path.exists() => path.display().to_string(),
            _ => repository,
        };
    }
    let mut follower = Follower::open(Host { local, data: folder.0.clone(), ..host })?;
    follower.fetch()?;
    let now = Timestamp::now();
    let mut verdict = follower.judge(now)?;
    if let Some(release) = &arguments.release {
        only(&mut verdict, release)?;
    }
    let mut refused = everything(&verdict);
    let mut deploying = Deploying::default();
    if verdict.accepted.is_some() {
        deploying = follower.deploy(now)?;
    }
    refused.extend(deploying.passed_over);
    let deployment = deploying.deployment;
    let modules: Vec<(String, Option<String>)> = deployment
        .iter()
        .flat_map(|deployment| &deployment.modules)
        .map(|(name, module)| {
            (format!("{name} {}", module.version), module.reason().map(str::to_owned))
        })
        .collect();
    match format {
        Format::Json => output::json(
            &json!({ "accepted": verdict.accepted, "refused": refused, "modules": modules }),
        )?,
        Format::Human => {
            for refusal in &refused {
                output::data(refusal)?;
            }
            if let Some(release) = &verdict.accepted {
                output::data(format_args!(
                    "release {} would be accepted, signed by {}",
                    release.sequence,
                    release.signers.join(", ")
                ))?;
            }
            for (module, reason) in &modules {
                match reason {
                    None => output::data(format_args!("  {module} may run"))?,
                    Some(reason) => output::data(format_args!("  {module} may not run: {reason}"))?,
                }
            }
        }
    }
    match (verdict.accepted.filter(|_| deployment.is_some()), refused.into_iter().next()) {
        (Some(_), _) => Ok(()),
        (None, Some(refusal)) => Err(CommandError::new(ExitKind::Refused, refusal)),
        (None, None) => Err(CommandError::new(
            ExitKind::Refused,
            "there is no release; make one with `wachter release`",
        )),
    }
}

/// Leaves of a verdict what it says of one release.
fn only(verdict: &mut Verdict, release: &str) -> CommandResult {
    let number = release.strip_prefix("wachter/").unwrap_or(release);
    let sequence: u64 = number.parse().map_err(|_| {
        CommandError::usage(format!("`{release}` is no release; write 7 or wachter/7"))
    })?;
    verdict.refused.retain(|refused| refused.sequence == Some(sequence));
    match &verdict.accepted {
        Some(accepted) if accepted.sequence > sequence && verdict.refused.is_empty() => {
            Err(CommandError::refused(format!(
                "release {sequence} refused: release {} would be accepted, and nothing older after it",
                accepted.sequence
            )))
        }
        accepted => {
            let this = accepted.as_ref().is_some_and(|accepted| accepted.sequence == sequence);
            if !this && verdict.refused.is_empty() {
                return Err(CommandError::failed(format!("there is no release {sequence}")));
            }
            if !this {
                verdict.accepted = None;
            }
            Ok(())
        }
    }
}
