//! The executable `wachter`, used as a person would.
#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]
#![allow(clippy::print_stdout, reason = "how much was tried is told")]

mod author;
mod authoring;
mod authoring_configuration;
mod authoring_keys;
mod authoring_trust;
mod crashes;
mod credentials;
mod exec;
mod interface;
mod kills;
mod node;
mod one_node;
mod python;
mod secrets;
mod separation;
mod site;
mod supervised;
mod support;
