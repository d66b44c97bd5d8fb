//! From a Git server to a checked release: fetch, verify, read.
//!
//! # Where to start
//! [`Fetcher::fetch`] brings objects in, [`Repository::accept`] decides which release counts, and
//! [`Snapshot`] is what the rest of the node reads.
//!
//! # Invariants
//! - The node's own process never speaks to a server and never unpacks what one sent: a worker does,
//!   which confines itself before it sees the first byte, and which lives for one fetch.
//! - There is no work tree, no index and no checkout; no hook, filter or Git configuration is read,
//!   and no symbolic link is followed.
//! - No credential is in an argument, an environment variable, a URL, an error or a file.
//! - No replacement, graft, alternate or shallow boundary is followed: a repository with one is refused.
//! - Nothing that was read from a repository lowers a floor: not that of releases, not that of trust,
//!   not that of time.
//! - No object is used that was not hashed again after it was read.
//! - This crate knows no YAML but by handing bytes to the crate for trust, and no module.
//! - It starts no asynchronous runtime, reads no clock for decisions, and prints nothing.

mod check;
mod fetch;
mod layout;
mod local;
mod object_id;
mod references;
mod release;
mod snapshot;

pub use check::{
    AncestryError, ChangeKind, CommitError, HostileTree, NameError, ObjectError, TreeError,
    TreeLimits,
};
pub use fetch::{
    BranchName, BranchNameError, Certificates, Confinement, Credential, FetchError, FetchFailure,
    FetchLimits, Fetched, Fetcher, HttpLocation, Job, LimitKind, Location, LocationError, Remote,
    Source, SshLocation, worker_main,
};
pub use layout::{Foreign, LayoutError};
pub use local::{LocalOpenError, LocalRepository};
pub use object_id::{ObjectId, ParseObjectIdError};
pub use release::{
    AcceptedRelease, Candidate, HoldError, OpenError, Pin, Policy, Refusal, Refused, Repository,
    Rollback, SnapshotOpenError, State, StateError, TreeChanged, TrustFiles, TrustMark, Verdict,
    Verify,
};
pub use snapshot::{Snapshot, SnapshotError, SnapshotFile};
