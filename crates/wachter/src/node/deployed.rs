use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wachter_file::{Readers, replace_durably};
use wachter_gitops::AcceptedRelease;
use wachter_model::{AgentName, Digest, ModuleName};
use wachter_protocol::{Excess, Grant, Manifest};
use wachter_runtime::{Deployment, ModuleStanding};

use crate::failure::CommandError;
use crate::place::Host;

/// What is deployed on this host, as a file that commands read: `deployed.json` in the data folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deployed {
    /// The version of this format: 1.
    version: u32,
    /// The release in force.
    pub(crate) release: AcceptedRelease,
    /// Its modules.
    pub(crate) modules: BTreeMap<ModuleName, DeployedModule>,
    /// Its agents, and the module that each runs.
    pub(crate) agents: BTreeMap<AgentName, ModuleName>,
}

/// One module of the release in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeployedModule {
    pub(crate) version: String,
    /// Where it may run.
    pub(crate) digest: Option<Digest>,
    /// Where it may not.
    pub(crate) refused: Option<String>,
}

/// Where the files of a module of an accepted release lie.
pub(crate) fn folder_of(data: &Path, module: Digest) -> PathBuf {
    data.join("modules").join(module.to_string())
}

impl Deployed {
    pub(crate) fn of(release: &AcceptedRelease, deployment: &Deployment) -> Self {
        let modules = deployment.modules.iter().map(|(name, module)| {
            let (digest, refused) = match &module.standing {
                // What it waits for is seen to while the node runs; by hand it is there or not.
                ModuleStanding::Ready { digest, .. } | ModuleStanding::Waiting { digest, .. } => {
                    (Some(*digest), None)
                }
                ModuleStanding::Refused(reason) => (None, Some(reason.clone())),
            };
            (name.clone(), DeployedModule { version: module.version.clone(), digest, refused })
        });
        let agents = deployment.catalogue.agents();
        Self {
            version: 1,
            release: release.clone(),
            modules: modules.collect(),
            agents: agents.map(|agent| (agent.name.clone(), agent.module.clone())).collect(),
        }
    }

    pub(crate) fn write(&self, data: &Path) -> Result<(), CommandError> {
        let json = serde_json::to_vec(self)?;
        Ok(replace_durably(&data.join("deployed.json"), &json, Readers::Owner)?)
    }

    pub(crate) fn read(data: &Path) -> Result<Self, CommandError> {
        let path = data.join("deployed.json");
        let text = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => CommandError::failed(
                "no release is in force on this host yet; run `wachter sync`, and see what it says",
            ),
            _ => CommandError::failed(format!("cannot read {}: {error}", path.display())),
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            CommandError::failed(format!(
                "{} is damaged: {error}; run `wachter sync`",
                path.display()
            ))
        })
    }

    /// A module that may run, with what the local file grants it now.
    pub(crate) fn module(
        &self,
        name: &str,
        host: &Host,
    ) -> Result<(Digest, Manifest, Grant), CommandError> {
        let Some((name, module)) = self.modules.iter().find(|(known, _)| known.as_str() == name)
        else {
            let names = self.modules.keys().map(ModuleName::as_str);
            let hint = wachter_document::nearest(name, names)
                .map(|name| format!("; did you mean `{name}`?"));
            let hint = hint.unwrap_or_else(|| format!("; for a folder write `./{name}`"));
            return Err(CommandError::failed(format!(
                "release {} has no module `{name}`{hint}",
                self.release.sequence
            )));
        };
        let Some(digest) = module.digest else {
            let reason = module.refused.as_deref().unwrap_or("it was refused");
            return Err(CommandError::refused(format!("`{name}` may not run: {reason}")));
        };
        let path = folder_of(&host.data, digest).join("module.yaml");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CommandError::failed(format!(
                "cannot read {}: {error}; run `wachter sync`",
                path.display()
            ))
        })?;
        let manifest = Manifest::read(&text)?;
        let grant = Grant::decide(digest, &manifest, host.local.grants.get(name)).map_err(|excess| {
            CommandError::refused(format!(
                "`{name}` asks for more than this host grants: {}; add it under `grants.{name}` in {}",
                Excess::list(&excess),
                host.local_file.display()
            ))
        })?;
        Ok((digest, manifest, grant))
    }
}
