//! The log analyzer over whole logs.

mod alarms;
mod crowdsec;
mod hostile;
mod rotation;
mod support;
