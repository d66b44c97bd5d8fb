//! The log analyzer over whole logs.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a helper of tests is a test")]

mod alarms;
mod crowdsec;
mod hostile;
mod rotation;
mod support;
