//! Runs of real modules through the real launcher, under each profile that this host and user can
//! have.

mod bench;
mod runs;
