//! Runs of real modules through the real launcher, under each profile that this host and user can
//! have.

mod attempts;
mod bench;
mod processes;
mod runs;
mod stage;
