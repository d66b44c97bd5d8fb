use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_api::shapes::{Run, Sent, StoredEvent};
use wachter_api::{Call, GetRun, ListRuns, Problem, RecordRun, Server};
use wachter_bus::{Bus, EventFilter, Seq, Stored};
use wachter_model::{Event, Finding, RunId};
use wachter_runtime::dispatch::{RUN_FINISHED, Sources};
use wachter_runtime::{Cause, RunRecord};

use super::events::publish;
use super::look_back::{Bounds, first, json_of, latest, of_id, shown, size, topics, written_since};
use super::problems::unreadable;
use super::with;
use crate::node::context::Node;

/// How many a list has where nobody says, and at most.
const FEW: u32 = 20;
const MOST: u32 = 1_000;

/// The format of records that is read here.
const VERSION: u32 = 1;

/// What of a run stands beside its record, at most: a module's output is limited by its grant.
const MOST_OUTPUTS: usize = 10_000;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<ListRuns, _, _>(with(node, list))
        .answer::<GetRun, _, _>(with(node, get))
        .answer::<RecordRun, _, _>(with(node, record))
}

async fn list(node: Arc<Node>, call: Call<ListRuns>) -> Result<Vec<Run>, Problem> {
    let query = call.query;
    let limit = usize::try_from(query.limit.unwrap_or(FEW).min(MOST)).unwrap_or(usize::MAX);
    // It is written after it began, so what began since then was written since then.
    let bounds = Bounds { since: query.since, after: None };
    let wanted = |record: &RunRecord| {
        query.agent.as_ref().is_none_or(|agent| record.cause.agent() == Some(agent))
            && query.module.as_ref().is_none_or(|module| record.module == *module)
            && query.outcome.as_ref().is_none_or(|outcome| record.outcome == *outcome)
            && query.since.is_none_or(|since| record.started >= since)
    };
    let finished = latest(&node.bus, finished(), bounds, limit, |stored| {
        let record = record_of(stored, &node.sources).filter(wanted)?;
        Some((size(stored), (stored.clone(), record)))
    });
    let mut runs = Vec::new();
    for (stored, record) in finished.await?.into_iter().rev() {
        let outputs = outputs(&node.bus, &stored, record.run).await?;
        let mut run = run(&stored, record, &node.sources, &outputs);
        run.events.clear();
        runs.push(run);
    }
    Ok(runs)
}

async fn get(node: Arc<Node>, call: Call<GetRun>) -> Result<Run, Problem> {
    let run_id: RunId = call.parameter()?;
    let id = record_id(run_id);
    let filter = || EventFilter { predicate: of_id(&id).predicate, ..finished() };
    let mut found = first(&node.bus, written_since(&run_id.to_string()), filter()).await?;
    if found.is_none() {
        // A clock that was set in between must not hide it.
        found = first(&node.bus, None, filter()).await?;
    }
    let found = found.and_then(|stored| Some((record_of(&stored, &node.sources)?, stored)));
    let Some((record, stored)) = found else {
        return Err(Problem::not_found(format!(
            "there is no run {run_id} in the journal; `wachter runs` lists those that there are"
        )));
    };
    let outputs = outputs(&node.bus, &stored, run_id).await?;
    Ok(run(&stored, record, &node.sources, &outputs))
}

async fn record(node: Arc<Node>, call: Call<RecordRun>) -> Result<Sent, Problem> {
    let record: RunRecord = serde_json::from_value(call.body.record)
        .map_err(|error| Problem::invalid(format!("`record`: {error}")))?;
    if record.version != VERSION {
        return Err(Problem::invalid(format!(
            "`record.version` is {}, and this node reads {VERSION}; use a `wachter` of its version",
            record.version
        )));
    }
    if record.cause != Cause::AdHoc {
        return Err(Problem::invalid(
            "`record.cause` is not `ad-hoc`; runs of agents are recorded by the node alone",
        ));
    }
    let mut data = json!(record);
    data["by"] = json!(call.caller.name);
    let topic = RUN_FINISHED.parse().expect("the topics of the runtime are topics");
    let id = record_id(record.run).parse().expect("a run and a number make an identifier");
    let event = Event::builder(node.sources.interface(), &topic)
        .id(id)
        .time(Timestamp::now())
        .subject(record.module.as_str())
        .json(&data)
        .build()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    publish(&node.bus, event).await
}

/// What a run is known by in the journal; what it brought counts on from there.
fn record_id(run: RunId) -> String {
    format!("{run}-1")
}

fn finished() -> EventFilter {
    topics(Some(RUN_FINISHED)).expect("the topics of the runtime are filters")
}

/// The record of a run of this node; none of what only looks like one. A module may emit any topic that
/// it was granted, but not under this name.
pub(super) fn record_of(stored: &Stored, sources: &Sources) -> Option<RunRecord> {
    let event = &stored.event;
    let record: RunRecord = serde_json::from_value(event.data().to_json()?).ok()?;
    let source = match record.cause.agent() {
        Some(agent) => sources.agent(agent),
        None => sources.interface(),
    };
    (*event.source() == source && event.id().as_str() == record_id(record.run)).then_some(record)
}

/// What a run brought beside its record: written with it, so it stands right behind.
async fn outputs(bus: &Bus, record: &Stored, run: RunId) -> Result<Vec<Stored>, Problem> {
    let prefix = format!("{run}-");
    let mut outputs = Vec::new();
    let mut place = record.seq.get();
    while outputs.len() < MOST_OUTPUTS {
        place += 1;
        let next = match bus.event(Seq::new(place)).await {
            Ok(next) => next,
            Err(wachter_bus::ReadError::Damaged(_)) => continue,
            Err(error) => return Err(unreadable(&error)),
        };
        match next.filter(|stored| stored.event.id().as_str().starts_with(&prefix)) {
            Some(output) => outputs.push(output),
            None => break,
        }
    }
    Ok(outputs)
}

fn run(stored: &Stored, record: RunRecord, sources: &Sources, outputs: &[Stored]) -> Run {
    let mut findings = record.findings.clone();
    // What a dry run would have emitted stands in its record alone.
    let withheld = record.events.iter();
    let mut events: Vec<_> = withheld
        .map(|emitted| StoredEvent { sequence: stored.seq.get(), event: json!(emitted) })
        .collect();
    for output in outputs {
        match finding(&output.event) {
            Some(finding) => findings.push(finding),
            None => events.push(shown(output)),
        }
    }
    let cause = stored.event.causation_id().map(|id| match &record.cause {
        Cause::Event { source, .. } => format!("{source} {id}"),
        Cause::Requested { .. } => format!("{} {id}", sources.interface()),
        Cause::Schedule { .. } | Cause::AdHoc => format!("{} {id}", sources.scheduler()),
    });
    Run {
        run: record.run,
        agent: record.cause.agent().cloned(),
        cause,
        module: record.module,
        module_digest: record.module_digest,
        started: record.started,
        milliseconds: record.usage.wall_microseconds / 1_000,
        outcome: record.outcome,
        changed: record.changed,
        dry_run: record.dry_run,
        message: record.message,
        findings,
        events,
        record: json_of(&stored.event).get_mut("data").map_or(Value::Null, Value::take),
    }
}

/// A finding says its own type, which is the event's; what a module emits need not look like that.
fn finding(event: &Event) -> Option<Finding> {
    let finding: Finding = serde_json::from_value(event.data().to_json()?).ok()?;
    (finding.kind.as_str() == event.event_type()).then_some(finding)
}
