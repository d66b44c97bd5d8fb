use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_file::{Readers, replace_quickly};
use wachter_model::AgentName;
use wachter_protocol::launcher::{Enforcement, Hello};
use wachter_protocol::{LocalFile, Mechanism, Profile};
use wachter_runtime::NodeEvent;

use super::Looked;
use crate::failure::CommandError;
use crate::output;
use crate::place::Host;

/// What the node is doing, as a file that commands read: `status.json` in the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// The version of this format: 1.
    version: u32,
    pub(crate) node: String,
    pub(crate) process: u32,
    pub(crate) since: Timestamp,
    /// When the repository was last asked, and what went wrong, if something did.
    pub(crate) last_look: Option<Timestamp>,
    /// When that look began: what was asked for before then is in its outcome.
    #[serde(default)]
    pub(crate) look_began: Option<Timestamp>,
    pub(crate) fetch_error: Option<String>,
    pub(crate) refused: Vec<String>,
    /// Keys of the local file that were changed and count from the next start.
    #[serde(default)]
    pub(crate) restart_needed: Vec<String>,
    /// How modules are confined, and what is not enforced; none while there is no launcher.
    pub(crate) profile: Option<Profile>,
    pub(crate) absent: BTreeSet<Mechanism>,
    pub(crate) agents: BTreeMap<AgentName, AgentStatus>,
    #[serde(skip)]
    path: PathBuf,
}

/// How an agent does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AgentStatus {
    pub(crate) runs: u64,
    pub(crate) failures: u64,
    pub(crate) last: Option<Timestamp>,
    pub(crate) outcome: Option<String>,
    pub(crate) message: Option<String>,
}

impl NodeStatus {
    pub(crate) fn begin(host: &Host) -> Result<Self, CommandError> {
        Ok(Self {
            version: 1,
            node: name(&host.local),
            process: std::process::id(),
            since: Timestamp::now(),
            last_look: None,
            look_began: None,
            restart_needed: Vec::new(),
            fetch_error: None,
            refused: Vec::new(),
            profile: None,
            absent: BTreeSet::new(),
            agents: BTreeMap::new(),
            path: path(&host.data),
        })
    }

    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path(data)).ok()?).ok()
    }

    /// Writes the file. What the node does is more important than what it says of it: it is not synced
    /// either, since after a power cut a node says anew what it does.
    pub(crate) fn write(&self) {
        let written = serde_json::to_vec(self)
            .map_err(Into::into)
            .and_then(|json| replace_quickly(&self.path, &json, Readers::Owner));
        if let Err(error) = written {
            output::talk(format_args!("cannot write {}: {error}", self.path.display()));
        }
    }

    /// Takes in what came of a look that began then.
    pub(crate) fn looked(&mut self, began: Timestamp, looked: &Looked) {
        self.last_look = Some(Timestamp::now());
        self.look_began = Some(began);
        self.refused.clone_from(&looked.refused);
        self.fetch_error.clone_from(&looked.fetch_error);
        self.node.clone_from(&looked.node);
        self.restart_needed = looked.restart_needed.iter().map(ToString::to_string).collect();
    }

    /// Takes in that a look could not be brought to its end.
    pub(crate) fn failed(&mut self, began: Timestamp, error: &CommandError) {
        self.last_look = Some(Timestamp::now());
        self.look_began = Some(began);
        self.refused.clear();
        self.fetch_error = Some(error.to_string());
    }

    pub(crate) fn launcher(&mut self, hello: &Hello) {
        self.profile = Some(hello.profile);
        self.absent = hello
            .mechanisms
            .iter()
            .filter(|(_, enforcement)| **enforcement != Enforcement::Enforced)
            .map(|(mechanism, _)| *mechanism)
            .collect();
    }

    pub(crate) fn happened(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::Finished(record) => {
                let Some(agent) = record.cause.agent() else { return };
                let status = self.agents.entry(agent.clone()).or_default();
                status.runs += 1;
                status.failures += u64::from(!record.succeeded());
                status.last = Some(record.started);
                status.outcome = Some(record.outcome.clone());
                status.message.clone_from(&record.message);
            }
            NodeEvent::Held { agent, reason } | NodeEvent::NotKept { agent, reason } => {
                let status = self.agents.entry(agent.clone()).or_default();
                status.outcome = Some("held".to_owned());
                status.message = Some(reason.clone());
            }
        }
    }
}

/// What the node is called: as the local file says, else as the host is.
pub(super) fn name(local: &LocalFile) -> String {
    match &local.node {
        Some(name) => name.to_string(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("status.json")
}
