//! The log analyzer over whole logs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, helpers included")]
#![allow(clippy::print_stdout, reason = "what is skipped, and how good it was, is told")]

mod accuracy;
mod alarms;
mod anomalies;
mod crowdsec;
mod evaluation;
mod generator;
mod hostile;
mod loghub;
mod model;
mod quoted;
mod rotation;
mod support;
