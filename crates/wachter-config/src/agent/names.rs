use std::sync::LazyLock;

use serde_json::Value as Json;
use wachter_expression::{Environment, Expression, Shape, Value};
use wachter_model::NodeName;

/// The names of `nodes` and of a group's `when`: `labels`, and `node`, the node's name. Those of
/// `on.where` and `concurrency.key` are [`Environment::of_events`].
pub fn node_environment() -> &'static Environment {
    static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
        Environment::new()
            .with("labels", Shape::Map(Box::new(Shape::Text)))
            .with("node", Shape::Text)
    });
    &ENVIRONMENT
}

/// Whether a condition over [`node_environment`] holds for a host. A label that the host lacks says
/// no, and is the most common reason why something is not meant for it.
pub(crate) fn holds_for(condition: &Expression, host: Option<&NodeName>, labels: &Json) -> bool {
    let host = host.map_or("", NodeName::as_str);
    let bindings = [("labels", Value::from_json(labels)), ("node", Value::text(host))];
    condition.is_true(&bindings).unwrap_or(false)
}
