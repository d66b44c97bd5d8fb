//! Configuration from texts to a catalogue.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod agents;
mod generated;
mod layers;
mod properties;
mod refusals;

use std::collections::BTreeMap;

use wachter_config::{Catalogue, Module, Sources};
use wachter_protocol::Manifest;

/// A release with two modules, whose input has a schema or not.
pub(crate) fn sources<'a>(files: &[(&'a str, &'a str)]) -> Sources<'a> {
    let scan = "name: dependency-scan
version: 1.0.0
runtime: { kind: process, entrypoint: main }
permissions: { filesystem: { read: [/srv] } }
limits: { timeout: 10m, memory: 512MiB }
input: { $ref: input.schema.json }
emits: [vulnerability.dependency, scan.completed]
";
    let schema = r#"{
  "type": "object",
  "properties": {
    "path": { "type": "string", "pattern": "^/" },
    "depth": { "type": "integer", "maximum": 10 },
    "ignore": { "type": "array", "items": { "type": "string" } }
  },
  "required": ["path"],
  "additionalProperties": false
}"#;
    let monitor = "name: system-monitor
version: 1.0.0
runtime: { kind: builtin, entrypoint: system-monitor }
emits: [disk.full]
";
    let module = |manifest: &str, schema: Option<&str>| Module {
        manifest: Some(Manifest::read(manifest).unwrap()),
        input_schema: schema.map(str::to_owned),
    };
    let modules = [
        ("dependency-scan", module(scan, Some(schema))),
        ("system-monitor", module(monitor, None)),
    ];
    Sources {
        files: files.to_vec(),
        modules: modules.map(|(name, module)| (name.parse().unwrap(), module)).into(),
        ..Sources::default()
    }
}

pub(crate) fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
pub(crate) fn load(sources: &Sources<'_>) -> Catalogue {
    Catalogue::load(sources).unwrap_or_else(|problems| panic!("{problems}"))
}
