//! Whether an agent wants an event: `on.events` and `on.where`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value as Json;
use wachter_bus::{EventFilter, Predicate};
use wachter_config::Agent;
use wachter_expression::{EvaluationError, EventBindings, Expression};
use wachter_model::{Event, TopicFilter};

use super::wake::{AGENT_DUE, AGENT_REQUESTED, Sources, Wake};

/// The value of `concurrency.key`, as text; JSON where it is none.
///
/// # Errors
/// It could not be worked out.
pub(super) fn key(expression: &Expression, event: &Event) -> Result<String, EvaluationError> {
    let binding = EventBindings::new(event);
    let value = expression.evaluate(&binding)?;
    Ok(match value.to_json() {
        Some(Json::String(text)) => text,
        Some(other) => other.to_string(),
        None => value.type_name().to_owned(),
    })
}

/// What an agent's subscription lets through, for who looks at events beside it.
#[must_use]
pub fn filter_of(agent: &Agent, sources: &Sources) -> EventFilter {
    filter(agent, sources, &Arc::default())
}

/// What an agent's subscription lets through. Conditions that cannot be worked out are counted in
/// `errors`, and count as no.
pub(super) fn filter(agent: &Agent, sources: &Sources, errors: &Arc<AtomicU64>) -> EventFilter {
    let mut topics = agent.on.events.clone();
    topics.extend([AGENT_DUE, AGENT_REQUESTED].map(topic_filter));
    let (condition, sources, errors) =
        (agent.on.condition.clone(), sources.clone(), Arc::clone(errors));
    let name = agent.name.clone();
    let wanted = move |event: &Event| match Wake::of(event, &sources) {
        None => false,
        Some(Wake::Due | Wake::Requested(_)) => event.target() == Some(name.as_str()),
        Some(Wake::Event) => condition.as_ref().is_none_or(|condition| {
            condition.is_true(&EventBindings::new(event)).unwrap_or_else(|_| {
                errors.fetch_add(1, Ordering::Relaxed);
                false
            })
        }),
    };
    EventFilter {
        topics,
        target: Some(agent.name.to_string()),
        predicate: Some(Predicate::new(wanted)),
        ..EventFilter::default()
    }
}

fn topic_filter(topic: &str) -> TopicFilter {
    topic.parse().expect("every topic is a filter")
}
