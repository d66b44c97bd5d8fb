//! What the managed repository says under `config/`, read and checked as a whole.
//!
//! Takes texts with their paths and gives a [`Catalogue`], or everything that is wrong with them.
//! There is no half-taken configuration: who gets errors keeps the catalogue from before.
//!
//! # Invariants
//! - No I/O and no clock.
//! - A key that this version does not carry out is an error, never passed over.

mod agent;
mod catalogue;

pub use agent::{Agent, AgentRole};
pub use catalogue::{AGENTS, Catalogue, ConfigError};
