//! Any text is an expression or refused, and an expression gives a value or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_expression::{Environment, Expression, Shape, Value};

fuzz_target!(|text: &str| {
    let environment = Environment::new().with("event", Shape::Any).with("labels", Shape::Any);
    match Expression::compile(text, &environment) {
        Ok(expression) => {
            let data = serde_json::json!({ "a": [1, { "b": "text" }, null], "ref": "refs/heads/main" });
            let bindings = [("event", Value::from_json(&data)), ("labels", Value::Null)];
            let _ = expression.evaluate(&bindings);
        }
        Err(error) => assert!(text.get(error.span.start..error.span.end).is_some()),
    }
});
