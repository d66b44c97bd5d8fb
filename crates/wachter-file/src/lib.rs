//! Files that a node keeps: replaced whole, locked, read within a limit.
//!
//! # Invariants
//! - A file that is replaced holds the old bytes or the new ones, never a part of either.
//! - A lock ends with the process that took it, however that ends; nothing has to be cleaned up.
//! - Nothing is read without a limit, and nothing but a regular file.
//! - This crate knows no format, starts no thread and waits for nobody.

mod lock;
mod read;
mod replace;

pub use lock::{FileLock, Holder, LockError};
pub use read::read_limited;
pub use replace::{Readers, replace_durably, replace_quickly, sync_folder};
