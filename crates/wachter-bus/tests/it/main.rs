//! The bus from outside: one binary for all of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, helpers included")]
#![allow(clippy::print_stdout, reason = "what is skipped, and how much was tried, is told")]

mod audit;
mod configure;
mod conformance;
mod corruption;
mod crash;
mod disk;
mod failures;
mod keys;
mod kill;
mod model;
mod overload;
mod power_loss;
mod publish;
mod redelivery;
mod retention;
mod subscriptions;
mod support;
