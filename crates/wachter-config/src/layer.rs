use std::fmt;

use serde::Serialize;

/// Where a value came from, the lowest layer first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// Built in.
    Defaults,
    /// `config/wachter.yaml`.
    Repository,
    /// `config/groups/<group>.yaml`, in the order of the groups' names.
    Group(String),
    /// `config/hosts/<host>.yaml`.
    Host,
    /// `settings` in the node's local file.
    Local,
    /// `WACHTER_<SECTION>_<KEY>`.
    Environment,
    /// `--set section.key=value`.
    Flags,
    /// `config/agents/<name>.yaml`: for agents, which have one layer.
    Agent,
}

impl LayerKind {
    /// Whether it is signed with a release rather than written on the host.
    #[must_use]
    pub const fn is_of_repository(&self) -> bool {
        matches!(self, Self::Repository | Self::Group(_) | Self::Host | Self::Agent)
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.pad("defaults"),
            Self::Repository => f.pad("repository"),
            Self::Group(name) => f.pad(&format!("group {name}")),
            Self::Host => f.pad("host"),
            Self::Local => f.pad("local file"),
            Self::Environment => f.pad("environment"),
            Self::Flags => f.pad("flags"),
            Self::Agent => f.pad("agent"),
        }
    }
}
