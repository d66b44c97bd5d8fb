mod bytes;
mod header;
mod json;
mod lines;
mod multi_line;
mod request;
mod time;

use jiff::Timestamp;

pub use header::Entry;
pub(crate) use lines::{Cut, FIRST, LAST, Raw, Records, Step};
pub use request::Request;
pub use time::Calendar;

/// One record of a log: a line, or the lines that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it was read from: the path of a file, or `journal`.
    pub source: &'a str,
    /// Where in its source it begins: bytes from the start of a file, 0 where there is no such place.
    pub offset: u64,
    /// When it was written, where the record says so.
    pub time: Option<Timestamp>,
    /// The host that wrote it, where the record says so.
    pub host: Option<&'a str>,
    /// The program that wrote it, where the record says so: `sshd`.
    pub program: Option<&'a str>,
    /// The number of the process, where the record says so.
    pub process: Option<u32>,
    /// What is said, without time, host, program and process, as it was written: not always UTF-8.
    pub message: &'a [u8],
}
