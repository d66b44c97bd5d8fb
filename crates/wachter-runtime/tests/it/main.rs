//! Agents over a real journal, with a stand-in for the launcher.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dispatch;
mod support;
