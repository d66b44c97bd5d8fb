//! The log analyzer over whole logs.

mod crowdsec;
mod rotation;
mod support;
