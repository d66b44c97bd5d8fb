use std::collections::BTreeSet;

use serde_json::{Value, json};
use wachter_module::Harness;
use wachter_module::protocol::Manifest;
use wachter_module::protocol::module::Outcome;

use super::problems::Kind;
use super::*;

const MANIFEST: &str = include_str!("../../../wachter-modules/modules/log-analyzer/module.yaml");
const SCHEMA: &str =
    include_str!("../../../wachter-modules/modules/log-analyzer/input.schema.json");

#[test]
fn the_schema_has_the_keys_and_defaults_of_the_code() {
    let schema: Value = SCHEMA.parse().unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let defaults: serde_json::Map<_, _> =
        properties.iter().map(|(name, key)| (name.clone(), key["default"].clone())).collect();
    assert_eq!(json!(Input::default()), json!(defaults));
    let limits = schema["properties"]["limits"]["properties"].as_object().unwrap();
    let limits: serde_json::Map<_, _> =
        limits.iter().map(|(name, key)| (name.clone(), key["default"].clone())).collect();
    assert_eq!(json!(Input::default().limits), json!(limits));
}

#[test]
fn the_schema_takes_what_ships_and_what_the_code_takes() {
    let validator = jsonschema::validator_for(&SCHEMA.parse().unwrap()).unwrap();
    let shipped = json!({ "patterns": pattern::shipped().unwrap() });
    let errors: Vec<_> = validator.iter_errors(&shipped).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    for wrong in [
        json!({ "pattern": [] }),
        json!({ "hold": 2 }),
        json!({ "start": "middle" }),
        json!({ "sources": [{ "path": "var/log/a" }] }),
        json!({ "sources": [{ "file": "/var/log/a" }] }),
        json!({ "limits": { "files": 0 } }),
        json!({ "patterns": [{ "name": "a" }] }),
    ] {
        assert!(!validator.is_valid(&wrong), "{wrong}");
        let finished = Harness::new().input(wrong.clone()).run(&LogAnalyzer);
        assert_eq!(finished.result.outcome, Outcome::Failed, "{wrong}");
    }
}

#[test]
fn findings_have_the_types_that_the_manifest_names() {
    let manifest = Manifest::read(MANIFEST).unwrap();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    let shipped = pattern::shipped().unwrap();
    let alarms = shipped.iter().flat_map(|pattern| &pattern.alarms);
    let mut kinds: BTreeSet<_> = alarms.map(|alarm| alarm.kind.to_string()).collect();
    let problems = [Kind::Behind, Kind::Lost, Kind::Unreadable];
    kinds.extend(problems.map(|kind| kind.topic().to_owned()));
    kinds.extend([OWN.to_owned(), anomalies::TOPIC.to_owned()]);
    assert_eq!(emits, kinds);
}

#[test]
fn wrong_inputs_say_what_would_be_right() {
    let pattern = |changes: Value| {
        let mut pattern = json!({
            "name": "mine",
            "match": ["from (?<address>\\S+)"],
            "alarms": [{ "name": "mine", "type": "log.alert", "severity": "low", "message": "{address}" }],
        });
        for (key, value) in changes.as_object().unwrap() {
            pattern[key] = value.clone();
        }
        json!({ "sources": [], "patterns": [pattern] })
    };
    let alarm = |key: &str, value: Value| {
        let mut alarm = json!({ "name": "mine", "type": "log.alert", "severity": "low", "message": "x", "subject": "x" });
        alarm[key] = value;
        pattern(json!({ "alarms": [alarm] }))
    };
    for (input, expected) in [
        (json!({ "sources": [{}] }), "neither `path` nor `journal`: give one"),
        (json!({ "sources": [{ "path": "a" }] }), "`a` is no full path: begin it with `/`"),
        (
            json!({ "sources": [{ "path": "/a", "journal": true }] }),
            "/a is no journal: give `path` or `journal`",
        ),
        (
            json!({ "behind": { "raise": "1MiB", "resolve": "1MiB" } }),
            "`behind.resolve` must be less than `behind.raise`",
        ),
        (json!({ "limits": { "line": "1B" } }), "`limits.line` is 1; take 1024 to 1048576"),
        (
            json!({ "sources": [], "without": ["ssh-login"] }),
            "names the pattern `ssh-login`, which there is not",
        ),
        (
            pattern(json!({ "match": ["("] })),
            "the expression `(` of the pattern `mine` is not right; correct it: ",
        ),
        (
            pattern(json!({ "match": [] })),
            "the pattern `mine` says neither `contains`, `match` nor `request`",
        ),
        (pattern(json!({ "alarms": [] })), "the pattern `mine` has no alarm; give it one"),
        (
            alarm("message", json!("{user}")),
            "uses the group `user`, which it does not have; it has address, ",
        ),
        (alarm("count", json!(0)), "`mine` counts to 0; take 1 to 1000"),
        (
            alarm("type", json!("my.own")),
            "has the type `my.own`, which this module may not report; take `log.alert`",
        ),
        (
            alarm("name", json!("ssh-brute-force")),
            "two patterns or alarms are called `ssh-brute-force`; rename one",
        ),
        (pattern(json!({})), ""),
    ] {
        let finished = Harness::new().input(input.clone()).run(&LogAnalyzer);
        let message = finished.result.message.unwrap_or_default();
        assert!(message.contains(expected), "{input}: {message}");
    }
}

#[test]
fn what_cannot_be_read_of_a_state_costs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let input = json!({
        "folders": [folder.path()],
        "sources": [{ "path": path }],
        "start": "beginning",
        "hold": "0s",
    });
    let run = |state: Value| {
        let harness = Harness::new().input(input.clone());
        let harness = if state.is_null() { harness } else { harness.state(state) };
        harness.run(&LogAnalyzer)
    };
    let first = run(Value::Null).result.state.unwrap();
    assert_eq!(first["totals"]["lines"], 2);
    for (part, again, consequence) in [
        ("model", 0, "learning begins again"),
        ("anomalies", 0, "it begins anew"),
        ("alarms", 0, "it begins anew"),
        ("problems", 0, "it begins anew"),
        ("journal", 0, "it begins anew"),
        ("sources", 0, "it begins anew"),
        ("files", 2, "logs are begun anew, by `start`"),
    ] {
        let mut state = first.clone();
        state[part] = json!(5);
        let finished = run(state);
        assert_eq!(finished.result.output["lines"], again, "{part}");
        let said = finished.messages.iter().map(|message| format!("{message:?}"));
        let said = said.collect::<Vec<_>>().join("\n");
        let begin = format!("what was kept as `{part}` cannot be read");
        assert!(said.contains(&begin) && said.contains(consequence), "{part}: {said}");
        let state = finished.result.state.unwrap();
        let again = run(state);
        assert_eq!(again.result.output["lines"], 0, "{part}");
        let said = again.messages.iter().any(|message| format!("{message:?}").contains("was kept"));
        assert!(!said, "said once");
    }
}

#[test]
fn a_state_of_another_shape_is_forgotten() {
    for state in [json!({ "files": 5 }), json!({ "version": 99, "ran": 7 }), json!([])] {
        let finished =
            Harness::new().input(json!({ "sources": [] })).state(state).run(&LogAnalyzer);
        assert_eq!(finished.result.state.unwrap()["version"], VERSION);
    }
}
