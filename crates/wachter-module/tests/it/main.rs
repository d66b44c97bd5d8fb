//! The run loop as a process, and the templates of modules in other languages.

#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod process;
mod templates;
