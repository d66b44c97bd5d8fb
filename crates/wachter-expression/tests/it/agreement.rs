//! Evaluation here and in the library `cel`, whose parser both share, give the same.

use std::collections::{BTreeMap, HashMap};

use cel::objects::Key;
use cel::parser::PrattParser;
use cel::{Context, Value as Theirs};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use wachter_expression::{Environment, Expression, Shape, Value};

fn bindings() -> [(&'static str, Json); 4] {
    [
        ("n", json!(3)),
        ("s", json!("hé-llo")),
        ("l", json!([1, 2, 2, 5, -7])),
        // One key each: the order of several is not defined, and theirs changes.
        ("m", json!({ "a": { "c": [true, null] } })),
    ]
}

fn theirs(text: &str) -> Result<String, String> {
    let tree = PrattParser::new().parse(text).map_err(|error| error.to_string())?;
    let mut env = cel::Env::stdlib();
    env.add_extension(cel::extensions::strings).unwrap();
    let mut context = Context::with_env(std::sync::Arc::new(env));
    for (name, value) in bindings() {
        context.add_variable_from_value(name, bound_there(&value));
    }
    Theirs::resolve(&tree, &context).map(|value| of_theirs(&value)).map_err(|e| e.to_string())
}

/// Their own conversion makes every whole number one without sign.
fn bound_there(json: &Json) -> Theirs {
    match json {
        Json::Number(number) => Theirs::Int(number.as_i64().unwrap()),
        Json::Array(values) => values.iter().map(bound_there).collect::<Vec<_>>().into(),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), bound_there(value)));
            entries.collect::<HashMap<_, _>>().into()
        }
        other => cel::to_value(other).unwrap(),
    }
}

fn of_theirs(value: &Theirs) -> String {
    match value {
        Theirs::List(values) => {
            let values: Vec<_> = values.iter().map(of_theirs).collect();
            format!("[{}]", values.join(", "))
        }
        Theirs::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| {
                let key = match key {
                    Key::Int(number) => number.to_string(),
                    Key::Uint(number) => number.to_string(),
                    Key::Bool(value) => value.to_string(),
                    Key::String(text) => format!("{text:?}"),
                };
                (key, of_theirs(value))
            });
            format!("{:?}", entries.collect::<BTreeMap<_, _>>())
        }
        Theirs::Int(number) => format!("{number}"),
        Theirs::UInt(number) => format!("{number}u"),
        Theirs::Float(number) => format!("{number:?}"),
        Theirs::String(text) => format!("{text:?}"),
        Theirs::Bool(value) => value.to_string(),
        Theirs::Null => "null".to_owned(),
        other => format!("{other:?}"),
    }
}

/// `None` for what is refused before it is evaluated.
fn ours(text: &str) -> Option<Result<String, String>> {
    let any =
        |environment: Environment, (name, _): &(&str, Json)| environment.with(name, Shape::Any);
    let environment = bindings().iter().fold(Environment::new(), any);
    let expression = Expression::compile(text, &environment).ok()?;
    let values = bindings();
    let bound: [(&str, Value<'_>); 4] =
        std::array::from_fn(|index| (values[index].0, Value::from_json(&values[index].1)));
    let value = expression.evaluate(&bound);
    Some(value.map(|value| of_ours(&value)).map_err(|error| error.to_string()))
}

fn of_ours(value: &Value<'_>) -> String {
    match value {
        Value::List(values) => {
            let values: Vec<_> = values.iter().map(of_ours).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Json(Json::Array(values)) => {
            let values: Vec<_> =
                values.iter().map(|json| of_ours(&Value::from_json(json))).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Json(Json::Object(map)) => {
            let entries = map
                .iter()
                .map(|(key, value)| (format!("{key:?}"), of_ours(&Value::from_json(value))));
            format!("{:?}", entries.collect::<BTreeMap<_, _>>())
        }
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| {
                let key = match key {
                    wachter_expression::Key::Text(text) => format!("{text:?}"),
                    other => other.to_string(),
                };
                (key, of_ours(value))
            });
            format!("{:?}", entries.collect::<BTreeMap<_, _>>())
        }
        Value::Int(number) => format!("{number}"),
        Value::Uint(number) => format!("{number}u"),
        Value::Double(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".to_owned(),
        other => format!("{other:?}"),
    }
}

fn check(text: &str) {
    let Some(ours) = ours(text) else { return };
    match (ours, theirs(text)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{text}"),
        (Err(_), Err(_)) => {}
        // They take the keys of a map for a list; the language has no such sum.
        (Err(error), Ok(_)) if error == "`+` does not apply to list and map" => {}
        (ours, theirs) => panic!("{text}\n  here: {ours:?}\n  there: {theirs:?}"),
    }
}

pub(crate) fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("n".to_owned()),
        Just("s".to_owned()),
        Just("l".to_owned()),
        Just("m".to_owned()),
        Just("m.a".to_owned()),
        Just("m.a.c".to_owned()),
        Just("m.missing".to_owned()),
        Just("x".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        (-3_i64..10).prop_map(|number| number.to_string()),
        (0_u64..4).prop_map(|number| format!("{number}u")),
        prop_oneof![Just("1.5"), Just("-2.0"), Just("3.0")].prop_map(str::to_owned),
        prop_oneof![Just("''"), Just("'l'"), Just("'é-'"), Just("'a'"), Just("'12'")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operator = prop_oneof![
            Just("+"), Just("-"), Just("*"), Just("/"), Just("%"), Just("=="), Just("!="),
            Just("<"), Just("<="), Just(">"), Just(">="), Just("in"), Just("&&"), Just("||"),
        ];
        let method = prop_oneof![
            Just("contains"), Just("startsWith"), Just("endsWith"), Just("indexOf"),
            Just("lastIndexOf"), Just("split"), Just("charAt"), Just("substring"),
        ];
        let alone = prop_oneof![
            Just("size"), Just("lowerAscii"), Just("upperAscii"), Just("trim"), Just("join"),
        ];
        let looped = prop_oneof![
            Just("all"), Just("exists"), Just("exists_one"), Just("map"), Just("filter"),
        ];
        let conversion = prop_oneof![Just("int"), Just("uint"), Just("double"), Just("bool")];
        prop_oneof![
            4 => (inner.clone(), operator, inner.clone()).prop_map(|(l, o, r)| format!("({l} {o} {r})")),
            1 => inner.clone().prop_map(|e| format!("!{e}")),
            1 => inner.clone().prop_map(|e| format!("-({e})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(c, y, n)| format!("({c} ? {y} : {n})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(e, i)| format!("{e}[{i}]")),
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(|e| format!("[{}]", e.join(", "))),
            1 => (inner.clone(), inner.clone()).prop_map(|(k, v)| format!("{{{k}: {v}}}")),
            2 => (inner.clone(), method, inner.clone()).prop_map(|(t, m, a)| format!("{t}.{m}({a})")),
            1 => (inner.clone(), alone).prop_map(|(t, m)| format!("{t}.{m}()")),
            1 => (inner.clone(), conversion).prop_map(|(t, m)| format!("{m}({t})")),
            2 => (inner.clone(), looped, inner.clone()).prop_map(|(l, m, b)| format!("{l}.{m}(x, {b})")),
            1 => inner.clone().prop_map(|e| format!("has(m.a) && {e} == 1")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(t, a, b)| format!("{t}.replace({a}, {b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_agrees(text in expressions()) {
        check(&text);
    }
}

#[test]
fn keys_agree() {
    for text in ["1.5 in m", "-1e300 in {1: 2}", "{0u: null}.map(x, x)", "{1u: 2}[1.0]"] {
        check(text);
    }
}
