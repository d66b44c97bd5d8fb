//! Everything against the real thing: OpenSSH's signature vectors, `ssh-keygen`, `ssh-agent`, `git`
//! and `sha256sum`, both ways.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say what they skip"
)]

mod agent;
mod allowed_signers;
mod git;
mod module;
mod release;
mod ssh_keygen;
mod support;
mod tamper;
mod trust;
mod vectors;
