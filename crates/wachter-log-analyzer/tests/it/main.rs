//! The log analyzer over whole logs.
