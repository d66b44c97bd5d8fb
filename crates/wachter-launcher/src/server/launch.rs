//! From a request of a node to a run: admitted, checked, decided, begun; or refused with a reason.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use wachter_model::{RunId, chain};
use wachter_protocol::launcher::{Launch, RefusalKind};
use wachter_protocol::{Mechanism, Profile};

use super::Server;
use super::run::Run;
use crate::authority::{Admitted, Refusal, Signed};
use crate::check::Check;
use crate::folders::Folders;
use crate::host;
use crate::jail;
use crate::jail::plan::{Plan, Program, Request};
use crate::scratch;

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
    pub(super) fn launch(&mut self, connection: u64, launch: Launch) -> Result<(), Refusal> {
        if self.runs.contains_key(&launch.run) || self.checks.contains_key(&launch.run) {
            return Err(Refusal::new(RefusalKind::Request, "a run of this name is under way"));
        }
        let signed = self.authority.admit(&launch)?;
        let store = self.authority.store();
        if store.holds_little(&signed.digests) {
            let held = store.hold(&signed.digests, &signed.source);
            held.map_err(|error| Refusal::new(RefusalKind::Module, chain(&error)))?;
            return self.proceed(connection, launch, signed, Checked::Here);
        }
        // For each check there is a place for its run.
        self.free_slot()?;
        let run = launch.run;
        let compiled = self.authority.compiled();
        let work = |signed: &Signed| {
            store.hold(&signed.digests, &signed.source).map_err(|error| chain(&error))?;
            compiled.check(signed.digests.digest());
            Ok(())
        };
        let check = Check::begin(connection, launch, signed, None, work)
            .map_err(|reason| Refusal::new(RefusalKind::Setup, reason))?;
        self.checks.insert(run, check);
        Ok(())
    }

    /// Begins the run of a module that was checked, or says why not.
    pub(super) fn take_outcome(&mut self, id: RunId) {
        let Some(outcome) = self.checks.get(&id).and_then(Check::outcome) else { return };
        let Some(check) = self.checks.remove(&id) else { return };
        let checked =
            if check.compilation.is_some() { Checked::Compiled } else { Checked::Elsewhere };
        let Check { connection, launch, signed, .. } = self.end_check(check);
        let begun = outcome
            .map_err(|reason| Refusal::new(RefusalKind::Module, reason))
            .and_then(|()| self.proceed(connection, launch, signed, checked));
        if let Err(Refusal { kind, reason }) = begun {
            self.refuse(connection, id, kind, reason);
        }
    }

    /// Begins the run of a module whose files were checked just now, or has it compiled first.
    fn proceed(
        &mut self,
        connection: u64,
        launch: Launch,
        signed: Signed,
        checked: Checked,
    ) -> Result<(), Refusal> {
        let folder = self.authority.store().place(&signed.digests);
        let mut admitted = self.authority.decide(&launch, &signed.digests, folder)?;
        let missing = match &mut admitted.program {
            Program::Wasi { code, .. } => {
                if code.is_some() && checked == Checked::Here {
                    let (compiled, module) = (self.authority.compiled(), signed.digests.digest());
                    compiled.check(module);
                    *code = compiled.find(module);
                }
                code.is_none()
            }
            _ => false,
        };
        match (missing, checked) {
            (false, _) => self.begin(connection, &launch, admitted),
            (true, Checked::Here | Checked::Elsewhere) => {
                self.compile(connection, launch, signed, admitted)
            }
            (true, Checked::Compiled) => Err(Refusal::new(
                RefusalKind::Setup,
                "the module was compiled and its code is gone; try again",
            )),
        }
    }

    /// Begins the run of a module.
    fn begin(
        &mut self,
        connection: u64,
        launch: &Launch,
        admitted: Admitted,
    ) -> Result<(), Refusal> {
        self.require(&admitted)?;
        let slot = self.free_slot()?;
        let setup = |fault: &dyn ToString| Refusal::new(RefusalKind::Setup, fault.to_string());
        let user = self.user(&admitted, slot)?;
        let no_namespaces = self.host.profile == Profile::NoNamespaces;
        let secrets = self.authority.secrets(&admitted)?;
        let folders = match no_namespaces {
            true => Folders::make(&self.state, launch.run, &user, &secrets)
                .map_err(|reason| setup(&reason))?,
            false => Folders::default(),
        };
        let forbidden = self.forbidden();
        let Admitted { grant, folder, program, .. } = admitted;
        let timeout = launch.timeout.to_std().min(grant.limits().timeout.to_std());
        let plan = Plan::new(Request {
            grant: &grant,
            profile: self.host.profile,
            module: &folder,
            program,
            user,
            scratch: scratch::folder(&self.state, launch.run),
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
        let group = self.host.cgroups.make(launch.run, &limits).map_err(|fault| setup(&fault))?;
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
            begun: Instant::now(),
            stopped: None,
            ended: None,
            refused: false,
        };
        self.runs.insert(launch.run, run);
        Ok(())
    }

    /// Refuses what cannot be enforced, unless the owner accepted that by name.
    pub(super) fn require(&self, admitted: &Admitted) -> Result<(), Refusal> {
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
                admitted.manifest.name,
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
