//! From a request of a node to a run: admitted, checked, decided, begun; or refused with a reason.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use wachter_model::{RunId, chain};
use wachter_protocol::launcher::{BuildOutcome, Built, Launch, RefusalKind, ToNode};
use wachter_protocol::{Grant, Manifest, Mechanism, Profile};

use super::Server;
use super::run::Run;
use crate::authority::{Admitted, Refusal, Signed};
use crate::build::Building;
use crate::check::{Check, Order, Step};
use crate::environments::Standing;
use crate::folders::Folders;
use crate::host;
use crate::jail;
use crate::jail::plan::{Plan, Program, Request};
use crate::jail::user::User;
use crate::scratch;
use crate::secrets::Secret;

/// All that tells one run from another, decided.
pub(super) struct Begin<'a> {
    pub(super) connection: u64,
    pub(super) run: RunId,
    pub(super) grant: &'a Grant,
    /// The module's files.
    pub(super) folder: &'a Path,
    pub(super) program: Program,
    pub(super) slot: u32,
    pub(super) user: User,
    pub(super) timeout: wachter_model::Duration,
    pub(super) secrets: Vec<Secret>,
    /// The environment that it builds, or the one that it uses.
    pub(super) building: Option<Box<Building>>,
    pub(super) environment: Option<wachter_model::Digest>,
}

/// Where the files of a module were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    /// By the loop, for there is little to them.
    Here,
    /// By a process of its own, its machine code included.
    Elsewhere,
    /// It was compiled as well.
    Compiled,
}

impl Server {
    /// Takes an order up.
    pub(super) fn take_up(&mut self, connection: u64, order: Order) -> Result<(), Refusal> {
        let run = order.run();
        if self.runs.contains_key(&run) || self.checks.contains_key(&run) {
            return Err(Refusal::new(RefusalKind::Request, "a run of this name is under way"));
        }
        let (name, module) = order.module();
        let signed = self.authority.admit(name, module)?;
        if self.authority.store().holds_little(&signed.digests) {
            return self.carry_out(connection, order, signed, Checked::Here);
        }
        self.check(connection, Step::Module(order, signed))
    }

    /// Looks at files, in a process of its own.
    fn check(&mut self, connection: u64, step: Step) -> Result<(), Refusal> {
        // For each check there is a place for its run.
        self.free_slot()?;
        let run = match &step {
            Step::Module(order, _) | Step::Environment(order, ..) => order.run(),
            Step::Compile(launch, _) => launch.run,
            Step::Keep(_, exited) => exited.run,
        };
        let (store, environments) = (self.authority.store(), self.authority.environments());
        let compiled = self.authority.compiled();
        let check = Check::begin(connection, step, None, |step| match step {
            Step::Module(_, signed) => {
                store.hold(&signed.digests, &signed.source).map_err(|error| chain(&error))?;
                compiled.check(signed.digests.digest());
                Ok(None)
            }
            Step::Environment(.., key) => environments.verify(*key).map(Some),
            // It is begun with a group and a user, by `compile`.
            Step::Compile(..) => Ok(None),
            Step::Keep(building, _) => {
                let environment = &building.environment;
                environments
                    .keep(
                        environment.key,
                        &environment.interpreter,
                        &building.site(),
                        building.most_bytes,
                    )
                    .map(Some)
            }
        });
        let check = check.map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        self.checks.insert(run, check);
        Ok(())
    }

    /// Goes on where files were looked at, or says why not.
    pub(super) fn take_outcome(&mut self, id: RunId) {
        let Some(outcome) = self.checks.get(&id).and_then(Check::outcome) else { return };
        let Some(check) = self.checks.remove(&id) else { return };
        let connection = check.connection;
        let went_on = match (self.end_check(check), outcome) {
            (Step::Module(order, signed), Ok(_)) => {
                self.carry_out(connection, order, signed, Checked::Elsewhere)
            }
            (Step::Compile(launch, signed), Ok(_)) => {
                self.carry_out(connection, Order::Launch(launch), signed, Checked::Compiled)
            }
            (Step::Module(..) | Step::Compile(..), Err(reason)) => {
                Err(Refusal::new(RefusalKind::Module, reason))
            }
            (Step::Environment(order, signed, key), Ok(fingerprint)) => {
                if let Some(fingerprint) = fingerprint {
                    self.authority.environments_mut().trust(key, fingerprint);
                }
                self.carry_out(connection, order, signed, Checked::Elsewhere)
            }
            (Step::Environment(order, signed, key), Err(reason)) => {
                super::eprintln_line(&format!("{reason}; it is removed"));
                self.authority.environments_mut().remove(key);
                // A launch is refused, a build begins anew.
                self.carry_out(connection, order, signed, Checked::Elsewhere)
            }
            (Step::Keep(building, exited), outcome) => {
                self.take_over(connection, *building, exited, outcome);
                Ok(())
            }
        };
        if let Err(Refusal { kind, reason }) = went_on {
            self.refuse(connection, id, kind, reason);
        }
    }

    /// Carries out an order whose module's files were checked just now.
    fn carry_out(
        &mut self,
        connection: u64,
        order: Order,
        signed: Signed,
        checked: Checked,
    ) -> Result<(), Refusal> {
        let folder = self.authority.store().place(&signed.digests);
        match order {
            Order::Launch(launch) => self.launch(connection, launch, signed, folder, checked),
            Order::Build(build) => self.build(connection, build, signed, &folder),
        }
    }

    /// Begins the run of a module, or what has to be done before.
    fn launch(
        &mut self,
        connection: u64,
        launch: Launch,
        signed: Signed,
        folder: PathBuf,
        checked: Checked,
    ) -> Result<(), Refusal> {
        let mut admitted = self.authority.decide(&launch, &signed.digests, folder)?;
        self.require(&admitted.manifest)?;
        let environment = admitted.environment.as_ref().map(|environment| environment.key);
        if let Some(key) = environment {
            match self.authority.environments().standing(key) {
                Standing::Ready => {}
                Standing::Unchecked => {
                    let order = Order::Launch(launch);
                    return self.check(connection, Step::Environment(order, signed, key));
                }
                Standing::Absent => {
                    return Err(Refusal::new(
                        RefusalKind::Environment,
                        "its environment is not there; the node builds it when it takes up a release, and says why it could not",
                    ));
                }
            }
        }
        if let Program::Wasi { code, .. } = &mut admitted.program {
            if code.is_some() && checked == Checked::Here {
                *code = self.authority.compiled().check(signed.digests.digest());
            }
            if code.is_none() && checked == Checked::Compiled {
                return Err(Refusal::new(
                    RefusalKind::Setup,
                    "the module was compiled and its code is gone; try again",
                ));
            }
            if code.is_none() {
                return self.compile(connection, launch, signed, admitted);
            }
        }
        let slot = self.free_slot()?;
        let user = self.user(admitted.grant.permissions(), slot)?;
        let secrets = self.authority.secrets(&admitted)?;
        let Admitted { grant, folder, program, .. } = admitted;
        self.begin(Begin {
            connection,
            run: launch.run,
            grant: &grant,
            folder: &folder,
            program,
            slot,
            user,
            timeout: launch.timeout,
            secrets,
            building: None,
            environment,
        })
    }

    /// Begins a run.
    pub(super) fn begin(&mut self, begin: Begin<'_>) -> Result<(), Refusal> {
        let Begin { connection, run: id, grant, slot, user, secrets, .. } = begin;
        let setup = |fault: &dyn ToString| Refusal::new(RefusalKind::Setup, fault.to_string());
        let no_namespaces = self.host.profile == Profile::NoNamespaces;
        let folders = match no_namespaces {
            true => {
                Folders::make(&self.state, id, &user, &secrets).map_err(|reason| setup(&reason))?
            }
            false => Folders::default(),
        };
        let forbidden = self.forbidden();
        let timeout = begin.timeout.to_std().min(grant.limits().timeout.to_std());
        let plan = Plan::new(Request {
            grant,
            profile: self.host.profile,
            module: begin.folder,
            program: begin.program,
            user,
            scratch: scratch::folder(&self.state, id),
            secrets: folders.secrets(),
            base: &self.base,
            forbidden: &forbidden,
            memory_for_each: !self.host.enforces(Mechanism::CgroupMemory),
            timeout,
        })
        .map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        let mut limits = plan.limits.clone();
        // The relay is none of the module's processes.
        limits.processes += u32::from(!secrets.is_empty());
        let group = self.host.cgroups.make(id, &limits).map_err(|fault| setup(&fault))?;
        let joined = group.clone();
        let descriptor = group.open();
        let begun = jail::begin(
            &plan,
            &self.filters,
            timeout,
            secrets,
            descriptor.as_ref().map(AsFd::as_fd),
            move |within| joined.join(within),
        );
        let begun = match begun {
            Ok(begun) => begun,
            Err(fault) => {
                group.remove();
                return Err(setup(&fault));
            }
        };
        let run = Run {
            connection,
            monitor: begun.monitor,
            reports: begun.reports,
            stdio: Some(begun.stdio),
            group,
            listeners: plan.listeners.into_iter().map(|listener| listener.endpoint).collect(),
            slot,
            folders,
            building: begin.building,
            environment: begin.environment,
            begun: Instant::now(),
            stopped: None,
            ended: None,
            refused: false,
        };
        self.runs.insert(id, run);
        Ok(())
    }

    /// Has what a build installed taken over, and then its end told.
    pub(super) fn keep(
        &mut self,
        connection: u64,
        building: Box<Building>,
        exited: wachter_protocol::launcher::Exited,
    ) {
        let run = exited.run;
        if let Err(refusal) = self.check(connection, Step::Keep(building, exited)) {
            let outcome = BuildOutcome::Refused(refusal.reason);
            self.tell(connection, &ToNode::Built(Built { run, outcome }), &[]);
            self.tell(connection, &ToNode::Exited(exited), &[]);
        }
    }

    /// Has files of an environment hashed before a build says that it is there.
    pub(super) fn check_environment(
        &mut self,
        connection: u64,
        order: Order,
        signed: Signed,
        key: wachter_model::Digest,
    ) -> Result<(), Refusal> {
        self.check(connection, Step::Environment(order, signed, key))
    }

    /// Refuses what cannot be enforced, unless the owner accepted that by name.
    pub(super) fn require(&self, manifest: &Manifest) -> Result<(), Refusal> {
        let confinement = &self.authority.local().confinement;
        let missing: Vec<Mechanism> = Mechanism::ALL
            .into_iter()
            .filter(|mechanism| {
                !self.host.enforces(*mechanism) && !confinement.accept_absent.contains(mechanism)
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = missing.iter().map(|mechanism| format!("`{mechanism}`")).collect();
        Err(Refusal::new(
            RefusalKind::Mechanism,
            format!(
                "`{}` cannot be confined as required: {} absent on this host; see `wachter doctor`, \
             or accept each absence by name under `confinement.accept_absent` in the local file",
                manifest.name,
                names.join(", ")
            ),
        ))
    }

    /// What no run may see; with the identity that the owner names now.
    pub(super) fn forbidden(&self) -> Vec<PathBuf> {
        let identity = self.authority.local().secrets.identity.as_ref();
        let identity = identity.map(|path| path.as_path().to_owned());
        let mut forbidden = self.forbidden.clone();
        forbidden.extend(host::with_real_paths(identity.as_slice()));
        forbidden
    }

    pub(super) fn free_slot(&self) -> Result<u32, Refusal> {
        let most = self.authority.local().confinement.users.count;
        let busy = || {
            Refusal::new(
                RefusalKind::Busy,
                format!(
                    "{most} runs are under way; try again later, or raise `confinement.users.count`"
                ),
            )
        };
        if self.runs.len() + self.checks.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return Err(busy());
        }
        let compiling = self.checks.values().filter_map(|check| check.compilation.as_ref());
        let taken: Vec<u32> = self
            .runs
            .values()
            .map(|run| run.slot)
            .chain(compiling.map(|compilation| compilation.slot))
            .collect();
        (0..most).find(|slot| !taken.contains(slot)).ok_or_else(busy)
    }
}
