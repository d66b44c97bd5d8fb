use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use wachter_document::{Node, Place};
use wachter_model::{AgentName, Digest, ModuleName};

use crate::agent::{Agent, InputSchema, Presence};
use crate::layer::LayerKind;
use crate::problem::{Problem, Problems};
use crate::settings::Settings;
use crate::sources::{Module, Sources};

/// Everything that a node is to do: what all layers together come to.
#[derive(Clone, Debug)]
pub struct Catalogue {
    pub(crate) settings: Settings,
    pub(crate) agents: BTreeMap<AgentName, Agent>,
    pub(crate) absent: BTreeMap<AgentName, Presence>,
    pub(crate) schemas: BTreeMap<ModuleName, Arc<InputSchema>>,
    pub(crate) digest: Digest,
    pub(crate) warnings: Problems,
    pub(crate) merged: Node,
    pub(crate) layers: Vec<(LayerKind, Node)>,
    pub(crate) agent_files: BTreeMap<AgentName, Node>,
    /// What the texts are known by, by number.
    pub(crate) paths: Vec<String>,
}

/// Why a configuration was refused, one thing.
pub type ConfigError = Problem;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// In which layer.
    pub layer: LayerKind,
    /// The file, `environment variable …` or `--set …`; `defaults` for what is built in.
    pub path: String,
    /// Line, counted from 1; 0 where the text has none.
    pub line: u64,
}

/// A value that is in force, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OriginatedValue {
    /// Its dotted path: `log.level`, or `agent.monitor.on.schedule.every`.
    pub path: String,
    /// The value.
    pub value: Value,
    /// Where it was set, the lowest layer first; the last is in force.
    pub origins: Vec<Origin>,
}

impl Catalogue {
    /// Reads, lays over each other and checks all that `sources` hold.
    ///
    /// # Errors
    /// All that is wrong in all files, warnings included. Nothing is taken then.
    pub fn load(sources: &Sources<'_>) -> Result<Self, Problems> {
        crate::load::load(sources)
    }

    /// Reads files of `config/`, for a host without labels and settings of its own, where the names of
    /// modules are all that is known of them.
    ///
    /// # Errors
    /// All that is wrong, in the order of the files.
    pub fn read<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        modules: &[ModuleName],
    ) -> Result<Self, Vec<ConfigError>> {
        let modules = modules.iter().map(|name| (name.clone(), Module::default()));
        let sources = Sources {
            files: files.into_iter().collect(),
            modules: modules.collect(),
            ..Sources::default()
        };
        Self::load(&sources).map_err(|problems| problems.0)
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The agents that run here, by name.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = &Agent> {
        self.agents.values()
    }

    /// An agent that runs here.
    #[must_use]
    pub fn agent(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.get(name)
    }

    /// The agents that do not run here, and why.
    pub fn absent(&self) -> impl ExactSizeIterator<Item = (&AgentName, Presence)> {
        self.absent.iter().map(|(name, presence)| (name, *presence))
    }

    /// What the input of a module must be; none where the module does not say, or not so that it could
    /// be used.
    #[must_use]
    pub fn input_schema(&self, module: &ModuleName) -> Option<&InputSchema> {
        self.schemas.get(module).map(Arc::as_ref)
    }

    /// Names what is in force here: equal catalogues have equal digests, whatever their files are
    /// called and however they are written.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// What was noticed and does not refuse the configuration.
    #[must_use]
    pub const fn warnings(&self) -> &Problems {
        &self.warnings
    }

    /// Where a setting, or a key of an agent, was set: the lowest layer first, and the last one is in
    /// force. Empty for a path that there is not.
    #[must_use]
    pub fn origins(&self, path: &str) -> Vec<Origin> {
        match path.strip_prefix("agent.").and_then(|rest| rest.split_once('.')) {
            Some((agent, rest)) => {
                let file = self.agent_files.get(agent);
                let node = file.and_then(|file| file.at(rest.split('.')));
                node.map(|node| self.origin(LayerKind::Agent, node.place)).into_iter().collect()
            }
            None => {
                let found = self.layers.iter().filter_map(|(layer, node)| {
                    let node = node.at(path.split('.'))?;
                    Some(self.origin(layer.clone(), node.place))
                });
                found.collect()
            }
        }
    }

    /// Every value that is in force, with where it comes from, by path.
    #[must_use]
    pub fn values(&self) -> Vec<OriginatedValue> {
        let settings = self.merged.leaves().into_iter();
        let agents = self.agent_files.iter().flat_map(|(name, file)| {
            let leaves = file.leaves().into_iter();
            leaves.map(move |(path, node)| (format!("agent.{name}.{path}"), node))
        });
        let value = |(path, node): (String, &Node)| {
            let origins = self.origins(&path);
            OriginatedValue { path, value: node.to_json(), origins }
        };
        let mut values: Vec<_> = settings.chain(agents).map(value).collect();
        values.sort_by(|one, other| one.path.cmp(&other.path));
        values
    }

    fn origin(&self, layer: LayerKind, place: Place) -> Origin {
        let path = self.paths.get(place.source).cloned().unwrap_or_default();
        Origin { layer, path, line: place.line }
    }
}

/// Equal when they come to the same, wherever it was written.
impl PartialEq for Catalogue {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Settings alone: what holds where nothing is said.
impl Default for Catalogue {
    fn default() -> Self {
        Self::load(&Sources::default()).expect("the defaults are checked by a test")
    }
}
