//! The formats that cross a process border, each with a version.
//!
//! | format | between | version |
//! |---|---|---|
//! | [`Manifest`] | publisher and node | `protocol: 1` |
//! | [`module`] | node and module, JSON on stdin, JSON Lines on stdout | 1 |
//! | [`launcher`] | node and launcher, one JSON message a packet | 2 |
//! | [`LocalFile`] | the owner of a host, and both node and launcher | `version: 1` |
//!
//! A node and its launcher must draw the same conclusion from the same bytes, so what decides
//! about authority ([`Grant`]) stands here, once.
//!
//! # Features
//! - `schema`, on by default: the formats as JSON Schema. What runs as root publishes none.
//!
//! # Invariants
//! - No I/O, no clock: bytes in, values out.
//! - Reading never guesses: an unknown key or message is an error that names the nearest known one.

mod grant;
mod ip_range;
pub mod launcher;
mod limits;
mod local_file;
mod manifest;
mod mechanism;
pub mod module;
mod path;
mod permissions;
mod python;
#[cfg(feature = "schema")]
mod schema;

pub use grant::{Allowance, Excess, Grant, GrantId};
pub use ip_range::{IpRange, IpRangeError};
pub use limits::{Limits, LimitsAsked};
pub use local_file::{
    AgeCredential, Confinement, Credential, Egress, FetchLimits, GithubAppCredential, LocalFile,
    LocalFileError, Repository, Roots, Secrets, UserRange, VerifyMode,
};
pub use manifest::{Manifest, ManifestError, Runtime, RuntimeKind};
pub use mechanism::{Mechanism, Profile};
pub use path::{AbsolutePath, PathError, RelativePath};
pub use permissions::{Endpoint, EndpointError, FilesystemAsked, HostView, Permissions};
pub use python::{IndexError, Python};
#[cfg(feature = "schema")]
pub use schema::schemas;

/// The version of the module protocol and of the manifest that this build speaks.
pub const MODULE_PROTOCOL: u32 = 1;
