use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use wachter_api::shapes::{Health, Journal, Launcher, RolledBack, Status};
use wachter_api::{Call, GetHealth, GetStatus, Problem, Server};
use wachter_bus::{Bus, DamageKind};
use wachter_config::{Catalogue, HealthSettings};
use wachter_gitops::Rollback;
use wachter_model::{ByteSize, chain};
use wachter_protocol::LocalFile;
use wachter_protocol::launcher::{Enforcement, Hello};
use wachter_runtime::dispatch::AgentReport;
use wachter_runtime::schedule::AgentState;

use super::findings;
use super::problems::unreadable;
use super::with;
use crate::node::context::Node;
use crate::node::followed::{self, Followed};

/// How long the agents have to say how they do: a status that waits says nothing.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<GetStatus, _, _>(with(node, status))
        .answer::<GetHealth, _, _>(with(node, health))
}

async fn status(node: Arc<Node>, _: Call<GetStatus>) -> Result<Status, Problem> {
    let followed = node.followed.borrow().clone();
    let agents = reports(&node).await;
    let journal = journal(&node.bus).await?;
    let warnings = warnings(&node, &followed, &journal, agents.as_deref()).await?;
    let count = |of: fn(&AgentReport) -> usize| {
        let reports = agents.iter().flatten();
        reports.fold(0, |sum: u32, report| sum.saturating_add(number(of(report))))
    };
    let local = Arc::clone(&node.local.borrow());
    let launcher = node.launcher.borrow().as_ref().map(|hello| launcher(hello, &local));
    Ok(Status {
        node: node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
        since: node.since,
        release: followed::release(&followed),
        accepted: followed.accepted,
        rolled_back: followed.rollback.map(|Rollback { to, from }| RolledBack { to, from }),
        refused: followed.refused,
        last_look: followed.last_look,
        fetch_error: followed.fetch_error,
        frozen: node.freezer.frozen(),
        launcher,
        journal,
        findings: findings::count(&node.bus).await?,
        running: count(|report| report.running),
        queued: count(|report| report.queued),
        warnings,
    })
}

async fn health(node: Arc<Node>, _: Call<GetHealth>) -> Result<Health, Problem> {
    let journal = node.bus.status().failing.is_none();
    let launcher = node.launcher.borrow().is_some();
    let release = node.deployment.borrow().is_some();
    Ok(Health { healthy: journal && launcher && release, journal, launcher, release })
}

/// How the agents do; none where nobody runs them, or nobody says.
async fn reports(node: &Node) -> Option<Vec<AgentReport>> {
    let handle = node.agents.borrow().clone()?;
    tokio::time::timeout(PATIENCE, handle.report()).await.ok()?.ok()
}

/// A count that goes over the wire.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn launcher(hello: &Hello, local: &LocalFile) -> Launcher {
    let absent: BTreeSet<_> = hello
        .mechanisms
        .iter()
        .filter(|(_, enforcement)| **enforcement != Enforcement::Enforced)
        .map(|(mechanism, _)| *mechanism)
        .collect();
    let accepted = absent.intersection(&local.confinement.accept_absent);
    Launcher {
        profile: hello.profile.to_string(),
        accepted: accepted.map(ToString::to_string).collect(),
        not_enforced: absent.iter().map(ToString::to_string).collect(),
    }
}

async fn journal(bus: &Bus) -> Result<Journal, Problem> {
    let status = bus.status();
    let damage = bus.known_damage().await.map_err(|error| unreadable(&error))?;
    let unreadable_rows = damage
        .iter()
        .filter(|damage| matches!(damage.kind, DamageKind::Body | DamageKind::Missing))
        .map(|damage| damage.range.len());
    Ok(Journal {
        first: status.first.get(),
        last: status.last.get(),
        bytes: status.bytes,
        trouble: status.failing.as_ref().map(|error| chain(error)),
        // What was found on opening, and what was found since then.
        lost: unreadable_rows.sum::<u64>().saturating_add(status.damaged),
    })
}

/// What a person should look at.
async fn warnings(
    node: &Node,
    followed: &Followed,
    journal: &Journal,
    agents: Option<&[AgentReport]>,
) -> Result<Vec<String>, Problem> {
    let deployment = node.deployment.borrow().clone();
    let health = match &deployment {
        Some(deployment) => deployment.catalogue.settings().health.clone(),
        None => Catalogue::default().settings().health.clone(),
    };
    let mut warnings = of_release(followed, &health, node.since, Timestamp::now());
    if let Some(frozen) = node.freezer.frozen() {
        warnings.push(format!(
            "effects are stopped since {} by {}: {}; `wachter thaw` lets them happen again",
            frozen.since, frozen.by, frozen.reason
        ));
    }
    if node.launcher.borrow().is_none() {
        warnings
            .push("there is no launcher, so no module runs; `wachter logs` says why".to_owned());
    }
    for report in agents.into_iter().flatten() {
        if matches!(report.state, AgentState::Degraded | AgentState::Stopped) {
            let name = &report.agent.name;
            let reason = report.reason.as_deref().unwrap_or("for no reason that is known");
            warnings.push(format!("agent {name} is {}: {reason}", report.state));
        }
    }
    for (name, module) in deployment.iter().flat_map(|deployment| &deployment.modules) {
        if module.is_failing()
            && let Some(reason) = module.waits_for()
        {
            warnings.push(format!("module {name} waits: {reason}"));
        }
    }
    if let Some(trouble) = &journal.trouble {
        warnings.push(format!("the journal takes no events: {trouble}"));
    }
    if journal.lost > 0 {
        warnings.push(format!(
            "{} events of the journal cannot be read; `wachter audit verify` says which",
            journal.lost
        ));
    }
    let given_up = node.bus.count_dead_letters().await.map_err(|error| unreadable(&error))?;
    let given_up: u64 = given_up.values().sum();
    if given_up > 0 && given_up >= u64::from(health.dead_letters) {
        warnings.push(format!(
            "{given_up} events could not be handled; `wachter dead-letters list` shows them"
        ));
    }
    warnings.extend(of_disk(&node.data, health.disk_free).await);
    Ok(warnings)
}

/// What there is to say about following the repository at this moment.
fn of_release(
    followed: &Followed,
    health: &HealthSettings,
    since: Timestamp,
    now: Timestamp,
) -> Vec<String> {
    let mut warnings = Vec::new();
    match &followed.release {
        None => warnings.push(
            "no release is in force yet; run `wachter sync`, and see what it says".to_owned(),
        ),
        Some(release) => {
            let soon = now.saturating_add(signed(health.release_remaining));
            let soon = soon.unwrap_or(Timestamp::MAX);
            if let Some(end) = release.not_after.filter(|end| *end < soon) {
                let was = if end < now { "was meant to last" } else { "lasts" };
                warnings.push(format!(
                    "release {} {was} until {end}; make a new one with `wachter release`",
                    release.sequence
                ));
            }
        }
    }
    let asked = followed.last_look.unwrap_or(since);
    let oldest = now.saturating_sub(signed(health.fetch_age)).unwrap_or(Timestamp::MIN);
    match &followed.fetch_error {
        Some(error) => warnings.push(format!("the repository cannot be reached: {error}")),
        None if asked < oldest => warnings.push(format!(
            "the repository was not asked since {asked}; run `wachter sync`, and see what it says"
        )),
        None => {}
    }
    if !followed.restart_needed.is_empty() {
        warnings.push(format!(
            "the local file has changed; restart the node for {}",
            followed.restart_needed.join(", ")
        ));
    }
    warnings
}

fn signed(duration: wachter_model::Duration) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

async fn of_disk(data: &Path, least: ByteSize) -> Option<String> {
    let folder = data.to_owned();
    let free = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&folder)).await.ok()?;
    match free {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            (free < least.as_bytes()).then(|| {
                format!(
                    "{} MiB are free where {} lies, and {least} should be; make room",
                    free >> 20,
                    data.display()
                )
            })
        }
        Err(error) => Some(format!("cannot look at the disk of {}: {error}", data.display())),
    }
}

#[cfg(test)]
mod tests {
    use wachter_gitops::AcceptedRelease;

    use super::*;

    fn accepted(not_after: &str) -> AcceptedRelease {
        let zeros = "0".repeat(64);
        let value = serde_json::json!({
            "sequence": 7, "commit": "0".repeat(40), "tree": zeros, "signers": ["ann"],
            "ring": "stable", "not_after": not_after, "accepted_at": "2026-01-01T00:00:00Z",
            "trust_serial": 1,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_a_person_should_look_at_is_said_in_time() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let health = Catalogue::default().settings().health.clone();
        let check = |followed: Followed, expected: &[&str]| {
            let said = of_release(&followed, &health, now, now);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            for (said, expected) in said.iter().zip(expected) {
                assert!(said.contains(expected), "{said}");
            }
        };
        let with = |not_after: &str| Followed {
            release: Some(accepted(not_after)),
            last_look: Some(now),
            ..Followed::default()
        };
        check(Followed { last_look: Some(now), ..Followed::default() }, &["no release"]);
        check(with("2026-06-09T00:00:00Z"), &[]);
        check(with("2026-06-08T00:00:00Z"), &["release 7 lasts until"]);
        check(with("2026-05-08T00:00:00Z"), &["release 7 was meant to last until"]);
        let mut old = with("2027-01-01T00:00:00Z");
        old.last_look = Some("2026-06-01T11:46:00Z".parse().unwrap());
        check(old.clone(), &[]);
        old.last_look = Some("2026-06-01T11:44:00Z".parse().unwrap());
        check(old.clone(), &["was not asked since 2026-06-01T11:44:00Z"]);
        old.fetch_error = Some("refused".to_owned());
        old.restart_needed = vec!["data".to_owned()];
        check(old, &["cannot be reached: refused", "restart the node for data"]);
    }

    #[tokio::test]
    async fn a_disk_that_fills_up_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_disk(folder.path(), ByteSize::from_mib(0)).await, None);
        let endless = "8388607TiB".parse().unwrap();
        assert!(of_disk(folder.path(), endless).await.unwrap().contains("make room"));
        let gone = of_disk(Path::new("/nowhere/at/all"), ByteSize::from_mib(0)).await;
        assert!(gone.unwrap().contains("cannot look"));
    }
}
