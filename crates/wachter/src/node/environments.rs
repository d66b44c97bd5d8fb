//! The task that sees to it that Python modules have their environments. It stands between what the
//! repository says and what the agents are told: a module whose environment is not there may not run,
//! with the reason, and may as soon as it is.
//!
//! # Invariants
//! - One build at a time. What fails is tried again more and more rarely, and at once when a release,
//!   trust or the local file changes.
//! - No module waits for the environment of another for longer than [`PATIENCE`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, ModuleName, RunId};
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{LocalFile, RuntimeKind};
use wachter_runtime::{Deployment, ModuleStanding};
use wachter_sandbox::{
    BuildFailure, BuildOrder, BuildVerdict, Launcher, LauncherGone, build_environment,
};

use super::announce::{self, Announcer};

/// What the task knows of and whom it tells.
pub(crate) struct Environments {
    /// What the repository says.
    pub(crate) found: watch::Receiver<Option<Arc<Deployment>>>,
    /// The same, with modules that wait for their environment refused.
    pub(crate) standing: watch::Sender<Option<Arc<Deployment>>>,
    /// Who builds; none while it is away.
    pub(crate) launcher: watch::Receiver<Option<Launcher>>,
    pub(crate) local: watch::Receiver<Arc<LocalFile>>,
    /// The modules whose environments are kept; none where that is not known.
    pub(crate) retained: watch::Receiver<Option<BTreeSet<Digest>>>,
    /// Told by a run that had no environment after all.
    pub(crate) missing: Arc<Notify>,
    pub(crate) announcer: Announcer,
}

/// How long a deployment waits for environments that may well be there.
const PATIENCE: Duration = Duration::from_millis(500);
/// The pause after a first failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3_600));
/// The pause while somebody else builds the same.
const BUSY: Duration = Duration::from_secs(1);
/// How many modules a packet to the launcher has room for; with more, nothing is forgotten.
const MOST_RETAINED: usize = 800;

/// How the environment of a module stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It is there, as the present launcher says, or one before it.
    There { confirmed: bool },
    /// It is not: why, how often that was tried, and when it is tried again.
    Failed { reason: String, failures: u32, next: Instant },
}

/// Sees to it until shutdown.
pub(crate) async fn keep(mut task: Environments, shutdown: CancellationToken) {
    let mut known = Known::default();
    loop {
        let deployment = task.found.borrow_and_update().clone();
        let launcher = task.launcher.borrow_and_update().clone();
        if task.found.has_changed().is_err() {
            return;
        }
        known.take_in(deployment.as_ref());
        let due = deployment.as_ref().and_then(|deployment| known.due(deployment, Instant::now()));
        match (deployment, due, launcher) {
            (Some(deployment), Some(due), Some(launcher)) => {
                let working = build(&task, &due, &launcher, &shutdown);
                let built = with_patience(working, || known.publish(&task, &deployment)).await;
                match built {
                    Some(Ok(outcome)) => {
                        known.settle(&task, &due, outcome).await;
                    }
                    // Another launcher is to come; or the node ends.
                    Some(Err(LauncherGone)) => known.doubt(),
                    None => return,
                }
                // What waits for its turn goes on waiting, without a word between.
                if known.due(&deployment, Instant::now()).is_none() {
                    known.publish(&task, &deployment);
                }
            }
            (deployment, due, launcher) => {
                if let Some(deployment) = &deployment {
                    // Without a launcher, one is about to come: nothing could be run anyway.
                    if due.is_none() {
                        known.publish(&task, deployment);
                    }
                    if let (None, Some(launcher)) = (&due, &launcher) {
                        retain(&task, launcher).await;
                    }
                }
                let again = known.next();
                let waiting = async {
                    match (&due, again) {
                        (Some(_), _) => tokio::time::sleep(PATIENCE).await,
                        (None, Some(when)) => tokio::time::sleep_until(when).await,
                        (None, None) => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = task.found.changed() => if changed.is_err() { return },
                    changed = task.launcher.changed() => {
                        if changed.is_err() { return }
                        known.doubt();
                    }
                    () = task.missing.notified() => known.doubt(),
                    () = waiting => {
                        if let (Some(_), Some(deployment)) = (&due, &deployment) {
                            known.publish(&task, deployment);
                        }
                    }
                    () = shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// Carries something out, and does something else when that takes long.
async fn with_patience<T>(work: impl Future<Output = T>, late: impl FnOnce()) -> T {
    let mut work = std::pin::pin!(work);
    match tokio::time::timeout(PATIENCE, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            late();
            work.await
        }
    }
}

/// A module whose environment has to be built, or looked for.
#[derive(Clone, Debug)]
struct Due {
    name: ModuleName,
    digest: Digest,
}

/// What came of a build.
struct Outcome {
    verdict: BuildVerdict,
    took: Duration,
}

/// None where the node ends.
async fn build(
    task: &Environments,
    due: &Due,
    launcher: &Launcher,
    shutdown: &CancellationToken,
) -> Option<Result<Outcome, LauncherGone>> {
    let begun = Instant::now();
    let python = task.local.borrow().python.clone();
    let order =
        BuildOrder { run: RunId::new(), module: due.name.clone(), digest: due.digest, python };
    let name = due.name.as_str();
    let building = async {
        // Both sides must mean the same index.
        launcher.reload().await?;
        build_environment(launcher, order, shutdown, |line| {
            tracing::debug!(target: "environments", module = name, "uv: {line}");
        })
        .await
    };
    tokio::select! {
        report = building => Some(report.map(|report| Outcome {
            verdict: report.verdict,
            took: begun.elapsed(),
        })),
        () = launcher.gone() => Some(Err(LauncherGone)),
        () = shutdown.cancelled() => None,
    }
}

/// Has the launcher forget what no release names any more.
async fn retain(task: &Environments, launcher: &Launcher) {
    let modules = task.retained.borrow().clone();
    if let Some(modules) = modules.filter(|modules| modules.len() <= MOST_RETAINED) {
        // A launcher that is gone is told when it is back.
        let _ = launcher.retain(modules).await;
    }
}

/// All that is known of environments.
#[derive(Default)]
struct Known {
    states: BTreeMap<Digest, State>,
    /// What was taken in last.
    seen: Option<Arc<Deployment>>,
    /// What was said last: the deployment, and for each of its modules the reason.
    said: Option<(Arc<Deployment>, BTreeMap<ModuleName, String>)>,
}

impl Known {
    /// With a new deployment everything is tried again at once.
    fn take_in(&mut self, deployment: Option<&Arc<Deployment>>) {
        let same = match (&self.seen, deployment) {
            (Some(seen), Some(now)) => Arc::ptr_eq(seen, now),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
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
    }

    /// What is there has to be looked for again, and is taken to be there until then.
    fn doubt(&mut self) {
        for state in self.states.values_mut() {
            if let State::There { confirmed } = state {
                *confirmed = false;
            }
        }
    }

    /// What is to be built or looked for next.
    fn due(&self, deployment: &Deployment, now: Instant) -> Option<Due> {
        of_python(deployment).find(|due| match self.states.get(&due.digest) {
            None | Some(State::There { confirmed: false }) => true,
            Some(State::There { confirmed: true }) => false,
            Some(State::Failed { next, .. }) => *next <= now,
        })
    }

    /// When something that failed is tried again.
    fn next(&self) -> Option<Instant> {
        let failed = self.states.values().filter_map(|state| match state {
            State::Failed { next, .. } => Some(*next),
            State::There { .. } => None,
        });
        failed.min()
    }

    /// Takes note of what came of a build, says it, and journals it.
    async fn settle(&mut self, task: &Environments, due: &Due, outcome: Outcome) {
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

    /// Hands on what the repository says, as far as it can run, unless that was said last.
    fn publish(&mut self, task: &Environments, deployment: &Arc<Deployment>) {
        let reasons: BTreeMap<ModuleName, String> = of_python(deployment)
            .filter_map(|due| {
                let reason = match self.states.get(&due.digest) {
                    Some(State::There { .. }) => return None,
                    Some(State::Failed { reason, .. }) => {
                        format!("its environment cannot be built: {reason}")
                    }
                    None => "its environment is being built".to_owned(),
                };
                Some((due.name, reason))
            })
            .collect();
        let same = |(before, said): &(Arc<Deployment>, BTreeMap<ModuleName, String>)| {
            Arc::ptr_eq(before, deployment) && *said == reasons
        };
        if self.said.as_ref().is_some_and(same) {
            return;
        }
        let standing = match reasons.is_empty() {
            true => Arc::clone(deployment),
            false => {
                let mut held = Deployment::clone(deployment);
                for (name, reason) in &reasons {
                    if let Some(module) = held.modules.get_mut(name) {
                        module.standing = ModuleStanding::Refused(reason.clone());
                    }
                }
                Arc::new(held)
            }
        };
        self.said = Some((Arc::clone(deployment), reasons));
        task.standing.send_replace(Some(standing));
    }
}

/// How long is waited after so many failures before.
fn pause(failures: u32) -> Duration {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_more_and_more_rarely() {
        let pauses: Vec<u64> = (0..9).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(pause(u32::MAX), PAUSES.1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_quick_is_not_talked_about() {
        for (seconds, expected) in [(0, false), (60, true)] {
            let mut late = false;
            let work = tokio::time::sleep(Duration::from_secs(seconds));
            with_patience(work, || late = true).await;
            assert_eq!(late, expected, "{seconds}");
        }
    }

    #[test]
    fn what_was_there_is_looked_for_again_and_taken_to_be_there() {
        let digest = Digest::of(b"module");
        let mut known = Known::default();
        known.states.insert(digest, State::There { confirmed: true });
        known.doubt();
        assert_eq!(known.states[&digest], State::There { confirmed: false });
        assert_eq!(known.next(), None);
        let next = Instant::now();
        known.states.insert(digest, State::Failed { reason: String::new(), failures: 1, next });
        known.doubt();
        assert_eq!(known.next(), Some(next));
    }
}
