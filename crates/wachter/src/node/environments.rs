//! The task that sees to it that Python modules have their environments. It stands between what the
//! repository says and what the agents are told: a module whose environment is not there waits, with
//! the reason, and may run as soon as it is. What is meant for its agents waits with it.
//!
//! # Invariants
//! - One build at a time. What fails is tried again more and more rarely, and at once when a release,
//!   trust or the local file changes.
//! - Nothing but modules in Python waits for a build longer than [`PATIENCE`]: a new deployment is
//!   handed on in that time, whatever is being built for the one before.
//! - A build that no module of the deployment in force needs is ended.

mod known;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, RunId};
use wachter_protocol::LocalFile;
use wachter_runtime::Deployment;
use wachter_sandbox::{BuildOrder, Launcher, LauncherGone, build_environment};

use self::known::{Due, Known, Outcome};
use super::announce::Announcer;

/// What the task knows of and whom it tells.
pub(crate) struct Environments {
    /// What the repository says.
    pub(crate) found: watch::Receiver<Option<Arc<Deployment>>>,
    /// The same, where modules wait for their environment.
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
/// How many modules a packet to the launcher has room for; with more, nothing is forgotten.
const MOST_RETAINED: usize = 800;

/// A build under way. Dropping it ends it.
struct Building {
    due: Due,
    /// From when on it is said that it takes a while.
    late: Instant,
    /// Whether it was begun for an earlier deployment.
    of_another: bool,
    work: Pin<Box<dyn Future<Output = Result<Outcome, LauncherGone>> + Send>>,
}

/// Sees to it until shutdown.
pub(crate) async fn keep(mut task: Environments, shutdown: CancellationToken) {
    let mut known = Known::default();
    let mut building: Option<Building> = None;
    let mut launcher = task.launcher.borrow_and_update().clone();
    // Until when the deployment is not handed on, if something has to be looked for first.
    let mut patience = Instant::now();
    loop {
        let deployment = task.found.borrow_and_update().clone();
        if task.found.has_changed().is_err() {
            return;
        }
        if known.take_in(deployment.as_ref()) {
            patience = Instant::now() + PATIENCE;
            building = building.filter(|building| known.needs(building.due.digest));
            if let Some(building) = &mut building {
                building.of_another = true;
            }
        }
        let due = known.due(Instant::now());
        if let (None, Some(due), Some(launcher)) = (&building, &due, &launcher) {
            building = Some(begin(&task, due, launcher));
        }
        let now = Instant::now();
        let late = building.as_ref().filter(|building| building.late <= now);
        if due.is_none() || patience <= now {
            known.publish(&task, late.map(|building| building.due.digest));
        }
        if let (None, None, Some(launcher)) = (&building, &due, &launcher) {
            retain(&task, launcher).await;
        }
        let look_again = [
            Some(patience).filter(|_| due.is_some()),
            building.as_ref().map(|building| building.late),
            // While one is built, the others wait for it.
            known.next().filter(|_| building.is_none() && launcher.is_some()),
        ];
        let look_again = look_again.into_iter().flatten().filter(|at| *at > now).min();
        let built = async {
            match &mut building {
                Some(building) => (&mut building.work).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = task.found.changed() => if changed.is_err() { return },
            changed = task.launcher.changed() => {
                if changed.is_err() { return }
                launcher = task.launcher.borrow_and_update().clone();
                building = None;
                known.doubt();
            }
            built = built => match (built, building.take()) {
                (Ok(outcome), Some(building)) => {
                    known.settle(&task, &building.due, outcome).await;
                    if building.of_another {
                        known.hurry(building.due.digest);
                    }
                }
                // Another is to come.
                (Ok(_), None) | (Err(LauncherGone), _) => {
                    launcher = None;
                    known.doubt();
                }
            },
            () = task.missing.notified() => known.doubt(),
            () = at(look_again) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Waits until a moment; without one, for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn begin(task: &Environments, due: &Due, launcher: &Launcher) -> Building {
    let now = Instant::now();
    let work = build(due.clone(), task.local.clone(), launcher.clone());
    let (due, late) = (due.clone(), now + PATIENCE);
    Building { due, late, of_another: false, work: Box::pin(work) }
}

async fn build(
    due: Due,
    local: watch::Receiver<Arc<LocalFile>>,
    launcher: Launcher,
) -> Result<Outcome, LauncherGone> {
    let begun = Instant::now();
    let python = local.borrow().python.clone();
    let order =
        BuildOrder { run: RunId::new(), module: due.name.clone(), digest: due.digest, python };
    let name = due.name.as_str();
    // Whoever does not want it any more drops it.
    let never = CancellationToken::new();
    let building = async {
        // Both sides must mean the same index.
        launcher.reload().await?;
        build_environment(&launcher, order, &never, |line| {
            tracing::debug!(target: "environments", module = name, "uv: {line}");
        })
        .await
    };
    tokio::select! {
        report = building => report.map(|report| Outcome {
            verdict: report.verdict,
            took: begun.elapsed(),
        }),
        () = launcher.gone() => Err(LauncherGone),
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
