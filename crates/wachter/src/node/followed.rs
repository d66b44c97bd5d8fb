use jiff::Timestamp;
use wachter_gitops::{AcceptedRelease, Pin, Rollback};

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
