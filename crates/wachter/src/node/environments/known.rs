//! What is known of environments, and what follows from it for modules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use wachter_model::{Digest, ModuleName};
use wachter_protocol::RuntimeKind;
use wachter_protocol::launcher::RefusalKind;
use wachter_runtime::{Deployment, ModuleStanding};
use wachter_sandbox::{BuildFailure, BuildVerdict};

use super::Environments;
use crate::node::announce;

/// The pause after a first failure, and the longest.
pub(super) const PAUSES: (Duration, Duration) =
    (Duration::from_secs(30), Duration::from_secs(3_600));
/// The pause while somebody else builds the same.
const BUSY: Duration = Duration::from_secs(1);

/// How the environment of a module stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is there, as the present launcher says, or one before it.
    There { confirmed: bool },
    /// It is not: why, how often that was tried, and when it is tried again.
    Failed { reason: String, failures: u32, next: Instant },
}

/// A module whose environment has to be built, or looked for.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) name: ModuleName,
    pub(super) digest: Digest,
}

/// What came of a build.
pub(super) struct Outcome {
    pub(super) verdict: BuildVerdict,
    pub(super) took: Duration,
}

/// All that is known of environments.
#[derive(Default)]
pub(super) struct Known {
    pub(super) states: BTreeMap<Digest, State>,
    /// What was taken in last.
    seen: Option<Arc<Deployment>>,
    /// What was said last: the deployment, and for each of its modules the reason.
    said: Option<(Arc<Deployment>, BTreeMap<ModuleName, Wait>)>,
}

/// Why a module waits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wait {
    reason: String,
    failing: bool,
}

impl Known {
    /// With a new deployment everything is tried again at once. Says whether it is new.
    pub(super) fn take_in(&mut self, deployment: Option<&Arc<Deployment>>) -> bool {
        let same = match (&self.seen, deployment) {
            (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
            (None, None) => true,
            _ => false,
        };
        if same {
            return false;
        }
        self.seen = deployment.cloned();
        let wanted: BTreeSet<Digest> = deployment
            .into_iter()
            .flat_map(|deployment| of_python(deployment))
            .map(|due| due.digest)
            .collect();
        self.states.retain(|digest, _| wanted.contains(digest));
        for state in self.states.values_mut() {
            if let State::Failed { next, .. } = state {
                *next = Instant::now();
            }
        }
        true
    }

    /// Whether a module of the deployment needs this environment.
    pub(super) fn needs(&self, digest: Digest) -> bool {
        let deployment = self.seen.as_deref();
        deployment.into_iter().flat_map(of_python).any(|due| due.digest == digest)
    }

    /// What failed is tried again at once: it was begun before something changed.
    pub(super) fn hurry(&mut self, digest: Digest) {
        if let Some(State::Failed { next, .. }) = self.states.get_mut(&digest) {
            *next = Instant::now();
        }
    }

    /// What is there has to be looked for again, and is taken to be there until then.
    pub(super) fn doubt(&mut self) {
        for state in self.states.values_mut() {
            if let State::There { confirmed } = state {
                *confirmed = false;
            }
        }
    }

    /// What is to be built or looked for next.
    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        let mut all = self.seen.as_deref().into_iter().flat_map(of_python);
        all.find(|due| match self.states.get(&due.digest) {
            None | Some(State::There { confirmed: false }) => true,
            Some(State::There { confirmed: true }) => false,
            Some(State::Failed { next, .. }) => *next <= now,
        })
    }

    /// When something that failed is tried again.
    pub(super) fn next(&self) -> Option<Instant> {
        let failed = self.states.values().filter_map(|state| match state {
            State::Failed { next, .. } => Some(*next),
            State::There { .. } => None,
        });
        failed.min()
    }

    /// Takes note of what came of a build, says it, and journals it.
    pub(super) async fn settle(&mut self, task: &Environments, due: &Due, outcome: Outcome) {
        let Outcome { verdict, took } = outcome;
        let (name, digest) = (&due.name, due.digest);
        match verdict {
            BuildVerdict::Present(_) => {
                self.states.insert(digest, State::There { confirmed: true });
            }
            BuildVerdict::Built(environment) => {
                self.states.insert(digest, State::There { confirmed: true });
                let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(target: "environments", module = name.as_str(), "its environment was built in {milliseconds} ms");
                let data = json!({ "module": name, "digest": digest, "environment": environment, "milliseconds": milliseconds });
                task.announcer.tell(announce::ENVIRONMENT_BUILT, name.as_str(), &data).await;
            }
            // Another command builds the same, or everything is busy: that is no failure.
            BuildVerdict::Failed(
                failure @ BuildFailure::NotBegun { kind: RefusalKind::Busy, .. },
            ) => {
                let (reason, next) = (failure.to_string(), Instant::now() + BUSY);
                self.states.insert(digest, State::Failed { reason, failures: 0, next });
            }
            BuildVerdict::Failed(failure) => {
                let reason = failure.to_string();
                let (before, failures) = match self.states.get(&digest) {
                    Some(State::Failed { reason, failures, .. }) => {
                        (Some(reason.clone()), *failures)
                    }
                    _ => (None, 0),
                };
                let next = Instant::now() + pause(failures);
                let failures = failures.saturating_add(1);
                // Each reason once, and not each attempt.
                if before.as_ref() != Some(&reason) {
                    tracing::error!(target: "environments", module = name.as_str(), "its environment cannot be built: {reason}");
                    let data = json!({ "module": name, "digest": digest, "reason": reason });
                    task.announcer.tell(announce::ENVIRONMENT_FAILED, name.as_str(), &data).await;
                }
                self.states.insert(digest, State::Failed { reason, failures, next });
            }
        }
    }

    /// Hands on what the repository says, with what modules wait for, unless that was said last. `late`
    /// is what takes so long to be looked for that it is rather being built.
    pub(super) fn publish(&mut self, task: &Environments, late: Option<Digest>) {
        let Some(deployment) = self.seen.clone() else { return };
        let reasons: BTreeMap<ModuleName, Wait> = of_python(&deployment)
            .filter_map(|due| Some((due.name, self.reason(due.digest, late)?)))
            .collect();
        let same = |(before, said): &(Arc<Deployment>, BTreeMap<ModuleName, Wait>)| {
            Arc::ptr_eq(before, &deployment) && *said == reasons
        };
        if self.said.as_ref().is_some_and(same) {
            return;
        }
        let mut standing = Arc::clone(&deployment);
        if !reasons.is_empty() {
            let modules = &mut Arc::make_mut(&mut standing).modules;
            for (name, reason) in &reasons {
                if let Some(module) = modules.get_mut(name)
                    && let ModuleStanding::Ready { digest, manifest, grant } = &module.standing
                {
                    let (digest, manifest, grant) = (*digest, manifest.clone(), grant.clone());
                    let Wait { reason, failing } = reason.clone();
                    module.standing =
                        ModuleStanding::Waiting { digest, manifest, grant, reason, failing };
                }
            }
        }
        self.said = Some((deployment, reasons));
        task.standing.send_replace(Some(standing));
    }

    /// Why a module waits, where it does.
    fn reason(&self, digest: Digest, late: Option<Digest>) -> Option<Wait> {
        let (reason, failing) = match self.states.get(&digest) {
            Some(State::There { .. }) if late != Some(digest) => return None,
            // That another has the place, or builds the same, is nothing to see to.
            Some(State::Failed { reason, failures: 0, .. }) => {
                (format!("its environment is about to be built: {reason}"), false)
            }
            Some(State::Failed { reason, .. }) => {
                (format!("its environment cannot be built: {reason}"), true)
            }
            Some(State::There { .. }) | None => {
                ("its environment is being built".to_owned(), false)
            }
        };
        Some(Wait { reason, failing })
    }
}

/// How long is waited after so many failures before.
pub(super) fn pause(failures: u32) -> Duration {
    PAUSES.0.saturating_mul(1 << failures.min(10)).min(PAUSES.1)
}

/// The modules of a deployment that may run and need an environment.
fn of_python(deployment: &Deployment) -> impl Iterator<Item = Due> {
    deployment.modules.iter().filter_map(|(name, module)| match &module.standing {
        ModuleStanding::Ready { digest, manifest, .. }
            if manifest.runtime.kind == RuntimeKind::Python =>
        {
            Some(Due { name: name.clone(), digest: *digest })
        }
        _ => None,
    })
}
