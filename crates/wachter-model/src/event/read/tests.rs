use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A whole event with `changes` put in; a change to `null` by [`Value::Null`] stays `null`.
fn event(changes: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "1", "source": "/here", "type": "com.example.Thing"
    });
    let members = event.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    event
}

fn read(value: &Value) -> Result<Event, ReadEventError> {
    Event::from_json(&serde_json::to_vec(value).unwrap())
}

fn check_good(changes: &Value) -> Event {
    let value = event(changes);
    let event = read(&value).unwrap_or_else(|error| panic!("{value}: {}", crate::chain(&error)));
    let again = Event::from_json(&event.to_json()).unwrap();
    assert_eq!(event, again, "{value}");
    let within = serde_json::to_vec(&event).unwrap();
    assert_eq!(Event::from_json(&within).unwrap(), event, "{value} within a document");
    event
}

fn check_bad(text: &str, reason: &str) {
    let error = Event::from_json(text.as_bytes()).expect_err(text);
    let said = crate::chain(&error);
    assert!(said.contains(reason), "{text}\nsaid: {said}\nnot: {reason}");
}

#[test]
fn required_attributes_are_required() {
    check_good(&json!({}));
    for name in ["specversion", "id", "source", "type"] {
        for change in [None, Some(Value::Null)] {
            let mut value = event(&json!({}));
            value.as_object_mut().unwrap().remove(name);
            if let Some(change) = change {
                value[name] = change;
            }
            check_bad(&value.to_string(), &format!("`{name}` is missing"));
        }
        if name != "specversion" {
            check_bad(&event(&json!({ name: "" })).to_string(), &format!("`{name}` is empty"));
        }
        check_bad(&event(&json!({ name: 1 })).to_string(), "invalid type");
    }
    check_bad(&event(&json!({"specversion": "0.3"})).to_string(), "only 1.0");
}

#[test]
fn optional_attributes_keep_their_types() {
    let event = check_good(&json!({
        "subject": "part", "time": "2018-04-05T17:31:00.5+02:00",
        "datacontenttype": "TEXT/Plain; CharSet=utf-8", "dataschema": "https://example.org/s",
        "data": "text",
    }));
    assert_eq!(event.time().unwrap().to_string(), "2018-04-05T15:31:00.5Z");
    assert_eq!(event.subject(), Some("part"));
    let unset = ["subject", "time", "datacontenttype", "dataschema", "data_base64", "anything"];
    let nulls: Value = unset.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    assert_eq!(check_good(&nulls), check_good(&json!({})));
}

#[test]
fn wrong_values_are_refused() {
    for (changes, reason) in [
        (json!({"subject": ""}), "`subject` is empty"),
        (json!({"subject": "a\nb"}), "which no attribute may hold"),
        (json!({"type": "a\u{7f}"}), "which no attribute may hold"),
        (json!({"source": "a b"}), "not a URI-reference"),
        (json!({"dataschema": "relative"}), "not a URI with a scheme"),
        (json!({"datacontenttype": "json"}), "not a media type"),
        (json!({"time": "yesterday"}), "not a date and time"),
        (json!({"Upper": "x"}), "not an attribute name"),
        (json!({"with_underscore": "x"}), "not an attribute name"),
        (json!({"number": 2_147_483_648_i64}), "beyond 32 bits"),
        (json!({"number": -2_147_483_649_i64}), "beyond 32 bits"),
        (json!({"number": 1.5}), "a boolean, a whole number"),
        (json!({"list": []}), "a boolean, a whole number"),
        (json!({"text": "a\u{fffe}"}), "which no attribute may hold"),
        (json!({"data": 1, "data_base64": "MQ=="}), "exclude each other"),
        (json!({"data_base64": "M"}), "not Base64"),
        (json!({"data_base64": 5}), "invalid type"),
    ] {
        check_bad(&event(&changes).to_string(), reason);
    }
    check_bad("[]", "a CloudEvents 1.0 event");
    check_bad("{", "EOF");
    check_bad(r#"{"id":"1","id":"1"}"#, "`id` is there twice");
    check_bad(r#"{"more":"1","\u006dore":null}"#, "`more` is there twice");
    check_bad(r#"{"specversion":"1.0","id":"\udead"}"#, "");
}

#[test]
fn extensions_that_are_not_known_are_kept() {
    let event = check_good(&json!({
        "comexampleother": 5, "flag": true, "text": "é", "low": -2_147_483_648_i64, "0a": "x",
    }));
    assert_eq!(event.extensions().count(), 5);
    assert_eq!(event.extension("comexampleother"), Some(&AttributeValue::Integer(5)));
}

#[test]
fn data_is_kept_as_it_is() {
    for data in [json!(null), json!(1.5), json!("a string"), json!({"a": [1, {"b": null}]})] {
        assert_eq!(check_good(&json!({ "data": data.clone() })).data().to_json(), Some(data));
    }
    assert!(check_good(&json!({})).data().is_absent());
    let event = check_good(&json!({"datacontenttype": "a/b", "data_base64": "AAEC/w=="}));
    assert_eq!(event.data(), &EventData::Binary(vec![0, 1, 2, 255]));
}

#[test]
fn size_is_limited() {
    let json = event(&json!({"data": "x".repeat(1000)})).to_string();
    assert!(Event::from_json_within(json.as_bytes(), json.len()).is_ok());
    let error = Event::from_json_within(json.as_bytes(), json.len() - 1).unwrap_err();
    assert!(matches!(error, ReadEventError::TooLarge { .. }));
}

/// The folder of third-party data.
fn fixtures() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("WACHTER_FIXTURES")
        .map_or_else(|| workspace.join("../shared/fixtures"), PathBuf::from)
}

/// The examples in the specification's description of the JSON format: each block that is a whole
/// event reads, and says what it says.
#[test]
fn the_specifications_examples_are_read() {
    let page = fixtures().join("cloudevents/spec/formats/json-format.md");
    let Ok(text) = std::fs::read_to_string(&page) else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{} is missing",
            page.display()
        );
        println!("skipped: {} is missing", page.display());
        return;
    };
    let mut count = 0;
    for block in text.split("```JSON\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let Ok(value) = serde_json::from_str::<Value>(block) else { continue };
        let events = value.as_array().cloned().unwrap_or_else(|| vec![value]);
        for mut value in events {
            // One example stands for its bytes with dots.
            if value["data_base64"].as_str().is_some_and(|text| text.contains("...")) {
                value["data_base64"] = json!("AAEC");
            }
            let event =
                read(&value).unwrap_or_else(|error| panic!("{value}: {}", crate::chain(&error)));
            assert_eq!(event.id().as_str(), value["id"]);
            assert_eq!(event.data().to_json(), value.get("data").cloned());
            let members = value.as_object().unwrap();
            let unset = members.iter().filter(|(name, value)| value.is_null() && *name != "data");
            let written: Value = serde_json::from_slice(&event.to_json()).unwrap();
            assert_eq!(written.as_object().unwrap().len(), members.len() - unset.count());
            count += 1;
        }
    }
    assert!(count >= 8, "only {count} examples found");
}

fn any_text() -> impl Strategy<Value = String> {
    "[^\\x00-\\x1f\\x7f-\\x9f\u{fdd0}-\u{fdef}]{1,20}"
        .prop_filter("noncharacters", |text| check_text(text).is_ok())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Event::from_json(&bytes);
    }

    #[test]
    fn any_event_reads_back(
        id in any_text(), subject in proptest::option::of(any_text()),
        extensions in proptest::collection::btree_map("[a-z][a-z0-9]{0,10}x", any_text(), 0..4),
        number: i32, flag: bool, binary in proptest::option::of(any::<Vec<u8>>()), data: String,
    ) {
        let mut builder = Event::builder("urn:a:b".parse().unwrap(), &"a.b".parse().unwrap())
            .id(id.parse().unwrap())
            .extension("number0", AttributeValue::Integer(number))
            .extension("flag0", AttributeValue::Boolean(flag));
        builder = match binary {
            Some(bytes) => builder.binary("a/b", bytes),
            None => builder.json(&json!({ "text": data })),
        };
        if let Some(subject) = subject {
            builder = builder.subject(subject);
        }
        for (name, value) in extensions {
            builder = builder.extension(&name, AttributeValue::Text(value));
        }
        let event = builder.build().unwrap();
        prop_assert_eq!(&Event::from_json(&event.to_json()).unwrap(), &event);
    }

    /// What one member is changed to never breaks the reader, and what it takes reads back.
    #[test]
    fn any_member_is_judged(name in "[a-z]{1,12}|data_base64|type|time|id", text: String, number: f64) {
        for value in [json!(text), json!(number), json!([text])] {
            if let Ok(event) = read(&event(&json!({ name.as_str(): value }))) {
                prop_assert_eq!(&Event::from_json(&event.to_json()).unwrap(), &event);
            }
        }
    }
}
