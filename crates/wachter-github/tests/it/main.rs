//! The client against a server that checks what GitHub checks.
#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod tokens;
