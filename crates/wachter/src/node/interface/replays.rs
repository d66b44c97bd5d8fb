use std::sync::Arc;

use wachter_api::shapes::{Replay, ReplayReport};
use wachter_api::{Call, Problem, ReplayEvents, Server};
use wachter_bus::{Bus, End, EventFilter, Query, Redelivery, Seq, Start};
use wachter_runtime::dispatch::filter_of;
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
    let (start, end) = bounds(&call.body)?;
    let name = subscription(&call.body.subscription)?;
    let short = name.as_str().rsplit('/').next().unwrap_or_default();
    let deployment = node.deployment.borrow().clone();
    let mut agents = deployment.iter().flat_map(|deployment| deployment.catalogue.agents());
    let agent = agents.find(|agent| agent.name.as_str() == short);
    let dry_run = agent.is_some_and(|agent| has_effects(agent.role));
    let filter = agent.map(|agent| filter_of(agent, &node.sources)).unwrap_or_default();
    let given = node.bus.redeliver(name.clone(), start, end).await;
    let Some(given) = given.map_err(|error| unwritten(&error))? else {
        let subscriptions = node.bus.subscriptions();
        let known =
            subscriptions.iter().filter_map(|status| status.name.as_str().rsplit('/').next());
        return Err(unknown("subscription", short, known, "wachter subscriptions"));
    };
    Ok(ReplayReport { events: count(&node.bus, filter, given).await?, dry_run })
}

/// From where to where.
fn bounds(asked: &Replay) -> Result<(Start, End), Problem> {
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
    let end = match (asked.to, asked.until) {
        (None, None) => End::Here,
        (Some(place), None) => End::Seq(Seq::new(place)),
        (None, Some(time)) => End::Time(time),
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("`to` and `until` exclude each other"));
        }
    };
    let backwards = match (start, end) {
        (Start::Seq(from), End::Seq(to)) => to < from,
        (Start::Time(since), End::Time(until)) => until <= since,
        _ => false,
    };
    if backwards {
        return Err(Problem::invalid("it ends before it begins; exchange the two"));
    }
    Ok((start, end))
}

/// How many of the events that are given again are meant.
async fn count(bus: &Bus, filter: EventFilter, given: Redelivery) -> Result<u64, Problem> {
    let mut replay = bus.replay(Query { filter, after: given.after, ..Query::default() });
    let mut events = 0;
    while let Some(stored) = replay.next().await {
        let Some(stored) = sound(stored)? else { continue };
        if stored.seq > given.to {
            break;
        }
        events += 1;
    }
    Ok(events)
}
