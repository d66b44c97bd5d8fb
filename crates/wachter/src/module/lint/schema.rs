//! What a module says of its input.

use serde_json::Value;
use wachter_config::InputSchema;

use super::Linted;

pub(super) fn rules(linted: &mut Linted<'_>) {
    let Some(input) = &linted.manifest.input else {
        linted.warn(
            "name:",
            "it has no schema of its input, so a mistake in `with` shows only when it runs; name one by `input: { $ref: input.schema.json }`",
        );
        return;
    };
    let file = input.file.as_str().to_owned();
    // That it is missing was said.
    let Some(text) = linted.texts.get(&file) else { return };
    if let Err(reason) = InputSchema::compile(text) {
        return linted.refuse(&file, format!("it is no JSON Schema: {reason}"));
    }
    let schema: Value = serde_json::from_str(text).unwrap_or_default();
    let properties = schema["properties"].as_object();
    if properties.is_some() && schema["additionalProperties"] != Value::Bool(false) {
        linted.warn_of(
            &file,
            "it takes any other key too, so a mistyped one is passed over; add `\"additionalProperties\": false`",
        );
    }
    let plain = properties.into_iter().flatten().filter(|(_, property)| {
        property.is_object()
            && property.get("description").is_none()
            && property.get("$ref").is_none()
    });
    let plain: Vec<_> = plain.map(|(name, _)| format!("`{name}`")).collect();
    if !plain.is_empty() {
        linted.warn_of(&file, format!("nothing describes {}", plain.join(", ")));
    }
}
