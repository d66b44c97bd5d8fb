use std::sync::Arc;

use jiff::Timestamp;
use wachter_api::shapes::RouteExplanation;
use wachter_api::{Call, ExplainEventRoutes, Problem, Server};
use wachter_bus::{EventFilter, Predicate};
use wachter_config::Agent;
use wachter_expression::EventBindings;
use wachter_model::{Event, EventKind, chain};
use wachter_runtime::dispatch::{AGENT_DUE, AGENT_REQUESTED, Sources};

use super::agents::wakes_on;
use super::problems::no_release;
use super::with;
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<ExplainEventRoutes, _, _>(with(node, explain_routes))
}

async fn explain_routes(
    node: Arc<Node>,
    call: Call<ExplainEventRoutes>,
) -> Result<Vec<RouteExplanation>, Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let event = call.body.event.map(|event| Event::from_json(event.to_string().as_bytes()));
    let event = event
        .transpose()
        .map_err(|error| Problem::invalid(format!("`event`: {}", chain(&error))))?;
    let now = Timestamp::now();
    let routes = deployment.catalogue.agents().map(|agent| {
        let (reached, mut reason) = match &event {
            Some(event) => {
                let (reached, reason) = explain(event, agent, &node.sources, now);
                (Some(reached), reason)
            }
            None => (None, woken_by(agent)),
        };
        let module = deployment.modules.get(&agent.module);
        if let Some(refused) = module.and_then(|module| module.reason()) {
            reason.push_str(&format!("; its module may not run: {refused}"));
        }
        RouteExplanation {
            agent: agent.name.clone(),
            topics: agent.on.events.iter().map(ToString::to_string).collect(),
            condition: agent.on.condition.as_ref().map(|condition| condition.text().to_owned()),
            reached,
            reason,
        }
    });
    Ok(routes.collect())
}

fn woken_by(agent: &Agent) -> String {
    let wakes = wakes_on(agent);
    if wakes.is_empty() {
        "runs on demand".to_owned()
    } else {
        format!("wakes on {}", wakes.join(", "))
    }
}

/// Whether an event reaches an agent, and why.
pub(super) fn explain(
    event: &Event,
    agent: &Agent,
    sources: &Sources,
    now: Timestamp,
) -> (bool, String) {
    let own = event.target() == Some(agent.name.as_str());
    if let Some(target) = event.target().filter(|_| !own) {
        return (false, format!("it is for `{target}`"));
    }
    let commander = match event.event_type() {
        AGENT_DUE => Some(sources.scheduler()),
        AGENT_REQUESTED => Some(sources.interface()),
        _ => None,
    };
    if let Some(commander) = commander {
        let ours = event.kind() == EventKind::Command && *event.source() == commander;
        return match (ours, own) {
            (true, true) => (true, "the node itself tells it to run".to_owned()),
            (true, false) => (false, "it names no agent".to_owned()),
            (false, _) => (false, "only the node itself may command an agent".to_owned()),
        };
    }
    if agent.on.events.is_empty() {
        return (false, "it listens to no events".to_owned());
    }
    let kind = event.event_type();
    let Some(topic) = agent.on.events.iter().find(|topic| topic.matches_text(kind)) else {
        return (false, format!("none of its topics means `{kind}`"));
    };
    let holds =
        agent.on.condition.as_ref().map(|condition| condition.is_true(&EventBindings::new(event)));
    match holds {
        Some(Err(error)) => {
            return (false, format!("its condition cannot be worked out: {}", chain(&error)));
        }
        Some(Ok(false)) => return (false, "its condition is not met".to_owned()),
        Some(Ok(true)) | None => {}
    }
    let opening = agent.window.as_ref().filter(|window| !window.is_open(now));
    let closed = match opening.and_then(|window| window.opening(now)) {
        Some(opening) => format!("; its window is closed until {opening}"),
        None => String::new(),
    };
    (true, format!("`{topic}` means it{closed}"))
}

/// What reaches an agent, as a filter.
pub(super) fn reaching(agent: &Agent, sources: &Sources) -> EventFilter {
    let commands = [AGENT_DUE, AGENT_REQUESTED];
    let commands = commands.map(|topic| topic.parse().expect("every topic is a filter"));
    let topics = agent.on.events.iter().cloned().chain(commands).collect();
    let (agent, sources) = (agent.clone(), sources.clone());
    let wanted = move |event: &Event| explain(event, &agent, &sources, Timestamp::UNIX_EPOCH).0;
    EventFilter { topics, predicate: Some(Predicate::new(wanted)), ..EventFilter::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wachter_config::Catalogue;

    use super::*;

    fn agent(rest: &str) -> Agent {
        let text = format!("name: worker\nmodule: probe\n{rest}\n");
        let files = [("config/agents/worker.yaml", text.as_str())];
        let catalogue = Catalogue::read(files, &["probe".parse().unwrap()]).unwrap();
        catalogue.agents().next().unwrap().clone()
    }

    fn event(members: Value) -> Event {
        let mut event = json!({
            "specversion": "1.0", "id": "1", "source": "/outside", "type": "github.push",
        });
        event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Event::from_json(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn says_why_an_event_reaches_an_agent_or_does_not() {
        let sources = Sources::new("one".parse().unwrap());
        // A Wednesday at noon.
        let now: Timestamp = "2026-11-18T12:00:00Z".parse().unwrap();
        let check = |rest: &str, members: Value, reached: bool, reason: &str| {
            let (agent, event) = (agent(rest), event(members));
            let explained = explain(&event, &agent, &sources, now);
            assert_eq!(explained.0, reached, "{rest}: {explained:?}");
            assert!(explained.1.contains(reason), "{rest}: {explained:?}");
            let filter = reaching(&agent, &sources);
            assert_eq!(filter.wants(&event), reached, "{rest}");
        };
        let main = "on: { events: ['github.*'], where: \"event.data.ref == 'main'\" }";
        check(main, json!({ "data": { "ref": "main" } }), true, "`github.*` means it");
        check(main, json!({ "data": { "ref": "side" } }), false, "condition is not met");
        check(main, json!({ "data": {} }), false, "cannot be worked out: there is no `ref`");
        check(
            main,
            json!({ "type": "azure.alert" }),
            false,
            "none of its topics means `azure.alert`",
        );
        check(main, json!({ "target": "other", "data": { "ref": "main" } }), false, "for `other`");
        check(main, json!({ "target": "worker", "data": { "ref": "main" } }), true, "means it");
        check("role: scanner", json!({}), false, "listens to no events");
        let night = "on: { events: [github.push] }\nwindow: { allow: 'Mon-Fri 22:00-23:00' }";
        check(night, json!({}), true, "closed until 2026-11-18T22:00:00Z");
        let due = |source: &str, kind: &str, target: &str| json!({ "type": AGENT_DUE, "source": source, "kind": kind, "target": target });
        let every = "on: { schedule: { every: 1h } }";
        check(every, due("/nodes/one/scheduler", "command", "worker"), true, "node itself tells");
        check(every, due("/nodes/one/scheduler", "event", "worker"), false, "only the node");
        check(every, due("/nodes/one/agents/evil", "command", "worker"), false, "only the node");
        check(every, due("/nodes/one/scheduler", "command", "other"), false, "for `other`");
    }
}
