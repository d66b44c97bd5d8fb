//! `wachter schema`: the JSON Schemas of the files that people write.

use std::fs;

use clap::Args;

use crate::failure::{CommandError, CommandResult};
use crate::output;
use crate::repository::{Repository, RepositoryOptions, replace};

/// Of `config/agents/<name>.yaml`.
const AGENT: &str = include_str!("../../../schemas/agent.v1.schema.json");
/// Of `modules/<name>/module.yaml`.
const MANIFEST: &str = include_str!("../../../schemas/manifest.v1.schema.json");
/// Of `config/wachter.yaml` and the other files of settings.
const SETTINGS: &str = include_str!("../../../schemas/settings.v1.schema.json");
const LOCAL_FILE: &str = include_str!("../../../schemas/local-file.v1.schema.json");
const MODULE_REQUEST: &str = include_str!("../../../schemas/module-request.v1.schema.json");
const MODULE_MESSAGE: &str = include_str!("../../../schemas/module-message.v1.schema.json");
const NODE_API: &str = include_str!("../../../schemas/node-api.v1.openapi.json");

/// Each by its name, with what it is about.
const ALL: [(&str, &str, &str); 7] = [
    ("agent", "config/agents/<name>.yaml", AGENT),
    ("local-file", "the node's local file", LOCAL_FILE),
    ("manifest", "modules/<name>/module.yaml", MANIFEST),
    ("module-message", "a line that a module writes", MODULE_MESSAGE),
    ("module-request", "what a module reads", MODULE_REQUEST),
    ("node-api", "the node's interface (OpenAPI)", NODE_API),
    ("settings", "config/wachter.yaml, config/groups/, config/hosts/", SETTINGS),
];

/// Those that a managed repository holds for editors, with their places.
pub(crate) const IN_REPOSITORY: [(&str, &str); 3] = [
    (".schemas/agent.v1.schema.json", AGENT),
    (".schemas/manifest.v1.schema.json", MANIFEST),
    (".schemas/settings.v1.schema.json", SETTINGS),
];

#[derive(Args, Debug)]
pub(crate) struct SchemaArguments {
    /// Which one; without a name they are listed
    #[arg(value_parser = ALL.map(|(name, ..)| name))]
    name: Option<String>,
    /// Brings those in `.schemas/` of the managed repository up to date
    #[arg(long, conflicts_with = "name")]
    write: bool,
    #[command(flatten)]
    repository: RepositoryOptions,
}

pub(crate) fn carry_out(arguments: &SchemaArguments, format: output::Format) -> CommandResult {
    if arguments.write {
        return write(&Repository::open(&arguments.repository)?);
    }
    match &arguments.name {
        Some(name) => {
            let found = ALL.iter().find(|(known, ..)| known == name);
            let (.., text) = found.ok_or_else(|| CommandError::usage("there is no such schema"))?;
            output::data(text.trim_end())
        }
        None if format == output::Format::Json => output::json(
            &ALL.map(|(name, about, _)| serde_json::json!({ "name": name, "about": about })),
        ),
        None => {
            let rows = ALL.map(|(name, about, _)| vec![name.to_owned(), about.to_owned()]);
            output::table(&["SCHEMA", "OF"], &rows)
        }
    }
}

fn write(repository: &Repository) -> CommandResult {
    for (path, text) in IN_REPOSITORY {
        let file = repository.path(path);
        if fs::read_to_string(&file).is_ok_and(|present| present == text) {
            continue;
        }
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        replace(&file, text.as_bytes())?;
        output::talk(format_args!("{path} is up to date"));
    }
    Ok(())
}
