use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;
use wachter_api::shapes::{
    EventsQuery, FollowQuery, Run, RunsQuery, Sent, StoredEvent, Subscription,
};
use wachter_api::{FollowEvents, GetRun, ListEvents, ListRuns, ListSubscriptions, Nothing};
use wachter_model::{AgentName, ModuleName, RunId, Severity};
use wachter_runtime::dispatch::RUN_FINISHED;

use super::events;
use super::moment::Moment;
use super::node::{Node, next};
use super::words::{time, took};
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};

#[derive(Args, Debug)]
pub(crate) struct RunsArguments {
    /// One run, in full
    #[arg(conflicts_with_all = ["agent", "module", "outcome", "since", "limit"])]
    run: Option<RunId>,
    /// Only those of this agent
    #[arg(long)]
    agent: Option<AgentName>,
    /// Only those of this module
    #[arg(long)]
    module: Option<ModuleName>,
    /// Only those that ended so: succeeded, failed, refused, not-begun or cancelled
    #[arg(long)]
    outcome: Option<String>,
    /// Only those begun since then: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// How many to show, newest first [default: 20]
    #[arg(long, short = 'n')]
    limit: Option<u32>,
}

pub(super) async fn carry_out(
    arguments: RunsArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let RunsArguments { run, agent, module, outcome, since, limit } = arguments;
    if let Some(run) = run {
        let run = node.call_at::<GetRun>(&run.to_string(), &Nothing {}, &Nothing {}).await?;
        return show(&run, format);
    }
    let since = since.map(|since| since.before(Timestamp::now()));
    let query = RunsQuery { agent, module, outcome, since, limit };
    let runs = node.call::<ListRuns>(&query, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&runs);
    }
    if runs.is_empty() {
        output::talk(
            "there are no such runs; agents run when they are woken, `wachter agents` says by what",
        );
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&runs));
    page.print()
}

pub(super) fn table(runs: &[Run]) -> Table {
    let mut table = Table::new([
        Column::whole("STARTED (UTC)"),
        Column::whole("AGENT"),
        Column::whole("MODULE").spare(4),
        Column::whole("OUTCOME"),
        Column::whole("CHANGED").spare(1),
        Column::whole("TIME").spare(3),
        Column::whole("FINDINGS").spare(2),
        Column::whole("RUN").spare(5),
        Column::cut("MESSAGE"),
    ]);
    for run in runs {
        table.row([
            time(run.started).into(),
            run.agent.as_ref().map_or("(by hand)", AgentName::as_str).into(),
            run.module.as_str().into(),
            Cell::toned(&run.outcome, Tone::of_outcome(&run.outcome)),
            if run.changed { "yes" } else { "no" }.into(),
            took(run.milliseconds).into(),
            run.findings.len().to_string().into(),
            run.run.to_string().into(),
            run.message.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

fn show(run: &Run, format: Format) -> CommandResult {
    if format == Format::Json {
        return output::json(run);
    }
    let mut page = Page::new(View::of_stdout());
    describe(run, &mut page)?;
    page.print()
}

fn describe(run: &Run, page: &mut Page) -> CommandResult {
    page.field("run", &run.run.to_string());
    page.field("agent", run.agent.as_ref().map_or("none: by hand", AgentName::as_str));
    page.field("module", &format!("{} ({})", run.module, run.module_digest.short()));
    page.field("started", &format!("{} UTC", time(run.started)));
    page.field("took", &took(run.milliseconds));
    page.toned_field("outcome", &run.outcome, Tone::of_outcome(&run.outcome));
    page.field("changed", if run.changed { "yes" } else { "no" });
    if run.dry_run {
        page.field("dry run", "effects were withheld");
    }
    if let Some(cause) = &run.cause {
        page.field("cause", cause);
    }
    if let Some(message) = &run.message {
        page.field("message", message);
    }
    let mut findings = Table::new([
        Column::whole("SEVERITY"),
        Column::whole("TYPE"),
        Column::whole("SUBJECT"),
        Column::whole("CONFIDENCE"),
        Column::cut("MESSAGE"),
    ]);
    for finding in &run.findings {
        let (severity, tone) = match (finding.resolved, finding.severity) {
            (true, severity) => (format!("{severity}, gone"), Tone::Good),
            (false, severity @ (Severity::High | Severity::Critical)) => {
                (severity.to_string(), Tone::Bad)
            }
            (false, severity) => (severity.to_string(), Tone::Warning),
        };
        findings.row([
            Cell::toned(&severity, tone),
            finding.kind.to_string().into(),
            finding.subject.as_str().into(),
            finding.confidence.get().to_string().into(),
            finding.message.as_str().into(),
        ]);
    }
    page.section("Findings", &findings);
    let mut emitted =
        Table::new([Column::whole("TYPE"), Column::whole("SUBJECT"), Column::cut("DATA")]);
    for StoredEvent { event, .. } in &run.events {
        let (kind, subject) = (events::text(event, "type"), events::text(event, "subject"));
        emitted.row([kind.into(), subject.into(), events::data(event).into()]);
    }
    page.section("Events", &emitted);
    for (heading, key) in [("Output", "output"), ("Metrics", "metrics"), ("Usage", "usage")] {
        match run.record.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Array(none)) if none.is_empty() => {}
            Some(value) => {
                page.gap();
                page.toned_line(heading, Tone::Strong);
                page.text(&serde_json::to_string_pretty(value)?);
            }
        }
    }
    Ok(())
}

/// Shows a run that was waited for; one that did not succeed is a failure of the command.
pub(super) fn finish(run: &Run, format: Format) -> CommandResult {
    show(run, format)?;
    if run.outcome == "succeeded" {
        return Ok(());
    }
    let reason = run.message.as_deref().unwrap_or(&run.outcome);
    Err(CommandError::new(
        ExitKind::RunFailed,
        format!("run {} of {} {}: {reason}", run.run, run.module, run.outcome),
    ))
}

/// How often the agent's cursor is looked at, for a request that leads to no run.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until a run that this request caused is over.
///
/// # Errors
/// The node goes away, or the agent has done with the request without a run.
pub(super) async fn follow(agent: &str, sent: &Sent, node: &Node) -> Result<Run, CommandError> {
    let bar = spinner(agent);
    let query = FollowQuery { topic: Some(RUN_FINISHED.to_owned()), after: Some(sent.sequence) };
    let mut lines = node.stream::<FollowEvents>(&query).await?;
    let mut look = tokio::time::interval(LOOK);
    let run = loop {
        tokio::select! {
            line = next(&mut lines) => match line? {
                Some(event) => if let Some(run) = run_of(&event, &sent.id) { break run; },
                None => return Err(CommandError::new(
                    ExitKind::NoNode,
                    format!("the node has ended; `wachter trace {}` shows later what came of it", sent.id),
                )),
            },
            _ = look.tick() => {
                // In this order: what is done with has its outcome in the journal before.
                if is_done(agent, sent, node).await? {
                    let query = EventsQuery {
                        topic: query.topic.clone(),
                        after: query.after,
                        limit: Some(1_000),
                        ..EventsQuery::default()
                    };
                    let events = node.call::<ListEvents>(&query, &Nothing {}).await?;
                    match events.iter().find_map(|event| run_of(event, &sent.id)) {
                        Some(run) => break run,
                        None => return Err(CommandError::failed(format!(
                            "agent {agent} did not run for this request: another run was under way, or it may not run here; `wachter agents show {agent}` says more"
                        ))),
                    }
                }
            }
        }
    };
    bar.finish_and_clear();
    node.call_at::<GetRun>(&run.to_string(), &Nothing {}, &Nothing {}).await
}

async fn is_done(agent: &str, sent: &Sent, node: &Node) -> Result<bool, CommandError> {
    let of_agent = |subscription: &&Subscription| {
        subscription.name.strip_prefix("agents/").unwrap_or(&subscription.name) == agent
    };
    let subscriptions = node.get::<ListSubscriptions>().await?;
    Ok(subscriptions.iter().find(of_agent).is_some_and(|found| found.floor >= sent.sequence))
}

/// The run whose end this event tells of, where that was caused by `cause`.
fn run_of(event: &StoredEvent, cause: &str) -> Option<RunId> {
    let event = &event.event;
    let caused = event.get("type")?.as_str()? == RUN_FINISHED
        && event.get("causationid")?.as_str()? == cause;
    caused.then(|| event.pointer("/data/run")?.as_str()?.parse().ok()).flatten()
}

/// Draws on stderr, and only where that is a terminal.
fn spinner(agent: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} is at work ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_prefix(agent.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> Run {
        serde_json::from_value(json!({
            "run": "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55",
            "agent": "disk-monitor",
            "cause": "/nodes/web-1/scheduler disk-monitor@2026-11-22T10:00:00Z",
            "module": "disk",
            "module_digest": "ab".repeat(32),
            "started": "2026-11-22T10:00:00Z",
            "milliseconds": 1_234,
            "outcome": "failed",
            "changed": false,
            "dry_run": true,
            "message": "no space\nleft",
            "findings": [
                { "type": "disk.full", "severity": "critical", "confidence": 1.0, "subject": "/", "message": "99 %", "fingerprint": "a" },
                { "type": "disk.full", "severity": "low", "confidence": 0.5, "subject": "/srv", "message": "71 %", "fingerprint": "b", "resolved": true },
            ],
            "events": [
                { "sequence": 8, "event": { "type": "disk.seen", "subject": "/srv", "data": { "a": 1 } } },
            ],
            "record": { "output": { "disks": 3 }, "metrics": [], "usage": null },
        }))
        .unwrap()
    }

    #[test]
    fn lists_and_describes() {
        let mut page = Page::new(View::plain(Some(150)));
        page.table(&table(&[run(), Run { agent: None, outcome: "succeeded".to_owned(), ..run() }]));
        assert_eq!(
            page.lines(),
            [
                "STARTED (UTC)        AGENT         MODULE  OUTCOME    CHANGED  TIME   FINDINGS  RUN                                   MESSAGE",
                "2026-11-22 10:00:00  disk-monitor  disk    failed     no       1.2 s  2         0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55  no space\\u{a}left",
                "2026-11-22 10:00:00  (by hand)     disk    succeeded  no       1.2 s  2         0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55  no space\\u{a}left",
            ]
        );
        let mut page = Page::new(View::plain(None));
        describe(&run(), &mut page).unwrap();
        assert_eq!(
            page.lines(),
            [
                "run          0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55",
                "agent        disk-monitor",
                "module       disk (abababababab)",
                "started      2026-11-22 10:00:00 UTC",
                "took         1.2 s",
                "outcome      failed",
                "changed      no",
                "dry run      effects were withheld",
                "cause        /nodes/web-1/scheduler disk-monitor@2026-11-22T10:00:00Z",
                "message      no space\\u{a}left",
                "",
                "Findings",
                "SEVERITY   TYPE       SUBJECT  CONFIDENCE  MESSAGE",
                "critical   disk.full  /        1           99 %",
                "low, gone  disk.full  /srv     0.5         71 %",
                "",
                "Events",
                "TYPE       SUBJECT  DATA",
                "disk.seen  /srv     {\"a\":1}",
                "",
                "Output",
                "{",
                "  \"disks\": 3",
                "}",
            ]
        );
    }

    #[test]
    fn finds_the_run_that_a_request_caused() {
        let finished = |cause: &str, kind: &str, run: &str| StoredEvent {
            sequence: 1,
            event: json!({ "type": kind, "causationid": cause, "data": { "run": run } }),
        };
        let id = "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55";
        let check = |event: StoredEvent, expected: bool| {
            assert_eq!(run_of(&event, "asked").is_some(), expected, "{event:?}");
        };
        check(finished("asked", "run.finished", id), true);
        check(finished("other", "run.finished", id), false);
        check(finished("asked", "run.began", id), false);
        check(finished("asked", "run.finished", "no run"), false);
    }
}
