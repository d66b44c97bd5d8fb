//! Builds of environments: runs of `uv` in a jail that this process makes as for a module, with the
//! lock file of a module that it verified, and no way to the network but the package index that the
//! owner of the host names.
//!
//! The node passes bytes between that jail and the index, and can do no more than keep them back: `uv`
//! compares every package with its digest in the lock file, inside.

use std::collections::BTreeSet;
use std::path::Path;

use wachter_model::{Digest, chain};
use wachter_protocol::launcher::{Build, BuildOutcome, Built, Exited, RefusalKind, Retain, ToNode};
use wachter_protocol::{Grant, Profile};

use super::Server;
use super::launch::Begin;
use crate::authority::{Refusal, Signed};
use crate::build::Building;
use crate::check::{Order, Outcome, Step};
use crate::environments::Standing;
use crate::interpreter::find_uv;
use crate::jail::plan::{self, Program};

impl Server {
    /// Builds the environment of a module whose files in `folder` were checked, unless it is there.
    pub(super) fn build(
        &mut self,
        connection: u64,
        build: Build,
        signed: Signed,
        folder: &Path,
    ) -> Result<(), Refusal> {
        let setup = |reason: String| Refusal::new(RefusalKind::Setup, reason);
        let manifest = self.authority.manifest(&build.name, &signed.digests, folder)?;
        let environment = self.authority.environment(&manifest, &signed.digests, folder)?;
        let environment = environment.ok_or_else(|| {
            Refusal::new(RefusalKind::Request, format!("`{}` needs no environment", build.name))
        })?;
        let (run, key) = (build.run, environment.key);
        match self.authority.environments().standing(key) {
            Standing::Absent => {}
            Standing::Unchecked => {
                return self.check_environment(connection, Order::Build(build), signed, key);
            }
            Standing::Ready => {
                self.authority.environments().note(key, build.module);
                let built = Built { run, outcome: BuildOutcome::Present(key) };
                self.tell(connection, &ToNode::Built(built), &[]);
                return Ok(());
            }
        }
        if self.host.profile == Profile::NoNamespaces {
            return Err(setup(
                "an environment cannot be built with the profile `no-namespaces`, which has no network; \
                 write the module for `kind: process` with its packages beside it, or use another profile"
                    .to_owned(),
            ));
        }
        self.require(&manifest)?;
        let lock = self.authority.environments().lock(key);
        let lock = lock.map_err(|error| setup(format!("cannot lock the environment: {error}")))?;
        let lock = lock.ok_or_else(|| {
            Refusal::new(RefusalKind::Busy, "its environment is being built; try again in a while")
        })?;
        let python = &self.authority.local().python;
        let uv = find_uv(python, self.uv.as_deref()).map_err(setup)?;
        let index = python.index.clone();
        let grant =
            Grant::for_environment(build.module, python).map_err(|error| setup(chain(&error)))?;
        let slot = self.free_slot()?;
        let user = self.user(grant.permissions(), slot)?;
        let (interpreter, requirements) =
            (environment.interpreter.path.clone(), environment.requirements.clone());
        let most_bytes = grant.limits().disk.as_bytes();
        let building =
            Building::make(&self.state, run, &user, environment, build.module, most_bytes, lock);
        let building = building.map_err(setup)?;
        let program = Program::Build(plan::Build {
            uv,
            interpreter,
            requirements,
            index,
            folder: building.folder().to_owned(),
        });
        self.begin(Begin {
            connection,
            run,
            grant: &grant,
            folder,
            program,
            slot,
            user,
            timeout: grant.limits().timeout,
            secrets: Vec::new(),
            building: Some(Box::new(building)),
            environment: Some(key),
        })
    }

    /// Tells what became of a build that has ended.
    pub(super) fn take_over(
        &mut self,
        connection: u64,
        building: Building,
        exited: Exited,
        outcome: Outcome,
    ) {
        let (key, module) = (building.environment.key, building.module);
        // Who is told that it is over finds nothing of it any more.
        drop(building);
        let outcome = match outcome {
            Ok(fingerprint) => {
                if let Some(fingerprint) = fingerprint {
                    self.authority.environments_mut().trust(key, fingerprint);
                }
                self.authority.environments().note(key, module);
                BuildOutcome::Kept(key)
            }
            Err(reason) => BuildOutcome::Refused(reason),
        };
        let built = Built { run: exited.run, outcome };
        self.tell(connection, &ToNode::Built(built), &[]);
        self.tell(connection, &ToNode::Exited(exited), &[]);
    }

    /// Forgets environments that no module needs any more.
    pub(super) fn retain(&mut self, retain: &Retain) {
        let mut busy: BTreeSet<Digest> =
            self.runs.values().filter_map(|run| run.environment).collect();
        busy.extend(self.checks.values().filter_map(|check| match &check.step {
            Step::Environment(.., key) => Some(*key),
            Step::Keep(building, _) => Some(building.environment.key),
            Step::Module(..) | Step::Compile(..) => None,
        }));
        self.authority.environments_mut().retain(&retain.modules, &busy);
    }
}
