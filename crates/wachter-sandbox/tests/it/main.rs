//! Runs of real modules through the real launcher, under each profile that this host and user can
//! have.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, helpers included")]

mod attempts;
mod bench;
mod egress;
mod environments;
mod kills;
mod large;
mod processes;
mod protocol;
mod publication;
mod runs;
mod secrets;
mod signed;
mod stage;
mod stopping;
mod views;
mod wasi;
