//! `wachter status`, `runs` and `modules`: what the node does, did, and may do.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_gitops::{Rollback, State};
use wachter_runtime::RunStore;

use crate::data_lock;
use crate::failure::{CommandError, CommandResult};
use crate::node::{Deployed, NodeStatus};
use crate::output::{self, Format};
use crate::place::{Host, HostOptions};

#[derive(Args, Debug)]
pub(crate) struct RunsArguments {
    /// How many to show, newest first
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
}

/// Everything that `status` shows.
///
/// # Errors
/// The state is damaged, or the lock cannot be looked at.
pub(crate) fn value(host: &Host) -> Result<Value, CommandError> {
    let status = NodeStatus::read(&host.data);
    let running = data_lock::node(&host.data)?;
    let deployed = Deployed::read(&host.data).ok();
    let state = State::read(&host.data)?;
    let accepted: Vec<u64> = state.history.iter().map(|release| release.sequence).collect();
    Ok(json!({
        "running": running.is_some(),
        "status": status,
        "deployed": deployed,
        "accepted": accepted,
        "pin": state.pin,
        "rollback": state.rollback,
        "accepted_absent": host.local.confinement.accept_absent,
    }))
}

pub(crate) fn status(options: &HostOptions, format: Format) -> CommandResult {
    let host = options.host()?;
    if format == Format::Json {
        return output::json(&value(&host)?);
    }
    let status = NodeStatus::read(&host.data);
    let running = data_lock::node(&host.data)?;
    let deployed = Deployed::read(&host.data).ok();
    let state = State::read(&host.data)?;
    let accepted: Vec<u64> = state.history.iter().map(|release| release.sequence).collect();
    let line = |name: &str, value: String| output::data(format_args!("{name:12} {value}"));
    match (running, &status) {
        (Some(holder), Some(status)) => line(
            "node",
            format!(
                "{}, running since {} (process {})",
                status.node,
                status.since.strftime("%F %T"),
                holder.process
            ),
        )?,
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
    let Some(status) = status else { return Ok(()) };
    if let Some(profile) = status.profile {
        line("profile", profile.to_string())?;
    }
    if !status.absent.is_empty() {
        let absent: Vec<String> = status.absent.iter().map(ToString::to_string).collect();
        line("not enforced", absent.join(", "))?;
    }
    if !status.restart_needed.is_empty() {
        line("restart", format!("needed for: {}", status.restart_needed.join(", ")))?;
    }
    for refused in &status.refused {
        line("refused", refused.clone())?;
    }
    if let Some(error) = &status.fetch_error {
        line("fetch", format!("failed: {error}"))?;
    }
    if !status.agents.is_empty() {
        output::data("")?;
        let rows: Vec<Vec<String>> = status
            .agents
            .iter()
            .map(|(name, agent)| {
                vec![
                    name.to_string(),
                    agent.runs.to_string(),
                    agent.failures.to_string(),
                    agent.last.map(|last| last.strftime("%F %T").to_string()).unwrap_or_default(),
                    agent.outcome.clone().unwrap_or_default(),
                    agent.message.clone().unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["AGENT", "RUNS", "FAILED", "LAST", "OUTCOME", "MESSAGE"], &rows)?;
    }
    Ok(())
}

pub(crate) fn runs(
    arguments: &RunsArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let host = options.host()?;
    let records = RunStore::new(&host.data).latest(arguments.limit)?;
    if format == Format::Json {
        return output::json(&records);
    }
    if records.is_empty() {
        output::talk(
            "nothing was run yet; `wachter run` runs agents, `wachter exec` runs a module once",
        );
    }
    let rows: Vec<Vec<String>> = records
        .iter()
        .map(|record| {
            let agent = record.cause.agent();
            let cause = agent.map_or_else(|| "(by hand)".to_owned(), ToString::to_string);
            vec![
                record.started.strftime("%F %T").to_string(),
                cause,
                record.module.to_string(),
                record.outcome.clone(),
                if record.changed { "yes" } else { "no" }.to_owned(),
                format!("{} ms", record.usage.wall_microseconds / 1_000),
                record.findings.len().to_string(),
                record.message.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output::table(
        &["STARTED (UTC)", "AGENT", "MODULE", "OUTCOME", "CHANGED", "TIME", "FINDINGS", "MESSAGE"],
        &rows,
    )
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
