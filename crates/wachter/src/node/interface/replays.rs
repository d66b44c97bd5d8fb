use std::sync::Arc;

use wachter_api::shapes::ReplayReport;
use wachter_api::{Call, Problem, ProblemKind, ReplayEvents, Server};
use wachter_bus::{Bus, EventFilter, Predicate, Query, Seq, Start};
use wachter_config::Agent;
use wachter_expression::EventBindings;
use wachter_model::{Event, EventKind};
use wachter_runtime::dispatch::{AGENT_DUE, AGENT_REQUESTED, Sources};
use wachter_runtime::schedule::has_effects;

use super::dead_letters::subscription;
use super::look_back::sound;
use super::problems::{unknown, unwritten};
use super::with;
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<ReplayEvents, _, _>(with(node, replay))
}

async fn replay(node: Arc<Node>, call: Call<ReplayEvents>) -> Result<ReplayReport, Problem> {
    let asked = call.body;
    let start = match (asked.from, asked.since) {
        (Some(place), None) => Start::Seq(Seq::new(place)),
        (None, Some(time)) => Start::Time(time),
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("`from` and `since` exclude each other"));
        }
        (None, None) => {
            return Err(Problem::invalid("say from where: `from` is a place, `since` a moment"));
        }
    };
    if asked.to.is_some() {
        return Err(Problem::new(
            ProblemKind::Refused,
            "`to` cannot be kept: a subscription goes on to the newest event; leave `to` out",
        ));
    }
    let name = subscription(&asked.subscription)?;
    let short = name.as_str().rsplit('/').next().unwrap_or_default();
    let subscriptions = node.bus.subscriptions();
    if !subscriptions.iter().any(|status| status.name == name) {
        let known =
            subscriptions.iter().filter_map(|status| status.name.as_str().rsplit('/').next());
        return Err(unknown("subscription", short, known, "wachter subscriptions"));
    }
    let deployment = node.deployment.borrow().clone();
    let mut agents = deployment.iter().flat_map(|deployment| deployment.catalogue.agents());
    let agent = agents.find(|agent| agent.name.as_str() == short);
    let dry_run = agent.is_some_and(|agent| has_effects(agent.role));
    if asked.effects && dry_run {
        return Err(Problem::new(
            ProblemKind::Refused,
            format!(
                "`{short}` has effects, and a replay never has; `wachter agents run {short}` runs it for real"
            ),
        ));
    }
    let filter = agent.map(|agent| meant(agent, &node.sources)).unwrap_or_default();
    let events = count(&node.bus, filter, start).await?;
    let found = node.bus.reset(name.clone(), start).await.map_err(|error| unwritten(&error))?;
    if !found {
        return Err(unknown("subscription", short, None, "wachter subscriptions"));
    }
    Ok(ReplayReport { events, dry_run })
}

/// What an agent's subscription lets through.
fn meant(agent: &Agent, sources: &Sources) -> EventFilter {
    let commanders = [(AGENT_DUE, sources.scheduler()), (AGENT_REQUESTED, sources.interface())];
    let commands = commanders.iter().map(|(topic, _)| topic.parse());
    let commands = commands.map(|topic| topic.expect("every topic is a filter"));
    let topics = agent.on.events.iter().cloned().chain(commands).collect();
    let (name, condition) = (agent.name.clone(), agent.on.condition.clone());
    let wanted = move |event: &Event| match commanders
        .iter()
        .find(|(topic, _)| *topic == event.event_type())
    {
        Some((_, commander)) => {
            event.kind() == EventKind::Command
                && event.target() == Some(name.as_str())
                && event.source() == commander
        }
        None => condition
            .as_ref()
            .is_none_or(|condition| condition.is_true(&EventBindings::new(event)).unwrap_or(false)),
    };
    EventFilter {
        topics,
        target: Some(agent.name.to_string()),
        predicate: Some(Predicate::new(wanted)),
        ..EventFilter::default()
    }
}

/// How many events from there on are meant.
async fn count(bus: &Bus, filter: EventFilter, start: Start) -> Result<u64, Problem> {
    let (after, since) = match start {
        Start::Seq(seq) => (Seq::new(seq.get().saturating_sub(1)), None),
        Start::Time(time) => (Seq::ZERO, Some(time)),
        Start::Now => (bus.status().last, None),
        Start::Beginning => (Seq::ZERO, None),
    };
    let mut replay = bus.replay(Query { filter, after, since, ..Query::default() });
    let mut events = 0;
    while let Some(stored) = replay.next().await {
        events += u64::from(sound(stored)?.is_some());
    }
    Ok(events)
}
