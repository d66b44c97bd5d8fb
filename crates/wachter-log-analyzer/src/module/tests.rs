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

/// A folder with a log of some lines, and an input that reads all logs in it.
fn folder_and_input() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.log"), "one\ntwo\n").unwrap();
    let input = json!({
        "folders": [folder.path()],
        "sources": [{ "path": folder.path().join("*.log") }],
        "start": "beginning",
        "hold": "0s",
    });
    (folder, input)
}

#[test]
fn a_run_without_time_takes_no_turns_and_says_so() {
    let (folder, input) = folder_and_input();
    let harness = || Harness::new().input(input.clone());
    let first = harness().run(&LogAnalyzer);
    for name in ["app.log", "other.log"] {
        let mut file =
            std::fs::File::options().append(true).create(true).open(folder.path().join(name));
        std::io::Write::write_all(file.as_mut().unwrap(), b"three\n").unwrap();
    }
    let late = harness().after(&first).deadline("2020-01-01T00:00:00Z").run(&LogAnalyzer);
    assert_eq!(late.result.output["lines"], 0);
    let expected = "2 logs were not looked at, there was no time left: the next run looks again";
    assert_eq!(late.result.output["missing"], json!([expected]));
    assert_eq!(late.findings().count(), 0);
    let files = |finished: &wachter_module::Finished| {
        finished.result.state.as_ref().unwrap()["files"].clone()
    };
    assert_eq!(files(&first), files(&late));
    let after = harness().after(&late).run(&LogAnalyzer);
    assert_eq!(after.result.output["lines"], 2);
}

#[test]
fn a_name_that_is_no_text_is_left_out_and_said() {
    use std::os::unix::ffi::OsStrExt as _;
    let (folder, input) = folder_and_input();
    let name = std::ffi::OsStr::from_bytes(b"b\xFF.log");
    std::fs::write(folder.path().join(name), "three\n").unwrap();
    let finished = Harness::new().input(input).run(&LogAnalyzer);
    assert_eq!(finished.result.outcome, Outcome::Succeeded, "{:?}", finished.result.message);
    assert_eq!(finished.result.output["lines"], 2);
    let missing = finished.result.output["missing"].to_string();
    assert!(missing.contains(r"b\\xFF.log") && missing.contains("rename it"), "{missing}");
}

#[test]
fn places_of_files_that_are_gone_give_way() {
    let (folder, input) = folder_and_input();
    let first = Harness::new().input(input.clone()).run(&LogAnalyzer);
    let mut state = first.result.state.unwrap();
    let (path, cursor) = state["files"].as_object().unwrap().iter().next().unwrap();
    let (path, cursor) = (path.clone(), cursor.clone());
    let now = Timestamp::now().as_millisecond();
    let gone = |number: i64| folder.path().join(format!("gone{number:04}.log"));
    for number in 0..4_000 {
        let mut cursor = cursor.clone();
        cursor["modified"] = json!(now - 1_000 * number);
        state["files"][gone(number).to_str().unwrap()] = cursor;
    }
    let finished = Harness::new().input(input).state(state).run(&LogAnalyzer);
    assert_eq!(finished.result.outcome, Outcome::Succeeded, "{:?}", finished.result.message);
    assert_eq!(finished.result.output["lines"], 0);
    let state = finished.result.state.as_ref().unwrap();
    let files = state["files"].as_object().unwrap();
    assert!(state["files"].to_string().len() <= MAX_STATE);
    assert!(files.len() > 1_000, "{}", files.len());
    let kept = |number: i64| files.contains_key(gone(number).to_str().unwrap());
    assert!(files.contains_key(&path) && kept(0) && kept(1_000) && !kept(3_999));
    let said = finished
        .messages
        .iter()
        .any(|message| format!("{message:?}").contains("files that are gone were forgotten"));
    assert!(said, "{:?}", finished.messages);
}
