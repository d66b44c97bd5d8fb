//! What is out of the ordinary: statistics of one template each, in constant memory.
//!
//! # Invariants
//! - What is judged is learned afterwards, never before.
//! - Every state is made of integers, texts and single-precision numbers, which JSON gives back exactly.
//! - No clock is read: time is a value.
//!
//! # Trade-offs
//! Surprise is counted in bans, the negative decimal logarithm of a probability. Each kind of anomaly has its own estimate
//! of that probability, all of them rough; a kind's threshold takes account of how often it is tried.

mod discovery;
mod negative_binomial;
mod numbers;
mod parameter;
mod profile;
mod score;
mod series;

pub(crate) use discovery::Discovery;
pub(crate) use numbers::{Numbers, number_and_unit};
pub(crate) use parameter::{OddValue, Parameter, Range, Reason, bare, json_length};
pub(crate) use profile::Profile;
pub use score::AnomalyKind;
pub(crate) use score::{Scale, Weights};
pub(crate) use series::{Direction, OddRate, Series, State};
