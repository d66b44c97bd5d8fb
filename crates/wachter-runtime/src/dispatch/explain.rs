//! Why an event reaches an agent or does not: what `wachter agents routes` says.

use wachter_config::{Agent, Overlap, Presence};
use wachter_expression::EventBindings;
use wachter_model::{AgentName, Event, NodeName};

use super::condition;
use super::wake::{AGENT_DUE, AGENT_REQUESTED, Sources, Wake};
use super::{AgentReport, Hold};
use crate::Deployment;

/// Why an event reaches an agent, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The agent.
    pub agent: AgentName,
    /// The topics that it listens to.
    pub topics: Vec<String>,
    /// Its condition.
    pub condition: Option<String>,
    /// Whether the event wakes it, now or when what holds it is over; none where no event was given.
    pub reached: Option<bool>,
    /// Why, in a sentence.
    pub reason: String,
}

/// What routes depend on.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'r> {
    /// The node.
    pub node: &'r NodeName,
    /// What is deployed on it.
    pub deployment: &'r Deployment,
    /// How its agents do. One that has no report is taken to be idle.
    pub reports: &'r [AgentReport],
}

/// What an event does to an agent, and why.
enum Verdict {
    Reached(String),
    NotReached(String),
}

/// Says of each agent of the deployment, by name, whether `event` reaches it and why. Without an event,
/// says what wakes each. Looks at nothing but what it is given.
#[must_use]
pub fn explain(event: Option<&Event>, routes: &Routes<'_>) -> Vec<Explanation> {
    let here = routes.deployment.catalogue.agents().map(|agent| {
        let (reached, reason) = match event.map(|event| judge(event, agent, routes)) {
            Some(Verdict::Reached(reason)) => (Some(true), reason),
            Some(Verdict::NotReached(reason)) => (Some(false), reason),
            None => (None, wakes_on(agent)),
        };
        Explanation {
            agent: agent.name.clone(),
            topics: agent.on.events.iter().map(ToString::to_string).collect(),
            condition: agent.on.condition.as_ref().map(|condition| condition.text().to_owned()),
            reached,
            reason,
        }
    });
    let absent = routes.deployment.catalogue.absent().map(|(agent, presence)| Explanation {
        agent: agent.clone(),
        topics: Vec::new(),
        condition: None,
        reached: event.map(|_| false),
        reason: match presence {
            Presence::Disabled => "a setting switches it off on this node".to_owned(),
            Presence::Elsewhere | Presence::Here => "its `nodes` leaves this node out".to_owned(),
        },
    });
    let mut all: Vec<Explanation> = here.chain(absent).collect();
    all.sort_by(|one, other| one.agent.cmp(&other.agent));
    all
}

fn wakes_on(agent: &Agent) -> String {
    let schedule = agent.on.schedule.as_ref().map(|_| "its schedule".to_owned());
    let events = (!agent.on.events.is_empty()).then(|| {
        let topics: Vec<String> = agent.on.events.iter().map(ToString::to_string).collect();
        let condition = agent.on.condition.as_ref();
        let condition = condition.map(|condition| format!(" where {}", condition.text()));
        format!("{}{}", topics.join(", "), condition.unwrap_or_default())
    });
    let parts: Vec<String> = schedule.into_iter().chain(events).collect();
    match parts.as_slice() {
        [] => "nothing wakes it but a request".to_owned(),
        parts => format!("woken by {}", parts.join(", and by ")),
    }
}

fn judge(event: &Event, agent: &Agent, routes: &Routes<'_>) -> Verdict {
    match means(event, agent, routes) {
        Err(reason) => Verdict::NotReached(reason),
        Ok(()) => meets(event, agent, routes),
    }
}

/// Whether the agent's subscription takes the event; what it says is the same that [`condition::filter`]
/// does, in words.
fn means(event: &Event, agent: &Agent, routes: &Routes<'_>) -> Result<(), String> {
    let own = agent.name.as_str();
    let command = matches!(event.event_type(), AGENT_DUE | AGENT_REQUESTED);
    if let Some(target) = event.target().filter(|target| *target != own) {
        return Err(format!("it is meant for `{target}`"));
    }
    if command {
        if event.target().is_none() {
            return Err("it is a command that names no agent as its target".to_owned());
        }
        return match Wake::of(event, &Sources::new(routes.node.clone())) {
            Some(_) => Ok(()),
            None => Err(format!(
                "commands count from this node's own sources alone, and in their own form; this one \
                 is from `{}`",
                event.source()
            )),
        };
    }
    let text = event.event_type();
    if !agent.on.events.iter().any(|filter| filter.matches_text(text)) {
        return Err(not_its_topic(agent, text));
    }
    let Some(expression) = &agent.on.condition else { return Ok(()) };
    match expression.is_true(&EventBindings::new(event)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("`where` is false: {}", expression.text())),
        Err(error) => {
            let before = expression.text().get(..error.span.start).unwrap_or_default();
            let column = before.chars().count() + 1;
            let part = expression.text().get(error.span.start..error.span.end).unwrap_or_default();
            Err(format!(
                "`where` cannot be worked out, which counts as no: {error}, at `{part}`, character \
                 {column} of {}",
                expression.text()
            ))
        }
    }
}

fn not_its_topic(agent: &Agent, text: &str) -> String {
    let in_common = |filter: &str| {
        let pairs = filter.split('.').zip(text.split('.'));
        pairs.take_while(|(wanted, found)| wanted == found || *wanted == "*").count()
    };
    let filters = agent.on.events.iter().map(ToString::to_string);
    match filters.max_by_key(|filter| in_common(filter)) {
        None => "it listens to no events".to_owned(),
        Some(nearest) if agent.on.events.len() == 1 => {
            format!("it listens to `{nearest}`, not to `{text}`")
        }
        Some(nearest) => {
            format!("it does not listen to `{text}`; what comes nearest is `{nearest}`")
        }
    }
}

/// What becomes of an event that the subscription takes.
fn meets(event: &Event, agent: &Agent, routes: &Routes<'_>) -> Verdict {
    let module = routes.deployment.modules.get(&agent.module);
    let stopped = match module {
        Some(module) => module.reason().map(str::to_owned),
        None => Some(format!("there is no module `{}`", agent.module)),
    };
    if let Some(reason) = stopped {
        return Verdict::NotReached(format!(
            "its module may not run, so the event goes to the dead letters: {reason}"
        ));
    }
    let report = routes.reports.iter().find(|report| report.agent.name == agent.name);
    let Some(report) = report else { return Verdict::Reached("it runs".to_owned()) };
    match &report.waits_for {
        Some(Hold::Paused) => {
            let pause = report.pause.as_ref();
            let since = pause.map(|pause| format!(" since {}, {}", pause.since, pause.sentence()));
            let since = since.unwrap_or_default();
            return Verdict::Reached(format!(
                "it waits in the journal: the agent is paused{since}"
            ));
        }
        Some(hold) => return Verdict::Reached(format!("it waits in the journal: {hold}")),
        None => {}
    }
    let command = matches!(event.event_type(), AGENT_DUE | AGENT_REQUESTED);
    let key = agent.concurrency.key.as_ref().filter(|_| !command);
    let key = match key.map(|key| condition::key(key, event)).transpose() {
        Ok(key) => key,
        Err(error) => {
            return Verdict::NotReached(format!(
                "`concurrency.key` cannot be worked out, so the event goes to the dead letters: \
                 {error}"
            ));
        }
    };
    let running = report.running_by_key.get(&key).copied().unwrap_or_default();
    let limit = usize::try_from(agent.concurrency.limit.get()).unwrap_or(usize::MAX);
    match agent.concurrency.overlap {
        Overlap::Skip if running >= limit => Verdict::NotReached(format!(
            "it is passed over: {running} run(s) like it are under way, and `overlap` is `skip`"
        )),
        Overlap::Queue if running >= limit => {
            Verdict::Reached(format!("it waits its turn: {running} run(s) like it are under way"))
        }
        Overlap::Replace if running >= limit => {
            Verdict::Reached("it takes the place of a run that is under way".to_owned())
        }
        _ => Verdict::Reached("it runs".to_owned()),
    }
}
