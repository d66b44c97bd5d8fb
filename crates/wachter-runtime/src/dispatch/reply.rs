//! What whoever put a question is told where nothing answers it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_bus::{AckError, Delivery, Outputs};
use wachter_model::{AgentName, AttributeError, Event, EventBuilder, EventKind, RunId};

use super::Dispatcher;
use super::settle::TROUBLE;
use super::wake::topic;

/// A question that an agent took will have no answer from it.
pub const QUERY_FAILED: &str = "query.failed";

/// What a reply of this kind says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryFailed {
    /// Who took the question.
    pub agent: AgentName,
    /// How its last run ended, as in a run's record; `not-begun` where there was none.
    pub outcome: String,
    /// Why, in a sentence.
    pub error: String,
    /// The last run, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

impl QueryFailed {
    /// What a reply says; none of an event that is no such reply.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.event_type() != QUERY_FAILED || event.kind() != EventKind::Response {
            return None;
        }
        serde_json::from_value(event.data().to_json()?).ok()
    }

    pub(super) fn reply(&self, builder: EventBuilder) -> Result<Event, AttributeError> {
        builder.kind(EventKind::Response).subject(self.agent.as_str()).json(&json!(self)).build()
    }
}

impl Dispatcher {
    /// What will not run is done with.
    pub(super) async fn skip(&self, name: &AgentName, mut delivery: Delivery, reason: &str) {
        let outputs = self.without_answer(name, &delivery, reason);
        // What could not be written comes again and is skipped again.
        if let Err(AckError::Write(_)) = delivery.ack(outputs).await {
            delivery.put_back(TROUBLE);
        }
    }

    /// What cannot run goes to where people see it.
    pub(super) async fn give_up(&self, name: &AgentName, mut delivery: Delivery, reason: String) {
        let outputs = self.without_answer(name, &delivery, &reason);
        // What could not be given up comes again and is given up again.
        if let Err(AckError::Write(_)) = delivery.dead_letter_with(outputs, reason).await {
            delivery.put_back(TROUBLE);
        }
    }

    /// The reply to a question that leads to no run; nothing where none was put.
    fn without_answer(&self, name: &AgentName, delivery: &Delivery, reason: &str) -> Outputs {
        let cause = delivery.event();
        if cause.kind() != EventKind::Query {
            return Outputs::default();
        }
        let failed = QueryFailed {
            agent: name.clone(),
            outcome: "not-begun".to_owned(),
            error: reason.to_owned(),
            run: None,
        };
        let builder = Event::builder(self.sources.agent(name), &topic(QUERY_FAILED));
        // A reason is text, and so is a name: both stand in any event.
        let reply = failed.reply(builder.time(self.now()).caused_by(cause));
        Outputs { events: reply.into_iter().collect(), ..Outputs::default() }
    }
}
