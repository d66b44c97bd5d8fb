//! What an expression makes of an event's data does not tell whether they were read lazily.

use proptest::prelude::*;
use serde_json::Value as Json;
use wachter_expression::{Bindings, Environment, EventBindings, Expression, Shape, Value};
use wachter_model::Event;

use crate::agreement::expressions;

/// The names that expressions are made of.
const NAMES: [&str; 4] = ["n", "s", "l", "m"];

/// What the same members of an object are, read at once.
struct Whole(Option<Json>);

impl Bindings for Whole {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        Some(Value::from_json(self.0.as_ref()?.get(name)?))
    }
}

/// What they are as an event binds them.
struct Lazy<'e>(&'e EventBindings<'e>);

impl Bindings for Lazy<'_> {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        let Some(Value::Record(event)) = self.0.value("event") else { return None };
        let Some(Value::Object(data)) = event.field("data") else { return None };
        data.get(name).map(Value::from_data)
    }
}

fn event(data: &str) -> Event {
    let text =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/a","type":"a","data":{data}}}"#);
    Event::from_json(text.as_bytes()).unwrap()
}

fn check(data: &str, text: &str) {
    let environment = NAMES.iter().fold(Environment::new(), |all, name| all.with(name, Shape::Any));
    let Ok(expression) = Expression::compile(text, &environment) else { return };
    let event = event(data);
    let (whole, bindings) = (Whole(event.data().to_json()), EventBindings::new(&event));
    let lazy = Lazy(&bindings);
    let (one, other) = (expression.evaluate(&whole), expression.evaluate(&lazy));
    assert_eq!(format!("{one:?}"), format!("{other:?}"), "{text} of {data}");
}

fn values() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        (-5_i64..10).prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        prop_oneof![
            Just("3.0"),
            Just("-0.0"),
            Just("1e19"),
            Just("1e400"),
            Just("18446744073709551616")
        ]
        .prop_map(str::to_owned),
        prop_oneof![
            Just("\"l\""),
            Just("\"\\u006c\""),
            Just("\"é-\""),
            Just("\"12\""),
            Just("\"\\ud800\"")
        ]
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| Json::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 40, 20, |inner| {
        let key = prop_oneof![
            3 => Just("\"a\""), 3 => Just("\"c\""), 1 => Just("\"\\u0061\""), 1 => Just("\"l\""),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec((key, inner), 0..20).prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| format!("{key}:{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn lazy_and_full_reading_agree(values in prop::array::uniform4(values()), text in expressions()) {
        let members = NAMES.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}"));
        check(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")), &text);
    }
}

#[test]
fn what_cannot_be_read_is_absent_either_way() {
    for data in ["[1e999]", "[\"\\ud800\"]", "{\"a\":{\"\\udfff\":1}}"] {
        let event = event(data);
        assert_eq!(event.data().to_json(), None, "{data}");
        let bindings = EventBindings::new(&event);
        let absent = Expression::condition("!has(event.data)", Environment::of_events()).unwrap();
        assert_eq!(absent.is_true(&bindings), Ok(true), "{data}");
    }
}

#[test]
fn an_array_or_object_is_given_back_as_json() {
    let event = event(r#"{"a":[1,{"b":"c\n"}],"a\n":2}"#);
    let bindings = EventBindings::new(&event);
    for text in ["event.data", "event.data.a", "event.data.a[1]", "[event.data.a[1].b]"] {
        let expression = Expression::compile(text, Environment::of_events()).unwrap();
        let bound = serde_json::json!({ "data": event.data().to_json() });
        let full = [("event", Value::from_json(&bound))];
        let (one, other) = (expression.evaluate(&full), expression.evaluate(&bindings));
        assert_eq!(one.unwrap().to_json(), other.unwrap().to_json(), "{text}");
    }
}
