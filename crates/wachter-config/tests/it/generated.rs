use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use wachter_config::{Catalogue, schemas};

use crate::{load, sources};

const HINT: &str = "run this test once with WACHTER_UPDATE=1 and look at the difference";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Compares a generated file, or writes it when asked to.
fn check(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("WACHTER_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(published == text, "{path} is out of date: {HINT}");
}

fn schema(file: &str) -> Value {
    let (_, text) = schemas().into_iter().find(|(known, _)| *known == file).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_schemas_and_the_reference_are_current() {
    for (file, text) in schemas() {
        check(&format!("schemas/{file}"), &text);
    }
    check("docs/src/configuration.md", &reference());
}

/// The page of the book: what is written by hand around tables made of doc comments and defaults.
fn reference() -> String {
    let mut page = include_str!("configuration-begin.txt").to_owned();
    let settings = schema("settings.v1.schema.json");
    let defaults = serde_json::to_value(Catalogue::default().settings()).unwrap();
    let sections = settings["properties"].as_object().unwrap();
    for (section, own) in sections.iter().filter(|(section, _)| *section != "when") {
        writeln!(page, "### `{section}`\n\n{}\n", sentence(own)).unwrap();
        page.push_str("| key | default | |\n|---|---|---|\n");
        let own = resolved(&settings, own);
        // A map by name says what each of its values is.
        match own.get("patternProperties").and_then(Value::as_object) {
            Some(each) => {
                let each = resolved(&settings, each.values().next().unwrap());
                rows(&mut page, &settings, "<name>", each, &Value::Null);
            }
            None => rows(&mut page, &settings, "", own, &defaults[section.as_str()]),
        }
        page.push('\n');
    }
    page.push_str(include_str!("configuration-agents.txt"));
    page.push_str("| key | |\n|---|---|\n");
    let agent = schema("agent.v1.schema.json");
    agent_rows(&mut page, &agent, "", &agent);
    page.push_str(include_str!("configuration-end.txt"));
    page
}

fn rows(page: &mut String, root: &Value, path: &str, schema: &Value, defaults: &Value) {
    for (key, own) in schema["properties"].as_object().unwrap() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{key}");
        let inner = resolved(root, own);
        if inner.get("properties").is_some() && defaults[key].is_object() {
            rows(page, root, &path, inner, &defaults[key]);
            continue;
        }
        let default = match &defaults[key] {
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        writeln!(page, "| `{path}` | {default} | {} |", sentence(own)).unwrap();
    }
}

fn agent_rows(page: &mut String, root: &Value, path: &str, schema: &Value) {
    for (key, own) in schema["properties"].as_object().unwrap() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{key}");
        writeln!(page, "| `{path}` | {} |", sentence(own)).unwrap();
        let inner = resolved(root, own);
        if inner.get("properties").is_some() {
            agent_rows(page, root, &path, inner);
        }
    }
}

/// Follows a reference, and passes over the `null` that an optional value may be.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let schema = match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().find(|one| one["type"] != "null").unwrap(),
        None => schema,
    };
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

#[test]
fn the_defaults_are_settings_and_say_all_of_them() {
    let settings = serde_json::to_value(Catalogue::default().settings()).unwrap();
    let schema = schema("settings.v1.schema.json");
    let sections = schema["properties"].as_object().unwrap();
    assert_eq!(
        sections.keys().filter(|key| *key != "when").collect::<Vec<_>>(),
        settings.as_object().unwrap().keys().collect::<Vec<_>>()
    );
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&settings).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn what_the_page_shows_is_taken() {
    let page = reference();
    let mut count = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let path = text.lines().next().unwrap().trim_start_matches("# ");
        if !path.starts_with("config/") {
            continue;
        }
        load(&sources(&[
            (path, text),
            ("config/agents/other.yaml", "name: other\nmodule: system-monitor\n"),
        ]));
        count += 1;
    }
    assert!(count >= 3, "the page shows files");
}
