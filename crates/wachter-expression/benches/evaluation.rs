//! What evaluations cost: bound lazily and eagerly, cheap and hostile. `cargo bench -p wachter-expression`.
#![allow(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Value as Json, json};
use wachter_expression::{Environment, Expression, Shape, Value};

fn main() {
    let push = push();
    let text = serde_json::to_string(&push).expect("is JSON");
    println!("a push event of {} bytes", text.len());
    measure("read the event from JSON", || serde_json::from_str::<Json>(&text).expect("is JSON"));
    measure("bind it eagerly (library `cel`)", || cel::to_value(&push).expect("is a value"));
    measure("bind it lazily", || [("event", Value::from_json(&push))]);
    let environment = Environment::new().with("event", Shape::Any);
    for text in [
        "event.ref == 'refs/heads/main'",
        "event.ref.startsWith('refs/heads/') && event.repository.name in ['infra', 'web']",
        "event.commits.exists(c, c.modified.exists(f, f.endsWith('.lock')))",
        "event.ref.matches('^refs/(heads|tags)/')",
        // What is as costly as can be.
        "event.commits.all(a, event.commits.all(b, event.commits.all(c, event.commits.all(d, a == a))))",
        "event.long.matches('^(x?){50}x{50}y')",
        "event.commits.map(a, event.commits.map(b, event.commits.map(c, event.commits.map(d, event == event))))",
        "event.commits.map(a, event.commits.map(b, event.commits.map(c, event.ref + event.ref)))",
        "event.commits.map(a, event.commits.map(b, event.commits.map(c, event.long.split(''))))",
    ] {
        let expression = Expression::compile(text, &environment).expect("is an expression");
        measure(text, || {
            let bound = [("event", Value::from_json(&push))];
            let result = expression.evaluate(&bound);
            matches!(result, Ok(Value::Bool(true)))
        });
    }
    measure("compile the second of these", || {
        let text =
            "event.ref.startsWith('refs/heads/') && event.repository.name in ['infra', 'web']";
        Expression::compile(text, &environment).is_ok()
    });
}

/// The median of the time for one call, over rounds of a hundredth of a second or one call.
fn measure<T>(name: &str, mut run: impl FnMut() -> T) {
    let mut rounds = Vec::new();
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 300 || rounds.len() < 5 {
        let round = Instant::now();
        let mut calls = 0_u32;
        while calls == 0 || round.elapsed().as_millis() < 10 {
            black_box(run());
            calls += 1;
        }
        rounds.push(round.elapsed() / calls);
    }
    rounds.sort_unstable();
    println!("{:>12?}  {name}", rounds[rounds.len() / 2]);
}

/// A push as GitHub sends it, about 9 KB.
fn push() -> Json {
    let person =
        json!({ "name": "Someone", "email": "someone@example.com", "username": "someone" });
    let commits: Vec<_> = (0..20)
        .map(|number| {
            json!({
                "id": format!("{number:040x}"),
                "message": "Say what changed and why it changed",
                "timestamp": "2026-06-01T12:00:00Z",
                "author": person, "committer": person,
                "added": ["src/new.rs"], "removed": [], "modified": ["src/lib.rs", "Cargo.toml"],
            })
        })
        .collect();
    json!({
        "ref": "refs/heads/main",
        "repository": { "name": "infra", "owner": person, "private": true },
        "pusher": person, "commits": commits, "long": "x".repeat(500),
    })
}
