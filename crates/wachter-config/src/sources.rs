use std::collections::BTreeMap;

use wachter_model::{ModuleName, NodeName};
use wachter_protocol::{Allowance, Manifest};

/// All that a catalogue is made of.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// Files of the managed repository by path. Those outside `config/`, and in folders that are not
    /// of this crate, are passed over.
    pub files: Vec<(&'a str, &'a str)>,
    /// The node's local file: its path and its text, of which `settings` is read.
    pub local: Option<(&'a str, &'a str)>,
    /// Environment variables; those that do not begin with `WACHTER_` and a section are passed over.
    pub environment: Vec<(&'a str, &'a str)>,
    /// Settings of the command line: a path such as `log.level`, and a value.
    pub flags: Vec<(&'a str, &'a str)>,
    /// For whom; `None` checks everything and takes no host's file.
    pub host: Option<NodeName>,
    /// The host's labels, from its local file.
    pub labels: BTreeMap<String, String>,
    /// The modules of the release.
    pub modules: BTreeMap<ModuleName, Module>,
    /// What the owner of the host allows; `None` where there is no host to ask.
    pub grants: Option<BTreeMap<ModuleName, Allowance>>,
}

/// A module of the release, as far as configuration has to do with it.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Its manifest; `None` where it could not be read, which is not this crate's to report.
    pub manifest: Option<Manifest>,
    /// The text of the JSON Schema that the manifest names under `input`.
    pub input_schema: Option<String>,
}
