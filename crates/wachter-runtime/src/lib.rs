//! Carries out what an accepted release says.
//!
//! [`Deployment`] is what a release comes to on this host: its modules, each with what it was granted
//! or why it may not run, and the catalogue of agents. [`dispatch`] keeps the agents of the present
//! deployment going and journals what they did; [`schedule`] says when.
//!
//! # Invariants
//! - Nothing here knows where a release comes from or what a signature is made of.
//! - One code path takes up a deployment: at the start, after a change and after a crash.
//! - A run's record, its events and the module's new state are one write: all or nothing.

mod deployment;
pub mod dispatch;
mod folder;
mod node_event;
mod record;
mod request;
pub mod schedule;
mod secret_files;
mod shorten;

pub use deployment::{
    Deployment, DeploymentError, HostLayers, ModuleStanding, ReleaseFile, StandingModule,
    configured_module,
};
pub use folder::{ModuleFolder, ModuleFolderError};
pub use node_event::NodeEvent;
pub use record::{Aftermath, Cause, RunRecord};
pub use request::{RunRequest, order};
