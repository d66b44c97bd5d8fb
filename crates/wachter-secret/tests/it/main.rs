//! Files of age, both ways, with the program's own library and the format's own vectors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod interoperation;
mod redact;
mod vectors;
