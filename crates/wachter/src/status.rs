//! `wachter status`: what the node does; where none runs, what is in force for its next start.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use wachter_api::shapes::{Agent, Frozen, Status};
use wachter_api::{GetStatus, ListAgents, Nothing};
use wachter_gitops::{Pin, Rollback, State};
use wachter_model::{ByteSize, Severity};

use crate::client::{Node, time};
use crate::data_lock;
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::node::{Deployed, read_frozen};
use crate::output::{self, Cell, Column, Format, Frame, Page, Table, Tone, View, keep_showing};
use crate::place::HostOptions;

#[derive(Args, Debug)]
pub(crate) struct StatusArguments {
    /// Show it each second anew, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Fail where no node answers, with exit code 5, or where it warns of something: for monitoring
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

pub(crate) async fn carry_out(
    arguments: &StatusArguments,
    node: &Node,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let look = async || Seen::look(node, options).await.map(|seen| seen.frame());
    if arguments.watch {
        return keep_showing(format, look).await;
    }
    let seen = Seen::look(node, options).await?;
    let Frame { value, page } = seen.frame();
    match format {
        Format::Json => output::json(&value)?,
        Format::Human => page.print()?,
    }
    if arguments.check { seen.check() } else { Ok(()) }
}

/// Everything that is shown, as JSON.
///
/// # Errors
/// Neither the node nor its files say anything.
pub(crate) async fn value(options: &HostOptions) -> Result<Value, CommandError> {
    Ok(Seen::look(&Node::new(options), options).await?.frame().value)
}

/// What there is to see: of the node, while one answers, and of its files, where they can be read.
struct Seen {
    node: Option<(Status, Vec<Agent>)>,
    /// The process that has the data and does not answer.
    silent: Option<i32>,
    files: Option<Files>,
}

/// What a node leaves behind.
#[derive(Default, Serialize)]
struct Files {
    deployed: Option<Deployed>,
    accepted: Vec<u64>,
    pin: Option<Pin>,
    rollback: Option<Rollback>,
    frozen: Option<Frozen>,
}

impl Files {
    fn read(options: &HostOptions) -> Result<(Self, Option<i32>), CommandError> {
        let data = options.host()?.data;
        let state = State::read(&data)?;
        let files = Self {
            deployed: Deployed::read(&data).ok(),
            accepted: state.history.iter().map(|release| release.sequence).collect(),
            pin: state.pin,
            rollback: state.rollback,
            frozen: read_frozen(&data)?,
        };
        Ok((files, data_lock::node(&data)?.map(|holder| holder.process)))
    }
}

impl Seen {
    async fn look(node: &Node, options: &HostOptions) -> Result<Self, CommandError> {
        match node.ask::<GetStatus>(&Nothing {}, &Nothing {}).await {
            Ok(Some(status)) => {
                let agents = node.get::<ListAgents>().await?;
                // Not everyone who may ask the node may read its files.
                let files = Files::read(options).ok().map(|(files, _)| files);
                Ok(Self { node: Some((status, agents)), silent: None, files })
            }
            Ok(None) => {
                let (files, silent) = Files::read(options)?;
                Ok(Self { node: None, silent, files: Some(files) })
            }
            Err(error) if error.kind == ExitKind::NoNode => match Files::read(options) {
                Ok((files, silent)) => Ok(Self { node: None, silent, files: Some(files) }),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Nothing to look at, or an error that names it.
    fn check(&self) -> CommandResult {
        let Some((status, _)) = &self.node else {
            return Err(CommandError::new(ExitKind::NoNode, "no node answers"));
        };
        match &status.warnings[..] {
            [] => Ok(()),
            warnings => Err(CommandError::failed(warnings.join("; "))),
        }
    }

    fn frame(&self) -> Frame {
        let mut page = Page::new(View::of_stdout());
        self.describe(&mut page, Timestamp::now());
        let (status, agents) = match &self.node {
            Some((status, agents)) => (Some(status), agents.as_slice()),
            None => (None, &[][..]),
        };
        let none = Files::default();
        let files = self.files.as_ref().unwrap_or(&none);
        let value = json!({
            "running": status.is_some(),
            "status": status,
            "agents": agents,
            "deployed": files.deployed,
            "accepted": files.accepted,
            "pin": files.pin,
            "rollback": files.rollback,
            "frozen": status.map_or(&files.frozen, |status| &status.frozen),
        });
        Frame { value, page }
    }

    fn describe(&self, page: &mut Page, now: Timestamp) {
        match (&self.node, self.silent) {
            (Some((status, agents)), _) => self.running(status, agents, page, now),
            (None, Some(process)) => {
                page.toned_field(
                    "node",
                    &format!("process {process} has the data and does not answer; see its log"),
                    Tone::Bad,
                );
                self.stopped(page, now);
            }
            (None, None) => {
                page.toned_field("node", "not running; start it with `wachter run`", Tone::Warning);
                self.stopped(page, now);
            }
        }
    }

    /// What is in its warnings is not said twice: that effects are stopped, that it cannot fetch or
    /// write, that events are lost.
    fn running(&self, status: &Status, agents: &[Agent], page: &mut Page, now: Timestamp) {
        page.field(
            "node",
            &format!(
                "{}, running since {} (process {})",
                status.node,
                time(status.since),
                status.process
            ),
        );
        match &status.release {
            Some(release) => {
                release_line(release.sequence, &release.signers, release.accepted_at, page);
            }
            None => page.toned_field("release", "none yet", Tone::Warning),
        }
        self.held(page, now);
        match &status.launcher {
            Some(launcher) => {
                page.field("profile", &launcher.profile);
                let absent: Vec<String> = launcher
                    .not_enforced
                    .iter()
                    .map(|name| match launcher.accepted.contains(name) {
                        true => name.clone(),
                        false => format!("{name} (not accepted)"),
                    })
                    .collect();
                if !absent.is_empty() {
                    page.toned_field("not enforced", &absent.join(", "), Tone::Warning);
                }
            }
            None => page.toned_field("launcher", "away: no module can run", Tone::Bad),
        }
        let journal = &status.journal;
        page.field(
            "journal",
            &format!("events {} to {}, {}", journal.first, journal.last, size(journal.bytes)),
        );
        page.field("at work", &format!("{} running, {} queued", status.running, status.queued));
        if let Some((worst, _)) = status.findings.last_key_value() {
            let counts = status.findings.iter().rev();
            let counts: Vec<_> =
                counts.map(|(severity, count)| format!("{count} {severity}")).collect();
            let tone = if *worst >= Severity::High { Tone::Bad } else { Tone::Warning };
            page.toned_field("findings", &counts.join(", "), tone);
        }
        for warning in &status.warnings {
            page.toned_field("warning", warning, Tone::Warning);
        }
        for refused in &status.refused {
            page.toned_field("refused", refused, Tone::Bad);
        }
        if !agents.is_empty() {
            page.gap();
            page.table(&table(agents));
        }
    }

    fn stopped(&self, page: &mut Page, now: Timestamp) {
        let Some(files) = &self.files else { return };
        frozen(files.frozen.as_ref(), page);
        match &files.deployed {
            Some(Deployed { release, .. }) => {
                release_line(release.sequence, &release.signers, release.accepted_at, page);
                if let Some(not_after) = release.not_after.filter(|not_after| *not_after < now) {
                    page.toned_field(
                        "warning",
                        &format!(
                            "release {} was meant to last until {not_after}; make a new one",
                            release.sequence
                        ),
                        Tone::Warning,
                    );
                }
            }
            None => page.field("release", "none yet"),
        }
        self.held(page, now);
    }

    /// What a person decided about releases, and which they can choose from.
    fn held(&self, page: &mut Page, now: Timestamp) {
        let Some(files) = &self.files else { return };
        if let Some(pin) = files.pin.filter(|pin| now < pin.until) {
            page.field("held", &format!("pinned to {} until {}", pin.sequence, time(pin.until)));
        } else if let Some(Rollback { to, from }) = files.rollback {
            page.field(
                "held",
                &format!("rolled back to {to} until one newer than {from} is accepted"),
            );
        }
        if files.accepted.len() > 1 {
            let numbers: Vec<String> = files.accepted.iter().map(ToString::to_string).collect();
            page.field("accepted", &numbers.join(", "));
        }
    }
}

fn release_line(sequence: u64, signers: &[String], accepted_at: Timestamp, page: &mut Page) {
    let signers = signers.join(", ");
    page.field("release", &format!("{sequence} by {signers}, accepted {}", time(accepted_at)));
}

fn frozen(frozen: Option<&Frozen>, page: &mut Page) {
    if let Some(Frozen { reason, by, since }) = frozen {
        page.toned_field(
            "frozen",
            &format!("by {by} since {}: {reason}", time(*since)),
            Tone::Warning,
        );
    }
}

/// Rounded down to a unit that people read.
fn size(bytes: u64) -> String {
    let shift = match bytes {
        0..0x2_800 => 0,
        0x2_800..0xa0_0000 => 10,
        _ => 20,
    };
    ByteSize::from_bytes(bytes >> shift << shift).to_string()
}

fn table(agents: &[Agent]) -> Table {
    let mut table = Table::new([
        Column::whole("AGENT"),
        Column::whole("RUNS").spare(1),
        Column::whole("FAILED"),
        Column::whole("LAST").spare(2),
        Column::whole("OUTCOME"),
        Column::whole("STATE"),
        Column::cut("MESSAGE"),
    ]);
    for agent in agents {
        let outcome = agent.last_outcome.as_deref().unwrap_or_default();
        let (state, tone) = crate::client::state(agent.state);
        table.row([
            agent.name.as_str().into(),
            agent.runs.to_string().into(),
            agent.failures.to_string().into(),
            agent.last_started.map(time).unwrap_or_default().into(),
            Cell::toned(outcome, Tone::of_outcome(outcome)),
            Cell::toned(state, tone),
            agent.reason.as_deref().or(agent.last_message.as_deref()).unwrap_or_default().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(seen: &Seen) -> Vec<String> {
        let mut page = Page::new(View::plain(None));
        seen.describe(&mut page, "2026-11-22T10:00:00Z".parse().unwrap());
        page.lines().to_vec()
    }

    fn files() -> Files {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let deployed = json!({
            "version": 1, "modules": {}, "agents": {},
            "release": {
                "sequence": 2, "commit": "00".repeat(20), "tree": "00".repeat(32), "signers": ["ann"],
                "ring": null, "not_after": "2026-11-22T09:00:00Z", "accepted_at": "2026-11-20T10:00:00Z",
                "trust_serial": 1,
            },
        });
        Files {
            deployed: Some(serde_json::from_value(deployed).unwrap()),
            accepted: vec![1, 2],
            pin: Some(Pin { sequence: 2, until: time("2026-11-23T10:00:00Z") }),
            rollback: None,
            frozen: Some(Frozen {
                reason: "a drill".to_owned(),
                by: "ann".to_owned(),
                since: time("2026-11-22T08:00:00Z"),
            }),
        }
    }

    #[test]
    fn without_a_node_the_files_tell() {
        let mut seen = Seen { node: None, silent: None, files: Some(files()) };
        assert_eq!(
            lines(&seen),
            [
                "node         not running; start it with `wachter run`",
                "frozen       by ann since 2026-11-22 08:00:00: a drill",
                "release      2 by ann, accepted 2026-11-20 10:00:00",
                "warning      release 2 was meant to last until 2026-11-22T09:00:00Z; make a new one",
                "held         pinned to 2 until 2026-11-23 10:00:00",
                "accepted     1, 2",
            ]
        );
        seen.files =
            Some(Files { rollback: Some(Rollback { to: 1, from: 2 }), ..Files::default() });
        seen.silent = Some(7);
        assert_eq!(
            lines(&seen),
            [
                "node         process 7 has the data and does not answer; see its log",
                "release      none yet",
                "held         rolled back to 1 until one newer than 2 is accepted",
            ]
        );
    }

    #[test]
    fn a_node_tells_itself() {
        let status = json!({
            "node": "web-1", "version": "0.1.0", "process": 7, "since": "2026-11-22T09:00:00Z",
            "release": {
                "sequence": 2, "commit": "00", "signers": ["ann", "bob"], "accepted_at": "2026-11-20T10:00:00Z",
                "not_after": null, "pinned_until": null,
            },
            "refused": ["release 3 refused: nobody signed it"], "last_look": null,
            "fetch_error": "no route", "frozen": null,
            "launcher": { "profile": "unprivileged", "not_enforced": ["cgroup", "seccomp"], "accepted": ["cgroup"] },
            "journal": { "first": 1, "last": 900, "bytes": 1_500_000, "trouble": "no space", "lost": 2 },
            "findings": { "low": 2, "high": 1 },
            "running": 1, "queued": 0, "warnings": ["2 events were given up"],
        });
        let agent = json!({
            "name": "hello", "role": "monitoring", "module": "hello", "state": "idle", "reason": null, "next": null,
            "wakes_on": [], "running": 0, "queued": 0, "runs": 3, "failures": 1, "last_run": null,
            "last_started": "2026-11-22T09:59:00Z", "last_outcome": "succeeded", "last_message": "hi",
        });
        let node =
            (serde_json::from_value(status).unwrap(), vec![serde_json::from_value(agent).unwrap()]);
        let seen = Seen { node: Some(node), silent: None, files: None };
        assert_eq!(
            lines(&seen),
            [
                "node         web-1, running since 2026-11-22 09:00:00 (process 7)",
                "release      2 by ann, bob, accepted 2026-11-20 10:00:00",
                "profile      unprivileged",
                "not enforced cgroup, seccomp (not accepted)",
                "journal      events 1 to 900, 1464KiB",
                "at work      1 running, 0 queued",
                "findings     1 high, 2 low",
                "warning      2 events were given up",
                "refused      release 3 refused: nobody signed it",
                "",
                "AGENT  RUNS  FAILED  LAST                 OUTCOME    STATE  MESSAGE",
                "hello  3     1       2026-11-22 09:59:00  succeeded  idle   hi",
            ]
        );
        assert_eq!(seen.frame().value["running"], true);
    }
}
