use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::agent::AgentFile;
use crate::settings::Settings;

/// The JSON Schemas (draft 2020-12) of the files of `config/`: a file name that carries the format's
/// version, and the text. Editors take them from the first line of a file:
/// `# yaml-language-server: $schema=…`.
///
/// The copies in the folder `schemas` of the repository are these; a test holds them to it.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    vec![
        // A layer says some of the settings, never all.
        of::<Settings>("settings.v1.schema.json", true),
        of::<AgentFile>("agent.v1.schema.json", false),
    ]
}

fn of<T: JsonSchema>(file: &'static str, partial: bool) -> (&'static str, String) {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let name = file.trim_end_matches(".schema.json").replace('.', ":");
    schema.insert("$id".to_owned(), format!("urn:wachter:schema:{name}").into());
    let mut value = schema.to_value();
    if partial {
        forget_required(&mut value);
        // Groups have a key that no other layer has.
        value["properties"]["when"] = json!({
            "type": "string",
            "description": "In `config/groups/` alone: a condition in CEL over `labels` and `node`, which \
                            nodes the group is for. Those with its name in the label `group` where left out.",
        });
    }
    (file, format!("{value:#}\n"))
}

fn forget_required(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A list: a property of that name would be a map.
            if map.get("required").is_some_and(Value::is_array) {
                map.remove("required");
            }
            map.values_mut().for_each(forget_required);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_required),
        _ => {}
    }
}
