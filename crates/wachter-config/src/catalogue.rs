use std::collections::BTreeMap;

use wachter_document::DocumentError;
use wachter_model::{AgentName, ModuleName};

use crate::agent::{Agent, AgentFile};

/// The folder of agents in the managed repository.
pub const AGENTS: &str = "config/agents/";

/// Everything that a node is to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    agents: BTreeMap<AgentName, Agent>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not what its place asks for.
    #[error("{path}: {fault}")]
    Document {
        /// The file.
        path: String,
        /// What and where. Part of the message, since the place makes no sense without the file.
        fault: DocumentError,
    },
    /// Well-formed and yet wrong.
    #[error("{path}: {reason}")]
    Agent {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A module that is not there.
    #[error("{path}: there is no module `{module}` in `modules/`{}", hint(nearest.as_deref()))]
    NoModule {
        /// The file.
        path: String,
        /// What it names.
        module: ModuleName,
        /// What may have been meant.
        nearest: Option<String>,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl Catalogue {
    /// Reads the files below `config/`; `modules` are the names of those that the release holds.
    ///
    /// # Errors
    /// All that is wrong, in the order of the files.
    pub fn read<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        modules: &[ModuleName],
    ) -> Result<Self, Vec<ConfigError>> {
        let mut catalogue = Self::default();
        let mut errors = Vec::new();
        for (path, text) in files {
            let Some(file) = path.strip_prefix(AGENTS).filter(|file| is_document(file)) else {
                continue;
            };
            match read_agent(path, file, text, modules) {
                Ok(agent) => drop(catalogue.agents.insert(agent.name.clone(), agent)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(catalogue) } else { Err(errors) }
    }

    /// The agents by name.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.agents.values()
    }
}

fn is_document(file: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| file.ends_with(ending))
}

fn read_agent(
    path: &str,
    file: &str,
    text: &str,
    modules: &[ModuleName],
) -> Result<Agent, ConfigError> {
    let owned = || path.to_owned();
    let agent: AgentFile = wachter_document::read(text)
        .map_err(|fault| ConfigError::Document { path: owned(), fault })?;
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    if agent.name.as_str() != stem {
        let reason =
            format!("is named `{}` inside; the name and the file's must agree", agent.name);
        return Err(ConfigError::Agent { path: owned(), reason });
    }
    if !modules.contains(&agent.module) {
        let names = modules.iter().map(ModuleName::as_str);
        let nearest = wachter_document::nearest(agent.module.as_str(), names).map(str::to_owned);
        return Err(ConfigError::NoModule { path: owned(), module: agent.module, nearest });
    }
    agent.check().map_err(|reason| ConfigError::Agent { path: owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Result<Catalogue, String> {
        Catalogue::read([(path, text)], &["system-monitor".parse().unwrap()])
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn both_ways_to_say_every() {
        for on in ["{ every: 30s }", "{ schedule: { every: 30s } }"] {
            let text =
                format!("name: monitor\nmodule: system-monitor\non: {on}\nwith: {{ a: 1 }}\n");
            let catalogue = read("config/agents/monitor.yaml", &text).unwrap();
            let agent = catalogue.agents().next().unwrap();
            assert_eq!(agent.every.as_millis(), 30_000);
            assert_eq!(agent.with["a"], 1);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            (
                "name: monitor\nmodule: system-monitor\non: { every: 30 }",
                "config/agents/monitor.yaml: line 3",
            ),
            (
                "name: other\nmodule: system-monitor\non: { every: 30s }",
                "the name and the file's must agree",
            ),
            (
                "name: monitor\nmodule: system-monitr\non: { every: 30s }",
                "did you mean `system-monitor`?",
            ),
            ("name: monitor\nmodule: system-monitor\non: {}", "nothing wakes this agent"),
            ("name: monitor\nmodule: system-monitor\non: { every: 1ms }", "100ms is the shortest"),
            ("name: monitor\nmodule: system-monitor\non: { evry: 1s }", "did you mean `every`?"),
            (
                "name: monitor\nmodule: system-monitor\non: { every: 1s, schedule: { every: 1s } }",
                "say the same thing",
            ),
        ] {
            let message = read("config/agents/monitor.yaml", text).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn other_files_are_others_business() {
        assert_eq!(read("config/agents/README.md", "# Agents").unwrap().agents().len(), 0);
        assert_eq!(read("config/wachter.yaml", "x").unwrap().agents().len(), 0);
    }
}
