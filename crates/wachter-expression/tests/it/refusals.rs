use std::fmt::Write as _;

use wachter_expression::Expression;

use crate::environment;

/// A message with the place below the text.
fn refused(text: &str) -> String {
    let error = Expression::condition(text, &environment()).expect_err(text);
    let line = text[..error.span.start].rfind('\n').map_or(0, |end| end + 1);
    let before = text[line..error.span.start].chars().count();
    let marked = text[error.span.start..error.span.end].chars().count().max(1);
    format!("{text}\n{}{}\n  {error}\n", " ".repeat(before), "^".repeat(marked))
}

#[test]
fn every_fault_has_its_place_and_a_way_out() {
    let mut all = String::new();
    for text in [
        "",
        "event.",
        "event.type = 'x'",
        "event.type == 'x",
        "event.type == 'x') || true",
        "(event.type == 'x'",
        "a b",
        "if",
        "evnt.type == 'x'",
        "event.tpye == 'x'",
        "has(event.subjcet)",
        "event.payload.ref == 'x'",
        "event.type.name == 'x'",
        "event.type.startWith('x')",
        "event.type.startsWith('x', 1)",
        "startsWith(event.type, 'x')",
        "[1].all(1, true)",
        "[1].all(x)",
        "[1].all(x, y)",
        "event.type == 1",
        "event.type + 1 == 'x'",
        "event.type && true",
        "!event.type",
        "event.type",
        "event.data.ref ? 'a' : 'b'",
        "event.type in 'abc'",
        "1 in ['a']",
        "event.time > '2026-01-01'",
        "event.time - 5 > event.time",
        "event.type.matches(event.id)",
        "event.type.matches('(')",
        "event.type.matches('(a{100}){100}')",
        "b'bytes' == b'bytes'",
        "event.?data",
        "{?'a': 1} == {}",
        "Message{field: 1} == null",
        "type(1) == int",
        "event.exists(x, true)",
        "[1].exists(a, [1].exists(b, [1].exists(c, [1].exists(d, [1].exists(e, true)))))",
        "size(event.time) == 1",
        "labels.role == 'web' && labels.size == 3 && lables.role == 'db'",
        "¡hé! == 1",
        "true &&\n  evnt.type == 'x'",
    ] {
        writeln!(all, "{}", refused(text)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn limits_are_named() {
    for (text, part) in [
        (format!("'{}' == ''", "a".repeat(Expression::MAX_BYTES)), "at most 4096 bytes"),
        (format!("true{}", "||true".repeat(600)), "at most 1024 tokens"),
        (format!("1{} == 2", "+1".repeat(60)), "at most 48 levels"),
        (format!("1{} == 2", "+1".repeat(505)), "at most 48 levels"),
        (format!("event.type{} == ''", ".trim()".repeat(250)), "at most 48 levels"),
        (format!("{}true{}", "[".repeat(60), "]".repeat(60)), "at most 48 levels"),
        (format!("{}true", "true ? true : ".repeat(40)), "at most 32 conditionals"),
        (format!("{}true", "!(".repeat(300)), "at most 48 levels"),
        (format!("{}true", "!-".repeat(300)), "at most 48 levels"),
        (format!("event{} == 1", ".data".repeat(200)), "at most 48 levels"),
    ] {
        let error = Expression::condition(&text, &environment()).expect_err(&text);
        assert!(error.to_string().contains(part), "{error}");
    }
    let long = vec!["event.type == 'x'"; 100].join(" || ");
    assert!(Expression::condition(&long, &environment()).is_ok(), "a long list of alternatives");
}
