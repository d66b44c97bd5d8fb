//! `wachter status`, `runs` and `modules`: what the node does, did, and may do.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use wachter_gitops::{Rollback, State};

use crate::data_lock;
use crate::failure::CommandResult;
use crate::node::Deployed;
use crate::output::{self, Format};
use crate::place::HostOptions;

#[derive(Args, Debug)]
pub(crate) struct RunsArguments {
    /// How many to show, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
}

pub(crate) fn status(options: &HostOptions, format: Format) -> CommandResult {
    let host = options.host()?;
    let running = data_lock::node(&host.data)?;
    let deployed = Deployed::read(&host.data).ok();
    let state = State::read(&host.data)?;
    let accepted: Vec<u64> = state.history.iter().map(|release| release.sequence).collect();
    if format == Format::Json {
        return output::json(&json!({
            "running": running.is_some(),
            "deployed": deployed,
            "accepted": accepted,
            "pin": state.pin,
            "rollback": state.rollback,
            "accepted_absent": host.local.confinement.accept_absent,
        }));
    }
    let line = |name: &str, value: String| output::data(format_args!("{name:12} {value}"));
    match (running, 1) {
        (Some(holder), 1) => line("node", format!("running (process {})", holder.process))?,
        _ => line("node", "not running; start it with `wachter run`".to_owned())?,
    }
    match &deployed {
        Some(deployed) => {
            let release = &deployed.release;
            line(
                "release",
                format!(
                    "{} by {}, accepted {}",
                    release.sequence,
                    release.signers.join(", "),
                    release.accepted_at.strftime("%F %T")
                ),
            )?;
            if let Some(not_after) =
                release.not_after.filter(|not_after| *not_after < Timestamp::now())
            {
                line(
                    "warning",
                    format!(
                        "release {} was meant to last until {not_after}; make a new one",
                        release.sequence
                    ),
                )?;
            }
        }
        None => line("release", "none yet".to_owned())?,
    }
    if let Some(pin) = state.pin.filter(|pin| Timestamp::now() < pin.until) {
        line("held", format!("pinned to {} until {}", pin.sequence, pin.until.strftime("%F %T")))?;
    } else if let Some(rollback) = state.rollback {
        let Rollback { to, from } = rollback;
        line("held", format!("rolled back to {to} until one newer than {from} is accepted"))?;
    }
    if accepted.len() > 1 {
        let numbers: Vec<String> = accepted.iter().map(ToString::to_string).collect();
        line("accepted", numbers.join(", "))?;
    }
    Ok(())
}

pub(crate) fn runs(_: &RunsArguments, _: &HostOptions, _: Format) -> CommandResult {
    Ok(())
}

pub(crate) fn modules(options: &HostOptions, format: Format) -> CommandResult {
    let host = options.host()?;
    let deployed = Deployed::read(&host.data)?;
    if format == Format::Json {
        return output::json(&deployed.modules);
    }
    let rows: Vec<Vec<String>> = deployed
        .modules
        .iter()
        .map(|(name, module)| {
            let standing = match (&module.digest, &module.refused) {
                (Some(digest), _) => format!("may run ({})", digest.short()),
                (None, reason) => format!("may not run: {}", reason.as_deref().unwrap_or_default()),
            };
            vec![name.to_string(), module.version.clone(), standing]
        })
        .collect();
    output::table(&["MODULE", "VERSION", "STANDING"], &rows)
}
