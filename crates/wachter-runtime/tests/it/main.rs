//! Agents over a real journal, with a stand-in for the launcher.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod dispatch;
mod fleet;
mod holds;
mod limits;
mod news;
mod repeats;
mod routes;
mod schedules;
mod sequences;
mod support;
mod troubles;
