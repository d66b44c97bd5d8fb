//! The modules that ship with Wachter, as files of a managed repository. Their code is in
//! `wachter-modules`; what a repository holds, and somebody signs, is what they may.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wachter_document::nearest;
use wachter_protocol::Manifest;

use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::repository::{Repository, RepositoryOptions};

/// A module that ships.
pub(crate) struct Official {
    pub(crate) name: &'static str,
    /// Its files, by path within `modules/NAME`.
    pub(crate) files: [(&'static str, &'static str); 3],
    /// An agent that runs it, for `config/agents/NAME.yaml`.
    pub(crate) agent: &'static str,
}

macro_rules! official {
    ($name:literal) => {
        Official {
            name: $name,
            files: [
                ("README.md", official!($name, "README.md")),
                ("input.schema.json", official!($name, "input.schema.json")),
                ("module.yaml", official!($name, "module.yaml")),
            ],
            agent: official!($name, "agent.yaml"),
        }
    };
    ($name:literal, $file:literal) => {
        include_str!(concat!("../../../wachter-modules/modules/", $name, "/", $file))
    };
}

/// The one that every new repository has.
pub(crate) const FIRST: Official = official!("system-monitor");

static ALL: [Official; 5] = [
    official!("certificate-monitor"),
    official!("disk-health"),
    official!("log-analyzer"),
    official!("resource-monitor"),
    FIRST,
];

impl Official {
    fn find(name: &str) -> Result<&'static Self, CommandError> {
        ALL.iter().find(|official| official.name == name).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|official| official.name).collect();
            let instead = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names.join(", ")),
            };
            CommandError::usage(format!(
                "no module `{name}` ships with Wachter: {instead} `wachter module new {name}` makes one of your own"
            ))
        })
    }

    fn text(&self, file: &str) -> &'static str {
        self.files.iter().find(|(path, _)| *path == file).map_or("", |(_, text)| text)
    }

    /// What the owner of a host writes to let it have what it asks for.
    fn grant(&self) -> Value {
        let manifest = Manifest::read(self.text("module.yaml"));
        let manifest = manifest.expect("a test reads the manifest of every module that ships");
        let mut asked = json!(manifest.permissions);
        prune(&mut asked);
        json!({ self.name: asked })
    }
}

/// Takes out what is empty.
fn prune(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.values_mut().for_each(prune);
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
}

/// Puts a module that ships into the repository, with an agent that runs it. What is there already
/// stays, but for the module's own files, which are brought up to date.
pub(super) fn add(name: &str, options: &RepositoryOptions, format: Format) -> CommandResult {
    let official = Official::find(name)?;
    let repository = Repository::open(options)?;
    let mut written = Vec::new();
    for (file, text) in official.files {
        let path = format!("modules/{name}/{file}");
        if put(&repository.path(&path), text)? {
            written.push(path);
        }
    }
    let agent = format!("config/agents/{name}.yaml");
    if !repository.path(&agent).exists() {
        put(&repository.path(&agent), official.agent)?;
        written.push(agent);
    }
    let grant = official.grant();
    if format == Format::Json {
        return output::json(&json!({ "files": written, "grants": grant }));
    }
    if written.is_empty() {
        output::talk(format_args!("{name} is there as it ships"));
        return Ok(());
    }
    written.iter().try_for_each(output::data)?;
    // JSON is YAML.
    let asked = &grant[name];
    output::talk(format_args!(
        "sign it:   wachter sign {name}\ngrant it, below `grants:` in the local file of each host:\n  {name}: {asked}"
    ));
    Ok(())
}

/// Writes a file, where it is not so already.
fn put(path: &Path, text: &str) -> Result<bool, CommandError> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(false);
    }
    let failed = |error: std::io::Error| {
        CommandError::failed(format!("cannot write {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_to_grant() {
        for official in &ALL {
            let grant = official.grant();
            let asked = grant[official.name].as_object().unwrap();
            assert!(!asked.is_empty(), "{grant}");
            let agent: Value = wachter_document::read(official.agent).unwrap();
            assert_eq!(
                (&agent["name"], &agent["module"]),
                (&json!(official.name), &json!(official.name))
            );
        }
        let logs = Official::find("log-analyzer").unwrap().grant().to_string();
        assert_eq!(
            logs,
            r#"{"log-analyzer":{"exec":["/usr/bin/journalctl"],"filesystem":{"read":["/var/log"]},"groups":["adm"]}}"#
        );
    }

    #[test]
    fn a_name_that_is_not_known_has_a_near_one() {
        let error = |name: &str| Official::find(name).err().unwrap().to_string();
        assert!(error("log-analyser").contains("did you mean `log-analyzer`?"));
        assert!(error("x").contains("there are certificate-monitor, disk-health"));
    }
}
