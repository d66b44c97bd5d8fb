//! The servers, used by the programs that people use.

#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod git_server;
