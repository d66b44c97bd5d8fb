//! What comes of a run, as events: its record, what the module emitted and what it found.

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_bus::{Expect, KeyChange, Outputs};
use wachter_model::{AgentName, AttributeError, Event, EventBuilder, EventKind, RunId, Topic};

use super::reply::{QUERY_FAILED, QueryFailed};
use super::wake::{Sources, topic};
use crate::{Aftermath, RunRecord};

/// A run is over, however it went.
pub const RUN_FINISHED: &str = "run.finished";
/// The bucket of what modules remember, by agent.
pub const STATE_BUCKET: &str = "agent-state";

/// A record above this is kept without what the module told about itself: an event has a limit.
const LARGEST_RECORD: usize = 512 << 10;

/// Makes events on behalf of a run.
struct Maker<'r> {
    sources: &'r Sources,
    agent: &'r AgentName,
    run: RunId,
    cause: &'r Event,
    now: Timestamp,
    count: usize,
}

impl Maker<'_> {
    /// Identified by run and number, so that the same output is the same event.
    fn event(&mut self, topic: &Topic) -> Result<EventBuilder, AttributeError> {
        self.count += 1;
        let id = format!("{}-{}", self.run, self.count).parse()?;
        Ok(Event::builder(self.sources.agent(self.agent), topic)
            .id(id)
            .time(self.now)
            .caused_by(self.cause))
    }
}

/// All that an accepted run brings: events, what they change in the list of findings, and the module's
/// new state, for which the old one must be what the run has read. What a dry run emits and finds stays in its record: whoever listens would take
/// it for what has happened, and act on it.
///
/// # Errors
/// Something that the module emitted cannot stand in an event.
pub(super) fn of_success(
    sources: &Sources,
    agent: &AgentName,
    cause: &Event,
    record: &RunRecord,
    state: Option<(&Value, Expect)>,
    mut keys: Vec<KeyChange>,
    now: Timestamp,
) -> Result<Outputs, AttributeError> {
    let mut maker = Maker { sources, agent, run: record.run, cause, now, count: 0 };
    // Who put a question hears what was emitted, or, where nothing was, the run's own output.
    let asked = cause.kind() == EventKind::Query;
    let mut end = finished(&mut maker, record)?;
    if asked && (record.events.is_empty() || record.dry_run) {
        end = end.kind(EventKind::Response);
    }
    let mut events = vec![end.build()?];
    if record.dry_run {
        return Ok(Outputs { events, ..Outputs::default() });
    }
    for emitted in &record.events {
        let mut builder = maker.event(&emitted.kind)?.json(&emitted.data);
        if asked {
            builder = builder.kind(EventKind::Response);
        }
        if let Some(subject) = &emitted.subject {
            builder = builder.subject(subject).partition_key(subject);
        }
        events.push(builder.build()?);
    }
    for finding in &record.findings {
        let builder = maker.event(&finding.kind)?.json(&json!(finding));
        events.push(builder.subject(&finding.subject).partition_key(&finding.subject).build()?);
    }
    keys.extend(state.map(|(state, expect)| KeyChange {
        bucket: STATE_BUCKET.to_owned(),
        key: agent.to_string(),
        value: Some(state.to_string().into_bytes()),
        expect,
        lasts: None,
    }));
    Ok(Outputs { events, keys })
}

/// The record of a run that brings nothing else. Where it decides, whoever put a question by its cause
/// is told that there will be no answer.
///
/// # Errors
/// It cannot stand in an event, which no record of ours is known to do.
pub(super) fn of_failure(
    sources: &Sources,
    agent: &AgentName,
    cause: &Event,
    record: &RunRecord,
    now: Timestamp,
) -> Result<Vec<Event>, AttributeError> {
    let mut maker = Maker { sources, agent, run: record.run, cause, now, count: 0 };
    let mut events = vec![finished(&mut maker, record)?.build()?];
    if cause.kind() == EventKind::Query && !matches!(record.aftermath, Aftermath::Retried(_)) {
        let reason = record.message.as_ref().unwrap_or(&record.outcome);
        let failed = QueryFailed {
            agent: agent.clone(),
            outcome: record.outcome.clone(),
            error: reason.clone(),
            run: Some(record.run),
        };
        events.push(failed.reply(maker.event(&topic(QUERY_FAILED))?)?);
    }
    Ok(events)
}

/// Events and findings of the run are events of their own, so the record does not repeat them, but of a
/// dry run.
fn finished(maker: &mut Maker<'_>, record: &RunRecord) -> Result<EventBuilder, AttributeError> {
    let mut short = record.clone();
    if !record.dry_run {
        short.events.clear();
        short.findings.clear();
    }
    let mut data = json!(short);
    if data.to_string().len() > LARGEST_RECORD {
        short.leave_out();
        data = json!(short);
    }
    Ok(maker.event(&topic(RUN_FINISHED))?.subject(maker.agent.as_str()).json(&data))
}
