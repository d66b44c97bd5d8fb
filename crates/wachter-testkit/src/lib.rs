//! Real servers and fixtures, for tests and for the demonstration.
//!
//! # Invariants
//! - Nothing here imitates what it can run: the Git server runs Git's own `git http-backend`, the SSH
//!   server is OpenSSH's, and repositories and keys are made by `git` and `ssh-keygen`. GitHub cannot be run, so its server
//!   checks whatever GitHub documents that it checks. The power cannot be cut, so what SQLite wrote
//!   is recorded, and the disk made again from what was synced.
//! - It listens on the loopback interface only, on a port that the kernel picks.
//! - It reads no configuration of the user who runs it.
//! - No executable that is shipped links it.

mod author_command;
mod careless_release;
mod executable;
mod fixtures;
mod git_fault;
mod git_repository;
mod git_server;
mod github_server;
mod http_request;
mod journal_fault;
mod package_index;
mod power_loss;
mod rsa_key;
mod ssh_key;
mod ssh_server;
mod tokens;
mod wasm;

pub use author_command::author_command;
pub use careless_release::careless_release;
pub use executable::executable;
pub use fixtures::fixture;
pub use git_fault::{Fault, Phase};
pub use git_repository::{GitError, GitRepository, TreeEntry};
pub use git_server::{GitServer, GitServerOptions, Request};
pub use github_server::{GithubApp, GithubFault, GithubRequest, GithubServer};
pub use journal_fault::fail_journal;
pub use package_index::{PackageIndex, Wheel, uv};
pub use power_loss::{CutPoint, Recorder, RegisterError};
pub use rsa_key::RsaKey;
pub use ssh_key::SshKey;
pub use ssh_server::SshServer;
pub use tokens::Tokens;
pub use wasm::Wasm;
