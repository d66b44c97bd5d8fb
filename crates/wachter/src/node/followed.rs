//! What following the repository has come to.

use jiff::Timestamp;
use wachter_api::shapes::Release;
use wachter_gitops::{AcceptedRelease, Pin, Rollback};
use wachter_runtime::Deployment;

/// What following the repository has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    /// The release that is deployed.
    pub(crate) release: Option<AcceptedRelease>,
    /// The numbers of all releases that were accepted, oldest first.
    pub(crate) accepted: Vec<u64>,
    /// What a person holds it on.
    pub(crate) pin: Option<Pin>,
    /// What a person went back to.
    pub(crate) rollback: Option<Rollback>,
    /// When the repository was last asked.
    pub(crate) last_look: Option<Timestamp>,
    /// Why it could not be.
    pub(crate) fetch_error: Option<String>,
    /// What was refused, and why: a sentence each.
    pub(crate) refused: Vec<String>,
    /// Keys of the local file that have changed and count from the next start.
    pub(crate) restart_needed: Vec<String>,
}

/// The release in force, for who asks.
pub(crate) fn release(followed: &Followed) -> Option<Release> {
    followed.release.as_ref().map(|release| Release {
        sequence: release.sequence,
        commit: release.commit.to_string(),
        signers: release.signers.iter().map(ToString::to_string).collect(),
        accepted_at: release.accepted_at,
        not_after: release.not_after,
        pinned_until: followed
            .pin
            .as_ref()
            .filter(|pin| pin.sequence == release.sequence)
            .map(|pin| pin.until),
    })
}

/// Which modules of a deployment may not run, and why: a sentence each.
pub(crate) fn held(deployment: &Deployment) -> Vec<String> {
    let held = deployment.modules.iter().filter_map(|(name, module)| {
        module.reason().map(|reason| format!("module {name} may not run: {reason}"))
    });
    held.collect()
}

/// Says that a deployment is in force, and what of it is not.
pub(crate) fn say(deployment: &Deployment) {
    tracing::info!(target: "repository", "release {} is in force", deployment.sequence);
    for sentence in held(deployment) {
        tracing::warn!(target: "repository", "{sentence}");
    }
}
