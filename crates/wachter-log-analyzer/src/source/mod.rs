//! Where records come from: files that are rotated, and the journal of systemd.
//!
//! # Invariants
//! - A place is found again after its file was renamed, copied, truncated or compressed, by what the
//!   file begins with and what stands before the place; where it is gone, that is said.
//! - Nothing is opened outside of the folders that were named, and nothing that could make the reader wait.
//! - A record is taken when it is complete, or when nothing was added to it for long enough.
//!
//! # Trade-offs
//! - A file that was rotated is followed until nothing was written to it for a moment, since programs
//!   learn late that it was. What is written to it after that is not read.
//! - Two files that begin with the same KiB and hold the same 64 bytes before the place cannot be told
//!   apart by content; where they were not compressed their inode tells them.

mod content;
mod cursor;
mod export;
mod follow;
mod glob;
mod journal;
mod open;
mod siblings;

pub(crate) use cursor::Cursor;
pub(crate) use follow::{Begin, FollowError, Follower, Loss};
pub(crate) use glob::{Expanded, expand};
pub(crate) use journal::{Journal, JournalCursor};
pub(crate) use open::{OpenError, real_folders};
