//! What Wachter asks of GitHub: short-lived tokens of an App's installation.
//!
//! An App proves itself with an assertion that its private key signs, and gets a token that reads
//! the contents of one repository for an hour.
//!
//! # Invariants
//! - No private key, assertion or token stands in a `Debug` output, an error or an address.
//! - No assertion goes over HTTP without TLS, but to this machine, and none to where a server
//!   redirects.
//! - No permission is asked for but to read contents, and none on more than one repository.
//! - Nothing is written to disk and no clock is read: the time is handed in.
//! - Nothing is decided here: this crate does not know what a token is used for.

mod address;
mod app;
mod assertion;
mod cache;
mod error;
mod identity;
mod key;
mod token;

pub use address::{ApiAddress, ApiAddressError};
pub use app::App;
pub use cache::TokenCache;
pub use error::TokenError;
pub use identity::{ClientId, ClientIdError, InstallationId, RepositoryName, RepositoryNameError};
pub use key::{AppKey, AppKeyError};
pub use token::InstallationToken;
