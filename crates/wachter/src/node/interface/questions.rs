use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wachter_api::shapes::StoredEvent;
use wachter_api::{AskQuestion, Call, Problem, ProblemKind, Server};
use wachter_bus::{Bus, EventFilter, Query, Seq};
use wachter_model::{AttributeValue, Event, EventId, EventKind, Source};
use wachter_runtime::dispatch::{HandleError, QueryFailed, filter_of};

use super::dead_letters::subscription;
use super::events::{not_reserved, publish};
use super::look_back::{shown, sound};
use super::problems::{no_release, unhandled};
use super::with;
use crate::node::context::Node;

/// How long an answer is waited for where nobody says, and at most, in milliseconds.
const PATIENCE: u64 = 30_000;
const LONGEST: u64 = 600_000;

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<AskQuestion, _, _>(with(node, ask))
}

async fn ask(node: Arc<Node>, call: Call<AskQuestion>) -> Result<StoredEvent, Problem> {
    let (question, caller) = (call.body, call.caller);
    not_reserved(&question.kind)?;
    let patience = question.timeout.unwrap_or(PATIENCE);
    if patience > LONGEST {
        return Err(Problem::invalid(format!("`timeout` is over {LONGEST} milliseconds")));
    }
    let id = EventId::new();
    let mut builder = Event::builder(node.sources.interface(), &question.kind)
        .id(id.clone())
        .kind(EventKind::Query)
        .correlation_id(id.as_str())
        .time(Timestamp::now())
        .extension("sentby", AttributeValue::Text(caller.name))
        .json(&question.data);
    if let Some(subject) = question.subject {
        builder = builder.subject(subject);
    }
    let event = builder.build().map_err(|error| Problem::invalid(error.to_string()))?;
    let takers = takers(&node, &event)?;
    let asked = publish(&node.bus, event).await?;
    let answering = answer(&node.bus, &id, Seq::new(asked.sequence), takers);
    match tokio::time::timeout(Duration::from_millis(patience), answering).await {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(
            ProblemKind::TimedOut,
            format!(
                "nobody answered `{}` within {patience} ms; `wachter trace {id}` shows what came of it",
                question.kind
            ),
        )),
    }
}

/// The sources of the agents that a question wakes, now or when what holds them is over.
///
/// # Errors
/// There is none, so that nobody would answer.
fn takers(node: &Node, question: &Event) -> Result<BTreeSet<Source>, Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let agents = deployment.catalogue.agents();
    let takers: Vec<_> =
        agents.filter(|agent| filter_of(agent, &node.sources).wants(question)).collect();
    if takers.is_empty() {
        return Err(Problem::not_found(format!(
            "no agent on this node takes `{}`; `wachter agents routes` says what each of them takes",
            question.event_type()
        )));
    }
    // An agent that never was at work has no place in the journal yet: it would not hear of it.
    let subscriptions = node.bus.subscriptions();
    let listens = |agent: &&wachter_config::Agent| {
        let name = subscription(agent.name.as_str()).ok();
        subscriptions.iter().any(|status| Some(&status.name) == name.as_ref())
    };
    let sources: BTreeSet<Source> =
        takers.into_iter().filter(listens).map(|agent| node.sources.agent(&agent.name)).collect();
    if sources.is_empty() { Err(unhandled(&HandleError::Away)) } else { Ok(sources) }
}

/// Waits for the response to a question at this place, or until each that took it has failed: then the
/// last of them says so.
async fn answer(
    bus: &Bus,
    id: &EventId,
    asked: Seq,
    mut takers: BTreeSet<Source>,
) -> Result<StoredEvent, Problem> {
    let mut seen = asked;
    loop {
        let last = bus.status().last;
        if last > seen {
            let filter = EventFilter { kinds: vec![EventKind::Response], ..EventFilter::default() };
            let correlation = Some(id.to_string());
            let mut replay =
                bus.replay(Query { filter, after: seen, correlation, ..Query::default() });
            while let Some(stored) = replay.next().await {
                let Some(stored) = sound(stored)? else { continue };
                if QueryFailed::of(&stored.event).is_some() {
                    takers.remove(stored.event.source());
                    if !takers.is_empty() {
                        continue;
                    }
                }
                return Ok(shown(&stored));
            }
            seen = last;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
