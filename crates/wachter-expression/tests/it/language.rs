use serde_json::{Value as Json, json};
use wachter_expression::{Bindings, Expression, Record, Value};

use crate::environment;

/// The bindings that all cases share.
pub(crate) struct Sample {
    data: Json,
    labels: Json,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self {
            data: json!({
                "ref": "refs/heads/main",
                "count": 3,
                "share": 0.25,
                "large": u64::MAX,
                "nothing": null,
                "commits": [{ "id": "a1", "files": ["x", "y"] }, { "id": "b2", "files": [] }],
                "greeting": "¡hé-llo!",
            }),
            labels: json!({ "role": "web", "ring": "canary" }),
        }
    }
}

impl Bindings for Sample {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "event" => Some(Value::record(self)),
            "labels" => Some(Value::from_json(&self.labels)),
            _ => None,
        }
    }
}

impl Record for Sample {
    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "id" => Some(Value::text("17")),
            "type" => Some(Value::text("github.push")),
            "time" => Some(Value::Timestamp("2026-06-01T12:30:45.678Z".parse().unwrap())),
            "data" => Some(Value::from_json(&self.data)),
            _ => None,
        }
    }
}

fn check(text: &str, expected: Result<Json, &str>) {
    let expression = Expression::compile(text, &environment())
        .unwrap_or_else(|error| panic!("{text}: {error} at {:?}", error.span));
    let sample = Sample::new();
    let found = expression.evaluate(&sample).map(|value| value.to_json().unwrap());
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
        (Err(error), Err(part)) => {
            let message = error.to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        (found, expected) => panic!("{text}: found {found:?}, expected {expected:?}"),
    }
}

#[test]
fn conditions_and_values() {
    for (text, expected) in [
        ("event.type == 'github.push'", json!(true)),
        ("event.data.ref.startsWith('refs/heads/')", json!(true)),
        ("event['type'] == 'github.push'", json!(true)),
        ("event.data.ref in ['refs/heads/main', 'refs/heads/next']", json!(true)),
        ("'role' in labels && labels.role == 'web'", json!(true)),
        ("has(event.data.nothing) && event.data.nothing == null", json!(true)),
        ("has(event.subject)", json!(false)),
        ("has(event.data.none)", json!(false)),
        ("event.data.commits[1].id", json!("b2")),
        ("event.data.commits.size()", json!(2)),
        ("size(event.data)", json!(7)),
        ("event.data.commits.map(c, c.id)", json!(["a1", "b2"])),
        ("event.data.commits.filter(c, c.files.size() > 0).map(c, c.id)", json!(["a1"])),
        ("event.data.commits.map(c, c.id != 'b2', c.files)", json!([["x", "y"]])),
        ("event.data.commits.exists(c, 'y' in c.files)", json!(true)),
        ("event.data.commits.all(c, c.id.size() == 2)", json!(true)),
        ("event.data.commits.exists_one(c, c.id == 'a1')", json!(true)),
        ("labels.map(name, name)", json!(["ring", "role"])),
        ("labels.all(name, labels[name] != '')", json!(true)),
        ("event.data.count + 1", json!(4)),
        ("-event.data.count * 2 - 7 / 2 % 2", json!(-7)),
        ("event.data.share * 2.0", json!(0.5)),
        ("event.data.large == 18446744073709551615u", json!(true)),
        ("event.data.count < 3.5 && event.data.count == 3.0", json!(true)),
        ("1 == 1u && 1 in [1.0]", json!(true)),
        ("1.0 in {1: 2} && !(1.5 in {1: 2}) && !(1.5 in labels)", json!(true)),
        ("{'a': 1, 2: 'b'}[2u]", json!("b")),
        ("{'a': [1]} == {'a': [1.0]}", json!(true)),
        ("['a'] == event.data.commits.map(c, c.id)", json!(false)),
        ("event.data.commits[0].files == ['x', 'y']", json!(true)),
        ("['x', 'y'] == event.data.commits[0].files", json!(true)),
        ("[1] + [2, 3]", json!([1, 2, 3])),
        ("'a' + 'b'", json!("ab")),
        ("event.data.count > 2 ? 'many' : 'few'", json!("many")),
        ("'abc'.matches('^a.c$') && matches('abc', 'b')", json!(true)),
        ("event.data.greeting.size()", json!(8)),
        ("event.data.greeting.indexOf('llo')", json!(4)),
        ("event.data.greeting.substring(1, 3)", json!("hé")),
        ("event.data.greeting.charAt(2)", json!("é")),
        ("event.data.greeting.lastIndexOf('l')", json!(5)),
        ("'a-b-c'.indexOf('-', 2)", json!(3)),
        ("'A b'.lowerAscii() + 'c'.upperAscii() + ' d '.trim()", json!("a bCd")),
        ("'a,b,c'.split(',').join('+')", json!("a+b+c")),
        ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
        ("'héj'.split('')", json!(["h", "é", "j"])),
        (
            "'banana'.replace('a', 'o') + 'banana'.replace('a', 'o', 1)",
            json!("bonono".to_owned() + "bonana"),
        ),
        ("int('7') + int(2.9) + int(3u)", json!(12)),
        ("double(1) + double('0.5')", json!(1.5)),
        ("string(7) + string(true) + string(1u)", json!("7true1")),
        ("bool('true') && !bool('false')", json!(true)),
        ("timestamp('2026-01-01T00:00:00Z') < event.time", json!(true)),
        ("event.time - timestamp('2026-06-01T12:00:00Z') > duration('30m')", json!(true)),
        ("(event.time + duration('1h')).getHours()", json!(13)),
        ("event.time.getHours('Europe/Amsterdam')", json!(14)),
        ("event.time.getMilliseconds()", json!(678)),
        ("event.time.getMonth()", json!(5)),
        ("event.time.getDayOfWeek()", json!(1)),
        ("duration('90m').getHours()", json!(1)),
        ("string(duration('90.5s')) + string(duration('-1s'))", json!("90.5s-1s")),
        ("int(timestamp(60)) == 60", json!(true)),
        ("dyn(1) == 1", json!(true)),
        ("true || event.data.none", json!(true)),
        ("event.data.none || true", json!(true)),
        ("event.data.none && false", json!(false)),
        ("[0, 1].exists(i, 1 / i == 1)", json!(true)),
        ("r'\\d' == '\\\\d'", json!(true)),
        ("// a remark\n1 + 1 // another", json!(2)),
    ] {
        check(text, Ok(expected));
    }
}

#[test]
fn failures_say_what_failed() {
    for (text, part) in [
        ("event.data.none", "there is no `none`; test it with `has()`"),
        ("event.subject == 'x'", "there is no `subject`"),
        ("event.data.commits[2]", "2 lies outside"),
        ("event.data.commits[-1]", "-1 lies outside"),
        ("event.data.ref.files", "`.` does not apply to string"),
        ("event.data.ref + 1", "`+` does not apply to string and int"),
        ("event.data.ref < 1", "`<` does not apply to string and int"),
        ("event.data.ref && true", "`&&` does not apply to string"),
        ("1 / event.data.count / 0", "division by zero"),
        ("9223372036854775807 + event.data.count", "the result of `+` does not fit"),
        ("-9223372036854775808 / -1", "the result of `/` does not fit"),
        ("int(event.data.ref)", "`refs/heads/main` is not a int"),
        ("timestamp('yesterday') < event.time", "`yesterday` is not a timestamp"),
        ("duration('1 day') < duration('1h')", "`1 day` is not a duration"),
        ("{'a': 1, 'a': 2}", "a map has the key `a` twice"),
        ("event.data.map(k, event.data[k] / 0)", "`/` does not apply to"),
        ("[1, 0].all(i, 1 / i == 1)", "division by zero"),
        ("'abc'.substring(2, 1)", "2 lies outside"),
        ("event.map(k, k)", "`a loop` does not apply to map"),
    ] {
        // The last one is known beforehand as well.
        if Expression::compile(text, &environment()).is_ok() {
            check(text, Err(part));
        }
    }
    let expression = Expression::compile("event.data.count", &environment()).unwrap();
    let error = expression.is_true(&Sample::new()).unwrap_err();
    assert_eq!(error.to_string(), "gives int, but must give true or false");
}

#[test]
fn a_failure_has_its_place() {
    let text = "has(event.data.ref) && event.data.commits[0].none == 1";
    let expression = Expression::condition(text, &environment()).unwrap();
    let error = expression.is_true(&Sample::new()).unwrap_err();
    assert_eq!(&text[error.span.start..error.span.end], "none");
}

#[test]
fn only_the_names_that_occur_are_asked_for() {
    struct Strict;
    impl Bindings for Strict {
        fn value(&self, name: &str) -> Option<Value<'_>> {
            assert_eq!(name, "labels", "nothing else is needed");
            static LABELS: Json = Json::Null;
            Some(Value::from_json(&LABELS))
        }
    }
    let text = "labels == null || event.type == 'x'";
    let expression = Expression::condition(text, &environment()).unwrap();
    assert_eq!(expression.names().collect::<Vec<_>>(), ["event", "labels"]);
    assert_eq!(expression.is_true(&Strict), Ok(true));
}
