//! The interface over a real socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod documentation;
mod openapi;
mod socket;
