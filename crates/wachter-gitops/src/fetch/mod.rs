//! Bringing objects in: a worker that is confined before it sees the network, and its supervisor.

mod bundle;
mod confine;
mod failure;
mod fetched;
mod fetcher;
mod http;
mod job;
mod location;
mod meter;
mod negotiation;
mod pack;
mod process;
mod tidy;
mod wire;
mod worker;

pub use failure::{FetchFailure, LimitKind};
pub use fetched::{Confinement, Fetched};
pub use fetcher::{FetchError, Fetcher};
pub use job::{
    BranchName, BranchNameError, Certificates, Credential, FetchLimits, Job, Remote, Source,
};
pub use location::{HttpLocation, Location, LocationError, SshLocation};
pub use worker::worker_main;

/// How this program introduces itself to servers.
const USER_AGENT: &str = concat!("git/wachter-", env!("CARGO_PKG_VERSION"));
