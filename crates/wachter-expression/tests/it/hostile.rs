//! What cannot be trusted to be reasonable costs no more than is said, and never a panic.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wachter_expression::{Environment, EvaluationFault, Expression, Shape, Value};

use crate::environment;
use crate::language::Sample;

/// The longest that an evaluation may take in an unoptimized build, on a busy machine. Optimized it
/// is a hundredth; the documentation states that one, and the benchmark measures it.
const LONGEST: Duration = Duration::from_secs(2);

/// A large event: 100,000 numbers, long texts and a deep object.
fn large() -> Json {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "a": deep, "b": [1, 2, 3] });
    }
    json!({
        "numbers": (0..100_000).collect::<Vec<_>>(),
        "texts": vec!["x".repeat(1_000); 1_000],
        "text": "ab".repeat(500_000),
        "deep": deep,
    })
}

fn run(text: &str, data: &Json) -> Result<String, EvaluationFault> {
    let expression = Expression::compile(text, &Environment::new().with("data", Shape::Any))
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let bindings = [("data", Value::from_json(data))];
    let begun = Instant::now();
    let result = expression.evaluate(&bindings).map(|value| format!("{value:.100?}"));
    let taken = begun.elapsed();
    assert!(taken < LONGEST, "{text}: {taken:?}");
    result.map_err(|error| error.fault)
}

#[test]
fn cost_is_bounded() {
    let data = large();
    for text in [
        // Loops within loops, over what was bound and what was made.
        "data.numbers.all(a, data.numbers.all(b, a >= 0))",
        "data.numbers.map(a, data.numbers.map(b, a))",
        "data.numbers.exists(a, data.numbers.exists(b, data.numbers.exists(c, a + b + c < 0)))",
        "[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, [1,2,3,4,5,6,7,8,9].map(d, data.numbers + data.numbers))))",
        // Text that doubles.
        "[data.text].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)",
        "data.text.replace('a', data.text)",
        "data.texts.map(t, data.texts.join(t))",
        "data.texts.map(t, t.split(''))",
        "data.numbers.map(a, data.text.size())",
        "data.numbers.map(a, data.text.indexOf('c'))",
        // Comparison of what is large.
        "data.numbers.map(a, data == data)",
        "data.numbers.map(a, data.text == data.text)",
        "data.numbers.map(a, data.text < data.text)",
        "data.numbers.map(a, -1 in data.numbers)",
        // Patterns over long text.
        "data.text.matches('^(a|b|ab|ba)*c$')",
        "data.numbers.map(a, data.texts[0].matches('(x?){50}x{50}y'))",
        "data.texts.exists(t, t.matches('(x+x+)+y'))",
        // Errors do not make it free.
        "data.numbers.exists(a, data.numbers.exists(b, data.none))",
        "data.numbers.all(a, data.numbers.all(b, 1 / 0 == 1) || true)",
    ] {
        assert_eq!(run(text, &data), Err(EvaluationFault::TooExpensive), "{text}");
    }
}

#[test]
fn running_out_is_never_an_answer() {
    let data = large();
    let costly = "data.numbers.all(a, data.numbers.all(b, a >= 0))";
    for text in [
        format!("{costly} || true"),
        format!("true && {costly}"),
        format!("({costly} && false) ? 1 : 2"),
        format!("[1].exists(x, {costly}) || true"),
        format!("[1, 2].all(x, {costly} && x == 2)"),
    ] {
        assert_eq!(run(&text, &data), Err(EvaluationFault::TooExpensive), "{text}");
    }
    // What is decided before does not count.
    assert!(run(&format!("true || {costly}"), &data).is_ok());
}

#[test]
fn what_is_reasonable_is_affordable() {
    let data = large();
    for text in [
        "data.text.size() == 1000000",
        "data.text.contains('ba')",
        "data.numbers.exists(n, n == 5000)",
        "data.texts.all(t, t.startsWith('x'))",
        "5000 in data.numbers",
        "data.texts[0].matches('^x+$')",
        "data.deep.a.a.a.b[2] == 3",
    ] {
        let result = run(text, &data);
        assert!(result.is_ok(), "{text}: {result:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_an_expression_or_refused(text: String) {
        attempt(&text);
    }

    #[test]
    fn any_tokens_are_an_expression_or_refused(
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..60),
        glue in prop::sample::select(&["", " "][..]),
    ) {
        attempt(&tokens.join(glue));
    }
}

const TOKENS: &[&str] = &[
    "event",
    "labels",
    ".",
    ".data",
    ".?",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ":",
    "?",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    " in ",
    "1",
    "0x",
    "9e999",
    "1u",
    "-0",
    "9223372036854775808",
    "'a'",
    "'",
    "\"",
    "r'",
    "b'x'",
    "'\\x'",
    "'\\U00110000'",
    "'''",
    "`a`",
    "has",
    "has(",
    ".all(x,",
    ".map(x,",
    ".exists(",
    "x",
    "size(",
    "matches(",
    ".matches('('",
    "//",
    "\n",
    "é",
    "\u{0}",
    "true",
    "null",
    "in",
    "if",
    "timestamp(",
    "duration('1h')",
    ".getHours(",
];

fn attempt(text: &str) {
    match Expression::compile(text, &environment()) {
        Ok(expression) => {
            let _ = expression.evaluate(&Sample::new());
        }
        Err(error) => {
            assert!(text.get(error.span.start..error.span.end).is_some(), "{text:?}: {error:?}");
            assert!(!error.to_string().is_empty());
        }
    }
}
