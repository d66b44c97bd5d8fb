use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use wachter_api::shapes::Change;
use wachter_api::{
    Call, Endpoint as _, FreezeEffects, ListChanges, Problem, RecordRun, Server, ThawEffects,
};
use wachter_bus::Stored;
use wachter_runtime::Cause;
use wachter_runtime::dispatch::{RUN_FINISHED, Sources};

use super::look_back::{Bounds, latest, topics};
use super::runs::record_of;
use super::with;
use crate::node::announce::{API_CALLED, CONFIGURATION_CHANGED, RELEASE_ACCEPTED};
use crate::node::context::Node;

/// How far back a list goes where nobody says.
const LATELY: SignedDuration = SignedDuration::from_hours(1);

/// How many changes a list has at most: the newest.
const MOST: usize = 10_000;

/// What tells of a change.
const TOPICS: &str = "run.finished,release.accepted,configuration.changed,effects.*,agent.paused,agent.resumed,api.called";

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<ListChanges, _, _>(with(node, list))
}

async fn list(node: Arc<Node>, call: Call<ListChanges>) -> Result<Vec<Change>, Problem> {
    let lately = || Timestamp::now().saturating_sub(LATELY).unwrap_or(Timestamp::MIN);
    let bounds = Bounds { since: Some(call.query.since.unwrap_or_else(lately)), after: None };
    let filter = topics(Some(TOPICS))?;
    latest(&node.bus, filter, bounds, MOST, |stored| {
        change(stored, &node.sources).map(|change| (change.what.len(), change))
    })
    .await
}

/// What an event tells of a change; none where nothing was changed, or somebody else than the node
/// says so.
fn change(stored: &Stored, sources: &Sources) -> Option<Change> {
    let event = &stored.event;
    let (kind, by, what) = if event.event_type() == RUN_FINISHED {
        of_run(stored, sources)?
    } else {
        if *event.source() != sources.node() {
            return None;
        }
        let data = event.data().to_json().unwrap_or_default();
        told(event.event_type(), event.subject().unwrap_or_default(), &data)?
    };
    let time = event.time().unwrap_or(stored.at);
    Some(Change { time, sequence: stored.seq.get(), kind: kind.to_owned(), by, what })
}

type Told = (&'static str, String, String);

fn of_run(stored: &Stored, sources: &Sources) -> Option<Told> {
    let record = record_of(stored, sources)?;
    if !record.changed || record.dry_run {
        return None;
    }
    let by = match &record.cause {
        Cause::AdHoc => text(&stored.event.data().to_json()?, "by"),
        Cause::Requested { agent, by } => format!("{agent}, asked by {by}"),
        Cause::Schedule { agent } | Cause::Event { agent, .. } => agent.to_string(),
    };
    let said = record.message.map(|message| format!(": {message}")).unwrap_or_default();
    Some(("run", by, format!("{} changed something{said} (run {})", record.module, record.run)))
}

fn told(topic: &str, subject: &str, data: &Value) -> Option<Told> {
    let or_node = |name: String| if name.is_empty() { "the node".to_owned() } else { name };
    let reason = || Some(text(data, "reason")).filter(|reason| !reason.is_empty());
    let because = || reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(match topic {
        RELEASE_ACCEPTED => {
            let signers: Vec<&str> = data["signers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            ("release", or_node(signers.join(", ")), format!("release {subject} came into force"))
        }
        CONFIGURATION_CHANGED => {
            let changed: Vec<&str> = data["changed"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let which = if changed.is_empty() {
                String::new()
            } else {
                format!(": {}", changed.join(", "))
            };
            (
                "configuration",
                or_node(text(data, "by")),
                format!("another configuration counts{which}"),
            )
        }
        API_CALLED => {
            let endpoint = text(data, "endpoint");
            // These tell of themselves.
            let own = [FreezeEffects::ROUTE, ThawEffects::ROUTE, RecordRun::ROUTE];
            let done = data["status"].as_u64().is_some_and(|status| status < 400);
            if !done || own.iter().any(|route| route.name == endpoint) {
                return None;
            }
            let what = format!("{} {} ({endpoint})", text(data, "method"), text(data, "path"));
            ("command", text(data, "name"), what)
        }
        _ if topic.starts_with("effects.") => {
            let what = if topic.ends_with(".frozen") {
                "effects were stopped"
            } else {
                "effects happen again"
            };
            ("effects", or_node(text(data, "by")), format!("{what}{}", because()))
        }
        _ => {
            let what = topic.rsplit('.').next().unwrap_or_default();
            ("agent", or_node(text(data, "by")), format!("agent {subject} was {what}{}", because()))
        }
    })
}

fn text(data: &Value, key: &str) -> String {
    data[key].as_str().unwrap_or_default().to_owned()
}
