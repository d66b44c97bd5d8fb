//! The log analyzer over whole logs.

mod accuracy;
mod anomalies;
mod evaluation;
mod generator;
mod loghub;
mod model;
