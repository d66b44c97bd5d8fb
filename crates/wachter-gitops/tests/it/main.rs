//! Real repositories made by `git`, served by Git's own server, fetched by a real confined worker.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod accept;
mod commits;
mod fetch;
mod fleet;
mod hold;
mod hostile;
mod local;
mod ssh;
mod support;
mod tidy;
mod worker;
