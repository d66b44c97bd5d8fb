//! Templates: what lines of a log have in common, mined on line.
//!
//! A line is cut into tokens. What is a value by its look (it holds a digit, a path, a host name) is masked as `<*>`; the
//! rest are words. Lines whose masked tokens are equal have one template. A word becomes a value too as soon as templates
//! that are equal otherwise show four different words in its place, or six in each of two places.
//!
//! # Invariants
//! - A template is a text: no result depends on a hash, its key, or how many entries a table has room for.
//! - No line makes a template of more than [`MOST_TOKENS`] tokens or [`MOST_TEXT`] bytes.
//! - Nothing is removed here but what was merged: how many templates there may be is decided by who holds the miner.
//!
//! # Trade-offs
//! Finding a line's template is one lookup by a keyed hash, whose outcome is compared token by token. Only a line that
//! was not met before is looked up for every combination of places that templates of its length and first word have learned.

mod hash;
mod miner;
mod shape;
mod table;
mod token;

pub(crate) use miner::{Found, Merge, Miner, ones};
pub(crate) use shape::Shape;
pub(crate) use table::{Entry, Slot};
pub(crate) use token::Token;

/// How many tokens of a line are told apart; the rest is one value.
pub(crate) const MOST_TOKENS: usize = 64;

/// How many bytes of a line are looked at; the rest is part of no template.
pub(crate) const MOST_TEXT: usize = 1024;
