use std::cell::OnceCell;
use std::sync::LazyLock;

use wachter_model::{AttributeValue, Event, JsonDocument};

use crate::{Bindings, Environment, Record, Shape, Value};

/// The name that an event is bound to.
const EVENT: &str = "event";

/// The attributes of CloudEvents 1.0, and Wachter's extensions.
const ATTRIBUTES: [(&str, Shape); 14] = [
    ("id", Shape::Text),
    ("source", Shape::Text),
    ("type", Shape::Text),
    ("subject", Shape::Text),
    ("time", Shape::Timestamp),
    ("datacontenttype", Shape::Text),
    ("dataschema", Shape::Text),
    ("kind", Shape::Text),
    ("target", Shape::Text),
    ("correlationid", Shape::Text),
    ("causationid", Shape::Text),
    ("partitionkey", Shape::Text),
    ("traceparent", Shape::Text),
    ("data", Shape::Any),
];

impl Environment {
    /// The names of conditions over events: `event`, with its attributes by the names that CloudEvents
    /// gives them, and Wachter's extensions. What `data` holds depends on the event's type.
    pub fn of_events() -> &'static Self {
        static ENVIRONMENT: LazyLock<Environment> =
            LazyLock::new(|| Environment::new().with(EVENT, Shape::record(ATTRIBUTES)));
        &ENVIRONMENT
    }
}

/// An event as the names of [`Environment::of_events`] see it. Of its data only what is asked for is
/// read; where that stands is found once for all expressions over the same event, whoever binds it.
#[derive(Debug)]
pub struct EventBindings<'e> {
    event: &'e Event,
    data: OnceCell<Option<JsonDocument<'e>>>,
}

impl<'e> EventBindings<'e> {
    /// Binds an event; reads nothing yet.
    #[must_use]
    pub const fn new(event: &'e Event) -> Self {
        Self { event, data: OnceCell::new() }
    }
}

impl Bindings for EventBindings<'_> {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        (name == EVENT).then(|| Value::record(self))
    }
}

impl Record for EventBindings<'_> {
    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "id" => Some(Value::text(self.event.id().as_str())),
            "source" => Some(Value::text(self.event.source().as_str())),
            "type" => Some(Value::text(self.event.event_type())),
            "subject" => self.event.subject().map(Value::text),
            "time" => self.event.time().map(Value::Timestamp),
            "datacontenttype" => self.event.content_type().map(Value::text),
            "dataschema" => self.event.schema().map(Value::text),
            "data" => {
                let data = self.data.get_or_init(|| self.event.data().document());
                data.as_ref().map(|document| Value::from_data(document.root()))
            }
            _ => match self.event.extension(name) {
                Some(AttributeValue::Boolean(value)) => Some(Value::Bool(*value)),
                Some(AttributeValue::Integer(number)) => Some(Value::Int((*number).into())),
                Some(AttributeValue::Text(text)) => Some(Value::text(text)),
                // What says nothing about its kind is an event.
                None => (name == "kind").then(|| Value::text("event")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Expression;

    fn event(json: &serde_json::Value) -> Event {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn every_attribute_is_bound() {
        let text = serde_json::json!({
            "specversion": "1.0", "id": "1", "source": "/a", "type": "github.push", "subject": "s",
            "time": "2026-06-01T12:00:00Z", "dataschema": "urn:a", "datacontenttype": "application/json",
            "kind": "event", "target": "t", "correlationid": "c", "causationid": "u",
            "partitionkey": "p", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": { "ref": "refs/heads/main" },
        });
        let event = event(&text);
        let bindings = EventBindings::new(&event);
        for (name, _) in ATTRIBUTES {
            let text = format!("has(event.{name})");
            let expression = Expression::condition(&text, Environment::of_events()).unwrap();
            assert_eq!(expression.is_true(&bindings), Ok(true), "{name}");
        }
        let text =
            "event.data.ref == 'refs/heads/main' && event.time < timestamp('2027-01-01T00:00:00Z')";
        let expression = Expression::condition(text, Environment::of_events()).unwrap();
        assert_eq!(expression.is_true(&bindings), Ok(true));
    }

    #[test]
    fn data_is_read_when_it_is_asked_for() {
        let event = event(&serde_json::json!({
            "specversion": "1.0", "id": "1", "source": "/a", "type": "a", "data": [1],
        }));
        let bindings = EventBindings::new(&event);
        let compile = |text| Expression::condition(text, Environment::of_events()).unwrap();
        assert_eq!(compile("event.type == 'a' || event.data[0] == 2").is_true(&bindings), Ok(true));
        assert!(bindings.data.get().is_none());
        assert_eq!(compile("event.data[0] == 1").is_true(&bindings), Ok(true));
        assert!(bindings.data.get().is_some());
    }
}
