use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;
use wachter_api::shapes::{
    DeadLetter, DeadLettersQuery, EventsQuery, FollowQuery, Run, RunsQuery, Sent, StoredEvent,
    Subscription,
};
use wachter_api::{
    FollowEvents, GetRun, ListDeadLetters, ListEvents, ListRuns, ListSubscriptions, Nothing,
};
use wachter_model::{AgentName, ModuleName, RunId, Severity};
use wachter_runtime::Aftermath;
use wachter_runtime::dispatch::RUN_FINISHED;

use super::events;
use super::moment::Moment;
use super::node::{Node, next};
use super::words::{count, time, took};
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

/// How often the agent's cursor is looked at, for a request that leads to no run that decides.
const LOOK: Duration = Duration::from_secs(1);

/// How many dead letters of an agent are looked through.
const MOST_LETTERS: u32 = 1_000;

/// The outcome of a run that did what it was to do.
const SUCCEEDED: &str = "succeeded";

/// What came of a request.
pub(super) struct Followed {
    /// The run that decides: the last try.
    run: Run,
    /// The dead letter that the request has become, where it was given up.
    dead_letter: Option<DeadLetter>,
}

/// Waits until the run that decides on this request is over: one that is not tried again.
///
/// # Errors
/// The node goes away, or the agent has done with the request, or given it up, without a run.
pub(super) async fn follow(
    agent: &str,
    sent: &Sent,
    node: &Node,
) -> Result<Followed, CommandError> {
    let bar = spinner(agent);
    let query = FollowQuery { topic: Some(RUN_FINISHED.to_owned()), after: Some(sent.sequence) };
    let mut lines = node.stream::<FollowEvents>(&query).await?;
    let mut look = tokio::time::interval(LOOK);
    let run = loop {
        tokio::select! {
            line = next(&mut lines) => match line? {
                Some(event) => if let Some(tried) = tried(&event, &sent.id) {
                    if tried.decides {
                        break tried.run;
                    }
                    bar.set_message(", and tries again");
                },
                None => return Err(CommandError::new(
                    ExitKind::NoNode,
                    format!("the node has ended; `wachter trace {}` shows later what came of it", sent.id),
                )),
            },
            _ = look.tick() => {
                // In this order: what is done with has its outcome in the journal before.
                let letter = dead_letter(agent, sent, node).await?;
                if letter.is_some() || is_done(agent, sent, node).await? {
                    match (last_try(sent, node).await?, letter) {
                        (Some(run), _) => break run,
                        (None, Some(letter)) => return Err(given_up(agent, &letter)),
                        (None, None) => return Err(CommandError::failed(format!(
                            "agent {agent} did not run for this request: another run was under way, or it may not run here; `wachter agents show {agent}` says more"
                        ))),
                    }
                }
            }
        }
    };
    bar.finish_and_clear();
    let run = node.call_at::<GetRun>(&run.to_string(), &Nothing {}, &Nothing {}).await?;
    let dead_letter = match run.outcome.as_str() {
        SUCCEEDED => None,
        _ => dead_letter(agent, sent, node).await?,
    };
    Ok(Followed { run, dead_letter })
}

/// Shows what came of a request; that it did not succeed is a failure of the command.
pub(super) fn finish(followed: &Followed, format: Format) -> CommandResult {
    let Followed { run, dead_letter } = followed;
    show(run, format)?;
    if run.outcome == SUCCEEDED {
        return Ok(());
    }
    let reason = run.message.as_deref().unwrap_or(&run.outcome);
    let letter = dead_letter.as_ref().map(|letter| {
        let tries = count(letter.attempts.into(), "try", "tries");
        format!(
            "; the request was given up after {tries}: `wachter dead-letters show {}`",
            letter.id
        )
    });
    Err(CommandError::new(
        ExitKind::RunFailed,
        format!(
            "run {} of {} {}: {reason}{}",
            run.run,
            run.module,
            run.outcome,
            letter.unwrap_or_default()
        ),
    ))
}

/// The run that decides on a request, or the last that there was for it.
async fn last_try(sent: &Sent, node: &Node) -> Result<Option<RunId>, CommandError> {
    let query = EventsQuery {
        topic: Some(RUN_FINISHED.to_owned()),
        after: Some(sent.sequence),
        limit: Some(1_000),
        ..EventsQuery::default()
    };
    let events = node.call::<ListEvents>(&query, &Nothing {}).await?;
    let tries: Vec<Tried> = events.iter().filter_map(|event| tried(event, &sent.id)).collect();
    Ok(tries.iter().find(|tried| tried.decides).or(tries.last()).map(|tried| tried.run))
}

fn given_up(agent: &str, letter: &DeadLetter) -> CommandError {
    CommandError::new(
        ExitKind::RunFailed,
        format!(
            "agent {agent} did not run for this request, which was given up: {}; `wachter dead-letters show {}`",
            letter.reason, letter.id
        ),
    )
}

fn is_of(subscription: &str, agent: &str) -> bool {
    subscription.strip_prefix("agents/").unwrap_or(subscription) == agent
}

async fn is_done(agent: &str, sent: &Sent, node: &Node) -> Result<bool, CommandError> {
    let of_agent = |subscription: &&Subscription| is_of(&subscription.name, agent);
    let subscriptions = node.get::<ListSubscriptions>().await?;
    Ok(subscriptions.iter().find(of_agent).is_some_and(|found| found.floor >= sent.sequence))
}

/// The dead letter that a request has become.
async fn dead_letter(
    agent: &str,
    sent: &Sent,
    node: &Node,
) -> Result<Option<DeadLetter>, CommandError> {
    let query =
        DeadLettersQuery { subscription: Some(agent.to_owned()), limit: Some(MOST_LETTERS) };
    let letters = node.call::<ListDeadLetters>(&query, &Nothing {}).await?;
    Ok(letters.into_iter().find(|letter| letter.sequence == sent.sequence))
}

/// A run that a request caused.
struct Tried {
    run: RunId,
    /// Whether nothing is tried after it.
    decides: bool,
}

/// The run whose end this event tells of, where that was caused by `cause`.
fn tried(event: &StoredEvent, cause: &str) -> Option<Tried> {
    let event = &event.event;
    let caused = event.get("type")?.as_str()? == RUN_FINISHED
        && event.get("causationid")?.as_str()? == cause;
    let run = caused.then(|| event.pointer("/data/run")?.as_str()?.parse().ok()).flatten()?;
    let aftermath = event.pointer("/data/aftermath").cloned().unwrap_or_default();
    let aftermath = serde_json::from_value(aftermath).unwrap_or_default();
    Some(Tried { run, decides: !matches!(aftermath, Aftermath::Retried(_)) })
}

/// Draws on stderr, and only where that is a terminal.
fn spinner(agent: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix} is at work{msg} ({elapsed})")
    {
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
    fn finds_the_runs_that_a_request_caused_and_the_one_that_decides() {
        let id = "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55";
        let check = |(kind, cause, run): (&str, &str, &str), aftermath: Value, expected| {
            let data = json!({ "run": run, "aftermath": aftermath });
            let event = json!({ "type": kind, "causationid": cause, "data": data });
            let event = StoredEvent { sequence: 1, event };
            assert_eq!(tried(&event, "asked").map(|tried| tried.decides), expected, "{event:?}");
        };
        let own = ("run.finished", "asked", id);
        check(own, Value::Null, Some(true));
        check(own, json!("given-up"), Some(true));
        check(own, json!({ "retried": "2026-11-22T10:00:00Z" }), Some(false));
        check(("run.finished", "other", id), Value::Null, None);
        check(("run.began", "asked", id), Value::Null, None);
        check(("run.finished", "asked", "no run"), Value::Null, None);
    }

    #[test]
    fn a_request_that_was_given_up_is_a_failure_that_says_so() {
        let letter: DeadLetter = serde_json::from_value(json!({
            "id": 3, "subscription": "agents/a", "sequence": 7, "reason": "no paper", "attempts": 2,
            "time": "2026-11-22T10:00:00Z", "event": null,
        }))
        .unwrap();
        let error = given_up("a", &letter);
        assert_eq!(error.kind, ExitKind::RunFailed);
        assert!(error.message.ends_with("given up: no paper; `wachter dead-letters show 3`"));
        let followed = Followed { run: run(), dead_letter: Some(letter) };
        let error = finish(&followed, Format::Json).unwrap_err();
        assert_eq!(error.kind, ExitKind::RunFailed);
        assert!(
            error.message.ends_with("given up after 2 tries: `wachter dead-letters show 3`"),
            "{}",
            error.message
        );
    }
}
