//! Which release is in force: judged once, remembered, and held or rolled back by people.

mod accept;
mod commits;
mod refusal;
mod repository;
mod state;
mod trust;

pub use accept::{Policy, Verdict, Verify};
pub(crate) use accept::{check_descent, judge_tree, read_tag};
pub use refusal::{Refusal, Refused, TreeChanged};
pub use repository::{Candidate, HoldError, OpenError, Repository, SnapshotOpenError, StateError};
pub use state::{AcceptedRelease, Pin, Rollback, State, TrustMark};
pub use trust::TrustFiles;
