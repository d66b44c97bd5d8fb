//! The node's own log.
//!
//! Code says what happens through `tracing`; [`start`] puts it on standard error and into files that
//! are rotated by size and age and never take more than a total. [`Reader`] reads them back, in
//! whichever format they were written.
//!
//! # Invariants
//! - Logging never waits for a disk: lines go to a thread over a bounded queue. What finds no room is
//!   counted, and the count is a line of the log.
//! - A line of a file is one line, whatever was in the message: control characters are escaped.
//! - The files together never take more than their total by more than one line.
//! - Reading back holds no more than a page of lines, and no more of a line than 1 MiB, whatever is in
//!   the files; the last lines are found from the end.

mod backwards;
mod files;
mod format;
mod layer;
mod line;
mod logfmt;
mod reader;
mod start;

pub use files::FileLimits;
pub use format::Format;
pub use line::Line;
pub use reader::{Look, ReadError, Reader};
pub use start::{Control, Options, StartError, start};

/// Says that a component cannot do its work at all: `tracing::error!` with the level above it.
#[macro_export]
macro_rules! critical {
    ($($argument:tt)+) => { ::tracing::error!(critical = true, $($argument)+) };
}
