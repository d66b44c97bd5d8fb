//! Tests of the language as a whole.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod agreement;
mod documentation;
mod hostile;
mod language;
mod laziness;
mod refusals;

use wachter_expression::{Environment, Shape};

/// Names for tests: an event whose envelope is known and whose data is open.
pub(crate) fn environment() -> Environment {
    Environment::new()
        .with(
            "event",
            Shape::record([
                ("id", Shape::Text),
                ("type", Shape::Text),
                ("subject", Shape::Text),
                ("time", Shape::Timestamp),
                ("data", Shape::Any),
            ]),
        )
        .with("labels", Shape::Map(Box::new(Shape::Text)))
}
