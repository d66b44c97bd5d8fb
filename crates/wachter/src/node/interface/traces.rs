use std::collections::VecDeque;
use std::sync::Arc;

use wachter_api::shapes::{Trace, TracedEvent};
use wachter_api::{Call, Problem, ProblemKind, Server, TraceEvent};
use wachter_bus::{Bus, Query, Seq, Stored};

use super::look_back::{find, shown, sound};
use super::problems::unreadable;
use super::with;
use crate::node::context::Node;

/// How many causes are followed upwards: a chain that is longer has a loop, or is somebody's joke.
const MOST_CAUSES: usize = 1_000;

/// How many events of one beginning are looked through for causes, the newest before the one that was
/// asked about: an agent that wakes itself makes any number of them.
const MOST_MEMBERS: usize = 10_000;

/// Events before the first of a tree among which its root is looked for first; four times as many
/// whenever it is not there.
const FIRST_SPAN: u64 = 256;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<TraceEvent, _, _>(with(node, trace))
}

async fn trace(node: Arc<Node>, call: Call<TraceEvent>) -> Result<Trace, Problem> {
    let asked = asked(&node.bus, &call.parameter::<String>()?).await?;
    let root = root(&node.bus, asked.clone()).await?;
    let begin = root.at;
    let found = node.bus.trace(root).await.map_err(|error| unreadable(&error))?;
    let events = found.events.iter().map(|traced| TracedEvent {
        event: shown(&traced.stored),
        asked: traced.stored.seq == asked.seq,
        milliseconds: i64::try_from(traced.stored.at.duration_since(begin).as_millis())
            .unwrap_or(i64::MAX),
        cause: traced.cause,
    });
    Ok(Trace { events: events.collect(), complete: found.complete })
}

/// The event that is meant by an identifier, or by its place in the journal.
async fn asked(bus: &Bus, text: &str) -> Result<Stored, Problem> {
    if let Ok(place) = text.parse().map(Seq::new) {
        let found = bus.event(place).await.map_err(|error| unreadable(&error))?;
        return found.ok_or_else(|| Problem::not_found(format!("there is no event at {place}")));
    }
    let mut found = find(bus, text).await?;
    if found.len() > 1 {
        let places =
            found.iter().map(|stored| format!("{} ({})", stored.seq, stored.event.source()));
        let places: Vec<String> = places.collect();
        return Err(Problem::new(
            ProblemKind::Conflict,
            format!("several events are called `{text}`; ask by place: {}", places.join(", ")),
        ));
    }
    found.pop().ok_or_else(|| {
        Problem::not_found(format!(
            "there is no event `{text}` in the journal; `wachter events` lists the newest"
        ))
    })
}

/// Goes from cause to cause, as far as the journal knows them.
async fn root(bus: &Bus, mut event: Stored) -> Result<Stored, Problem> {
    let Some(cause) = event.event.causation_id().map(str::to_owned) else { return Ok(event) };
    let tree = event.event.correlation_id().map(str::to_owned);
    let members = match &tree {
        Some(tree) => members(bus, tree, event.seq).await?,
        None => VecDeque::new(),
    };
    let mut cause = Some(cause);
    for _ in 0..MOST_CAUSES {
        let Some(id) = cause.take() else { break };
        let known = members.iter().find(|stored| stored.event.id().as_str() == id).cloned();
        let found = match known {
            Some(known) => Some(known),
            // What began it all names no correlation itself.
            None => before(bus, &id, members.front().map_or(event.seq, |first| first.seq)).await?,
        };
        // It may have been dropped by retention, or be of another node.
        let Some(found) = found.filter(|found| found.seq < event.seq) else { break };
        cause = found.event.causation_id().map(str::to_owned);
        event = found;
    }
    Ok(event)
}

/// The events before a place that were begun by the same one, which has them by an index.
async fn members(bus: &Bus, correlation: &str, place: Seq) -> Result<VecDeque<Stored>, Problem> {
    let query = Query { correlation: Some(correlation.to_owned()), ..Query::default() };
    let mut replay = bus.replay(query);
    let mut members = VecDeque::new();
    while let Some(stored) = replay.next().await {
        let Some(stored) = sound(stored)? else { continue };
        if stored.seq >= place {
            break;
        }
        if members.len() == MOST_MEMBERS {
            members.pop_front();
        }
        members.push_back(stored);
    }
    Ok(members)
}

/// An event of this identifier before a place: a cause stands before its effects, and mostly right
/// before them.
async fn before(bus: &Bus, id: &str, place: Seq) -> Result<Option<Stored>, Problem> {
    let (mut upper, mut span) = (place.get(), FIRST_SPAN);
    while upper > 0 {
        let after = upper.saturating_sub(span);
        let mut replay = bus.replay(Query { after: Seq::new(after), ..Query::default() });
        while let Some(stored) = replay.next().await {
            let Some(stored) = sound(stored)? else { continue };
            if stored.seq.get() > upper {
                break;
            }
            if stored.event.id().as_str() == id {
                return Ok(Some(stored));
            }
        }
        (upper, span) = (after, span.saturating_mul(4));
    }
    Ok(None)
}
