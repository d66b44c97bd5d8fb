use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::module::{Message, Request};
use crate::{LocalFile, Manifest};

/// The JSON Schemas (draft 2020-12) of the formats that other programs write or read: a file name
/// that carries the format's version, and the text.
///
/// The copies in the folder `schemas` of the repository are these; a test holds them to it.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    vec![
        of::<Manifest>("manifest.v1.schema.json"),
        of::<Request>("module-request.v1.schema.json"),
        of::<Message>("module-message.v1.schema.json"),
        of::<LocalFile>("local-file.v1.schema.json"),
    ]
}

fn of<T: JsonSchema>(file: &'static str) -> (&'static str, String) {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    // A name, not an address: a schema is found beside the program that it came with.
    let name = file.trim_end_matches(".schema.json").replace('.', ":");
    schema.insert("$id".to_owned(), format!("urn:wachter:schema:{name}").into());
    // Alternate form of Display: indented.
    (file, format!("{:#}\n", schema.to_value()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_published_copies_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        let update = std::env::var_os("WACHTER_UPDATE").is_some();
        for (file, text) in schemas() {
            let path = folder.join(file);
            if update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &text).unwrap();
            }
            let published = std::fs::read_to_string(&path).unwrap_or_default();
            let hint = "run this test once with WACHTER_UPDATE=1 and look at the difference";
            assert!(published == text, "schemas/{file} is out of date: {hint}");
        }
        // Those of `wachter-config` and `wachter-api`, which hold them to their own.
        let others =
            ["agent.v1.schema.json", "settings.v1.schema.json", "node-api.v1.openapi.json"];
        for file in std::fs::read_dir(&folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let ours = schemas().iter().any(|(file, _)| *file == name);
            assert!(ours || others.contains(&name.as_str()), "nothing generates schemas/{name}");
        }
    }

    #[test]
    fn every_schema_says_what_it_is() {
        for (file, text) in schemas() {
            let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{file}");
            let id = schema["$id"].as_str().unwrap();
            assert!(id.starts_with("urn:wachter:schema:") && id.ends_with(":v1"), "{file}: {id}");
        }
    }

    #[test]
    fn a_view_has_the_shape_of_its_kind() {
        let (_, text) = schemas().remove(1);
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        let views = &schema["$defs"]["Views"]["properties"];
        for view in ["cpu", "memory", "mounts", "network", "processes", "sensors"] {
            assert!(views[view].is_object(), "{view}: {views}");
        }
    }
}
