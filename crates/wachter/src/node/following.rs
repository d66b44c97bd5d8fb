//! The task that follows the repository. It alone changes what is in force.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use wachter_api::shapes::{ReleaseReport, Reloaded};
use wachter_config::{Settings, SyncSettings, difference};
use wachter_model::Digest;
use wachter_protocol::LocalFile;
use wachter_runtime::Deployment;

use super::announce::{self, Announcer};
use super::followed::{self, Followed};
use super::orders::{Answer, Order};
use super::supervisor::Supervisor;
use crate::failure::{CommandError, CommandResult};
use crate::follow::Follower;
use crate::sync::refusals;

/// Where what was found out goes.
pub(crate) struct Outlets {
    pub(crate) deployment: watch::Sender<Option<Arc<Deployment>>>,
    /// The modules of all releases that may still be in force one day; none where that is not known.
    pub(crate) retained: watch::Sender<Option<BTreeSet<Digest>>>,
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    pub(crate) local: watch::Sender<Arc<LocalFile>>,
    pub(crate) followed: watch::Sender<Followed>,
    pub(crate) announcer: Announcer,
    pub(crate) supervisor: Supervisor,
}

/// Looks for releases at intervals, when told to, and more and more rarely while that fails.
pub(crate) async fn follow(
    mut follower: Box<Follower>,
    outlets: Outlets,
    mut orders: mpsc::Receiver<Order>,
    mut hang_up: Signal,
    shutdown: CancellationToken,
) -> CommandResult {
    let mut pace = Pace::default();
    let mut said = Said::default();
    let mut order = None;
    let mut reloading = false;
    loop {
        let (task, answer) = take_apart(order.take());
        // Fetching waits for a process, judging hashes files: neither is for an asynchronous thread.
        let working = tokio::task::spawn_blocking(move || {
            let outcome = task.carry_out(&mut follower);
            (follower, outcome)
        });
        // A server that keeps a fetch waiting does not keep the node from ending: what is under way
        // ends with the process, as it would by a power cut.
        let (worked, outcome) = tokio::select! {
            worked = working => worked?,
            () = shutdown.cancelled() => return Ok(()),
        };
        follower = worked;
        let failed = !matches!(&outcome, Ok(found) if found.fetch_error.is_none());
        pace.looked(failed);
        let reported = take_in(&outlets, &mut said, outcome).await;
        answer.send(reported);
        if std::mem::take(&mut reloading) {
            outlets.supervisor.ready();
        }
        follower = match tidy(follower, &shutdown).await? {
            Some(follower) => follower,
            None => return Ok(()),
        };
        let pause = pace.pause(&outlets.settings.borrow().sync);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = hang_up.recv() => {
                reloading = true;
                outlets.supervisor.reloading();
            }
            Some(received) = orders.recv() => order = Some(received),
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// What is to be done with the repository.
enum Task {
    Look,
    Reload,
    RollBack(Option<u64>),
    Pin(Option<u64>, Timestamp),
    Unpin,
    Apply(PathBuf),
}

/// Who waits for it.
enum Waiting {
    Nobody,
    Release(Answer<ReleaseReport>),
    Reload(Answer<Reloaded>),
}

fn take_apart(order: Option<Order>) -> (Task, Waiting) {
    match order {
        None => (Task::Look, Waiting::Nobody),
        Some(Order::Look(answer)) => (Task::Look, Waiting::Release(answer)),
        Some(Order::Reload(answer)) => (Task::Reload, Waiting::Reload(answer)),
        Some(Order::RollBack(to, answer)) => (Task::RollBack(to), Waiting::Release(answer)),
        Some(Order::Pin(sequence, until, answer)) => {
            (Task::Pin(sequence, until), Waiting::Release(answer))
        }
        Some(Order::Unpin(answer)) => (Task::Unpin, Waiting::Release(answer)),
        Some(Order::Apply(path, answer)) => (Task::Apply(path), Waiting::Release(answer)),
    }
}

impl Waiting {
    /// Who asked may have gone away in the meantime.
    fn send(self, reported: Result<Reported, CommandError>) {
        match self {
            Self::Nobody => {}
            Self::Release(answer) => {
                drop(answer.send(reported.and_then(|reported| match reported.fetch_error {
                    Some(error) => Err(CommandError::failed(error)),
                    None => Ok(reported.release),
                })));
            }
            Self::Reload(answer) => {
                drop(answer.send(reported.map(|reported| reported.reloaded)));
            }
        }
    }
}

/// What came of a task.
struct Found {
    followed: Followed,
    fetch_error: Option<String>,
    /// What of the local file and of accepted releases is wrong in itself.
    wrong: Vec<String>,
    releases_refused: Vec<String>,
    local: LocalFile,
    settings: Option<Settings>,
    retained: Option<BTreeSet<Digest>>,
    /// Where it differs from the one known.
    deployment: Option<Deployment>,
}

impl Task {
    fn carry_out(self, follower: &mut Follower) -> Result<Found, CommandError> {
        let (mut wrong, mut fetch_error) = (Vec::new(), None);
        match follower.reread() {
            Ok(()) => {}
            Err(error) if matches!(self, Self::Reload) => return Err(error),
            Err(error) => wrong.push(error.to_string()),
        }
        let now = Timestamp::now();
        match self {
            Self::Reload => {}
            // A server that does not answer changes nothing: what is known is judged, since a pin may
            // have ended or the owner of this host may have granted more.
            Self::Look => fetch_error = follower.fetch().err().map(|error| error.to_string()),
            Self::Apply(path) => {
                follower.take_bundle(path)?;
            }
            Self::RollBack(to) => {
                follower.repository().rollback(to, now)?;
            }
            Self::Unpin => follower.repository().unpin()?,
            Self::Pin(sequence, until) => {
                let in_force = follower.repository().state().in_force(now);
                let sequence = sequence.or(in_force.map(|release| release.sequence));
                let sequence = sequence
                    .ok_or_else(|| CommandError::failed("there is no release yet to stay on"))?;
                follower.repository().pin(sequence, until, now)?;
            }
        }
        let now = Timestamp::now();
        let releases_refused = refusals(&follower.judge(now)?);
        let deploying = follower.deploy_changes(now)?.unwrap_or_default();
        wrong.extend(follower.passed_over().iter().cloned());
        let deployment = deploying.deployment;
        let retained = deployment.as_ref().and_then(|_| follower.modules().ok());
        let settings = match &deployment {
            Some(deployment) => Some(deployment.catalogue.settings().clone()),
            None if follower.repository().state().in_force(now).is_none() => {
                // Before the first release, the local file may say more than before.
                follower.settings().ok()
            }
            None => None,
        };
        let state = follower.repository().state();
        let followed = Followed {
            release: deployment.as_ref().and_then(|deployment| {
                let mut history = state.history.iter();
                history.find(|release| release.sequence == deployment.sequence).cloned()
            }),
            accepted: state.history.iter().map(|release| release.sequence).collect(),
            rollback: state.rollback,
            pin: state.pin,
            last_look: Some(Timestamp::now()),
            fetch_error: fetch_error.clone(),
            refused: wrong.iter().chain(&releases_refused).cloned().collect(),
            restart_needed: follower.restart_needed().iter().map(ToString::to_string).collect(),
        };
        let local = follower.local().clone();
        Ok(Found {
            followed,
            fetch_error,
            wrong,
            releases_refused,
            local,
            settings,
            retained,
            deployment,
        })
    }
}

/// What those who asked are told.
struct Reported {
    release: ReleaseReport,
    reloaded: Reloaded,
    fetch_error: Option<String>,
}

/// Brings what was found into force, says it, and journals it.
async fn take_in(
    outlets: &Outlets,
    said: &mut Said,
    outcome: Result<Found, CommandError>,
) -> Result<Reported, CommandError> {
    let found = match outcome {
        Ok(found) => found,
        Err(error) => {
            said.say(vec![format!("the release in force stays: {error}")]);
            outlets.followed.send_modify(|followed| {
                followed.last_look = Some(Timestamp::now());
                followed.fetch_error = Some(error.to_string());
            });
            return Err(error);
        }
    };
    let Found {
        mut followed,
        fetch_error,
        wrong,
        releases_refused,
        local,
        settings,
        retained,
        deployment,
    } = found;
    let before = outlets.deployment.borrow().clone();
    if deployment.is_none() {
        followed.release = outlets.followed.borrow().release.clone();
    }
    outlets.local.send_if_modified(|known| {
        let changed = **known != local;
        *known = Arc::new(local);
        changed
    });
    if let Some(settings) = settings {
        outlets.settings.send_if_modified(|known| {
            let changed = **known != settings;
            *known = Arc::new(settings);
            changed
        });
    }
    let mut sentences = followed.refused.clone();
    sentences.extend(fetch_error.iter().map(|error| format!("cannot fetch: {error}")));
    if !followed.restart_needed.is_empty() {
        let keys = followed.restart_needed.join(", ");
        sentences.push(format!("the configuration has changed; restart needed for: {keys}"));
    }
    said.say(sentences);
    let wrong = wrong.iter().map(|reason| (announce::CONFIGURATION_REFUSED, reason));
    let refused = releases_refused.iter().map(|reason| (announce::RELEASE_REFUSED, reason));
    for (topic, reason) in wrong.chain(refused) {
        let name = wachter_model::Digest::of(reason.as_bytes()).to_string();
        outlets.announcer.tell_once(topic, "", &json!({ "reason": reason }), &name).await;
    }
    let deployment = deployment.map(Arc::new);
    let sequence = |deployment: &Option<Arc<Deployment>>| {
        deployment.as_ref().map(|deployment| deployment.sequence)
    };
    let changed = deployment.is_some() && sequence(&deployment) != sequence(&before);
    if let Some(deployment) = &deployment {
        followed::say(deployment);
        outlets.supervisor.status(&format!("release {} is in force", deployment.sequence));
        outlets.retained.send_replace(retained);
        outlets.deployment.send_replace(Some(Arc::clone(deployment)));
    }
    let current = deployment.clone().or_else(|| before.clone());
    let report = ReleaseReport {
        release: followed::release(&followed),
        changed,
        refused: followed.refused.clone(),
        held: current.iter().flat_map(|deployment| followed::held(deployment)).collect(),
    };
    let paths = match (&before, &deployment) {
        (Some(before), Some(after)) => difference(&before.catalogue, &after.catalogue)
            .into_iter()
            .map(|change| change.path)
            .collect(),
        _ => Vec::new(),
    };
    let reloaded =
        Reloaded { changed: paths.clone(), needs_restart: followed.restart_needed.clone() };
    outlets.followed.send_replace(followed.clone());
    if let Some(deployment) = &deployment {
        outlets.announcer.deployed(&followed, deployment, &paths).await;
    }
    Ok(Reported { release: report, reloaded, fetch_error })
}

/// Puts the node's own repository in order, after what is new has taken effect. None where the node
/// ends.
async fn tidy(
    mut follower: Box<Follower>,
    shutdown: &CancellationToken,
) -> Result<Option<Box<Follower>>, CommandError> {
    let tidying = tokio::task::spawn_blocking(move || {
        let tidied = follower.tidy();
        (follower, tidied)
    });
    tokio::select! {
        tidied = tidying => {
            let (follower, tidied) = tidied?;
            if let Err(error) = tidied {
                tracing::warn!(target: "repository", "the node's own repository stays untidy: {error}");
            }
            Ok(Some(follower))
        }
        () = shutdown.cancelled() => Ok(None),
    }
}

/// Says each thing when it changes, not each time it is seen.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn say(&mut self, now: Vec<String>) {
        for sentence in now.iter().filter(|sentence| !self.0.contains(*sentence)) {
            tracing::warn!(target: "repository", "{sentence}");
        }
        self.0 = now;
    }
}

/// How long is waited between two looks.
#[derive(Default)]
struct Pace {
    failures: u32,
}

impl Pace {
    fn looked(&mut self, failed: bool) {
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
    }

    /// The interval, or after failures the doubling wait; and up to `jitter` more, so that many nodes
    /// do not ask at one moment.
    fn pause(&self, settings: &SyncSettings) -> Duration {
        let wait = match self.failures.checked_sub(1) {
            None => settings.interval.to_std(),
            Some(doublings) => {
                let backoff = &settings.backoff;
                let wait = backoff.initial.to_std().saturating_mul(1 << doublings.min(20));
                wait.min(backoff.max.to_std())
            }
        };
        let random = getrandom::u32().unwrap_or(0);
        wait + settings.jitter.to_std().mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_config::BackoffSettings;

    #[test]
    fn a_server_that_fails_is_asked_more_and_more_rarely() {
        let settings = SyncSettings {
            interval: wachter_model::Duration::from_secs(60),
            jitter: wachter_model::Duration::from_secs(6),
            backoff: BackoffSettings {
                initial: wachter_model::Duration::from_secs(5),
                max: wachter_model::Duration::from_secs(600),
            },
        };
        let mut pace = Pace::default();
        let mut check = |failed: bool, seconds: u64| {
            pace.looked(failed);
            let range = Duration::from_secs(seconds)..=Duration::from_secs(seconds + 6);
            let pause = pace.pause(&settings);
            assert!(range.contains(&pause), "{pause:?} is not within {range:?}");
        };
        for seconds in [5, 10, 20, 40, 80, 160, 320, 600, 600] {
            check(true, seconds);
        }
        check(false, 60);
        check(true, 5);
    }
}
