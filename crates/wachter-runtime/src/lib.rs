//! Carries out what an accepted release says.
//!
//! [`Deployment`] is what a release comes to on this host: its modules, each with what it was granted
//! or why it may not run, and the catalogue of agents. [`Agents`] keeps the agents of the present
//! deployment going; [`RunStore`] remembers what they did. [`schedule`] says when.
//!
//! # Invariants
//! - Nothing here knows where a release comes from or what a signature is made of.
//! - One code path takes up a deployment: at the start, after a change and after a crash.
//! - A run's record, its events and the module's new state are one write: all or nothing.

mod agents;
mod deployment;
pub mod dispatch;
mod folder;
mod record;
mod request;
pub mod schedule;
mod secret_files;
mod store;

pub use agents::{Agents, AgentsOptions, NodeEvent};
pub use deployment::{
    Deployment, DeploymentError, HostLayers, ModuleStanding, ReleaseFile, StandingModule,
    configured_module,
};
pub use folder::{ModuleFolder, ModuleFolderError};
pub use record::{Cause, RunRecord};
pub use request::{RunRequest, order};
pub use store::{RunStore, StoreError};
