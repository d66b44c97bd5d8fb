//! The servers, used by the programs that people use, and the simulation of power loss, under
//! SQLite.

#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod git_server;
mod power_loss;
