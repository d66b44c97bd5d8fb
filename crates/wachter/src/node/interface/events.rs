use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use wachter_api::shapes::{Sent, StoredEvent};
use wachter_api::{Call, FollowEvents, ListEvents, Problem, ProblemKind, SendEvent, Server};
use wachter_bus::{Bus, EventFilter, Query, Replay, Seq};
use wachter_model::{AttributeValue, Event, EventKind, Topic};

use super::look_back::{Bounds, latest, shown, size, sound, topics};
use super::problems::{stopping, unpublished};
use super::with;
use crate::node::announce::is_own;
use crate::node::context::Node;

/// How many a list has where nobody says, and at most.
const FEW: u32 = 50;
const MOST: u32 = 1_000;

/// How often who follows looks for what is new.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<ListEvents, _, _>(with(node, list))
        .stream::<FollowEvents, _, _, _>(with(node, follow))
        .answer::<SendEvent, _, _>(with(node, send))
}

async fn list(node: Arc<Node>, call: Call<ListEvents>) -> Result<Vec<StoredEvent>, Problem> {
    let query = call.query;
    let filter = topics(query.topic.as_deref())?;
    let limit = usize::try_from(query.limit.unwrap_or(FEW).min(MOST)).unwrap_or(usize::MAX);
    let bounds = Bounds { since: query.since, after: query.after };
    let found =
        latest(&node.bus, filter, bounds, limit, |stored| Some((size(stored), stored.clone())))
            .await?;
    Ok(found.iter().map(shown).collect())
}

async fn follow(
    node: Arc<Node>,
    call: Call<FollowEvents>,
) -> Result<impl Stream<Item = Result<StoredEvent, Problem>> + use<>, Problem> {
    let filter = topics(call.query.topic.as_deref())?;
    let after = call.query.after.map_or_else(|| node.bus.status().last, Seq::new);
    let following = Following { bus: node.bus.clone(), filter, after, replay: None };
    Ok(stream::try_unfold(following, |mut following| async {
        Ok(following.next().await?.map(|event| (event, following)))
    }))
}

/// Events as they come, without a place in the journal of their own.
struct Following {
    bus: Bus,
    filter: EventFilter,
    /// All up to here was told.
    after: Seq,
    /// What is being read, and up to where it goes.
    replay: Option<(Replay, Seq)>,
}

impl Following {
    async fn next(&mut self) -> Result<Option<StoredEvent>, Problem> {
        loop {
            match &mut self.replay {
                Some((replay, to)) => match replay.next().await {
                    Some(stored) => {
                        if let Some(stored) = sound(stored)? {
                            self.after = stored.seq;
                            return Ok(Some(shown(&stored)));
                        }
                    }
                    None => {
                        self.after = self.after.max(*to);
                        self.replay = None;
                    }
                },
                None => {
                    // Before the replay is made, which goes at least as far.
                    let last = self.bus.status().last;
                    if last <= self.after {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    let (filter, after) = (self.filter.clone(), self.after);
                    let query = Query { filter, after, ..Query::default() };
                    self.replay = Some((self.bus.replay(query), last));
                }
            }
        }
    }
}

async fn send(node: Arc<Node>, call: Call<SendEvent>) -> Result<Sent, Problem> {
    let (event, caller) = (call.body, call.caller);
    not_reserved(&event.kind)?;
    let mut builder = Event::builder(node.sources.interface(), &event.kind)
        .time(Timestamp::now())
        .extension("sentby", AttributeValue::Text(caller.name))
        .json(&event.data);
    if let Some(subject) = event.subject {
        builder = builder.subject(subject);
    }
    if let Some(key) = event.partition_key {
        builder = builder.partition_key(key);
    }
    if let Some(id) = event.id {
        // Each user has identifiers of its own; a UUID of the node's own has no colon.
        let own = format!("{}:{id}", caller.user);
        let own = own.parse().map_err(|error| Problem::invalid(format!("`id`: {error}")))?;
        builder = builder.id(own);
    }
    let event = builder.build().map_err(|error| Problem::invalid(error.to_string()))?;
    publish(&node.bus, event).await
}

/// Whether a person may speak of a topic.
///
/// # Errors
/// The node alone does.
pub(super) fn not_reserved(topic: &Topic) -> Result<(), Problem> {
    if is_own(topic) {
        let first = topic.as_str().split('.').next().unwrap_or_default();
        return Err(Problem::new(
            ProblemKind::Refused,
            format!(
                "`{topic}`: topics below `{first}` are the node's own; choose another first word"
            ),
        ));
    }
    Ok(())
}

/// Takes an event, durably.
///
/// # Errors
/// The journal did not take it.
pub(super) async fn publish(bus: &Bus, event: Event) -> Result<Sent, Problem> {
    debug_assert!(event.kind() != EventKind::Response, "the interface answers nothing");
    let id = event.id().to_string();
    let published = bus.publish(vec![event]).await.map_err(|error| unpublished(&error))?;
    // A batch of one has one place.
    let published = published.first().ok_or_else(stopping)?;
    Ok(Sent { id, sequence: published.seq.get(), duplicate: published.duplicate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_alone_speaks_of_itself() {
        let check = |topic: &str, free: bool| {
            assert_eq!(not_reserved(&topic.parse().unwrap()).is_ok(), free, "{topic}");
        };
        for topic in ["agent.requested", "agent.due", "run.finished", "api.called", "node"] {
            check(topic, false);
        }
        for topic in ["release.accepted", "configuration.changed", "effects.thawed", "bus.x"] {
            check(topic, false);
        }
        for topic in ["agents.note", "runs", "scan.requested", "github.run.finished"] {
            check(topic, true);
        }
    }
}
