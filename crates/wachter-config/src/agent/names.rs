use std::sync::LazyLock;

use wachter_expression::{Environment, Shape};

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
