//! A document as a tree of values that each know where they stand.
//!
//! Layers are laid over each other as trees, before anything is made of them: so a value keeps its
//! place through every layer, and all that is wrong is found at once. [`decode`] hands a tree
//! to any type that serde can read, and goes on after a fault.

mod decode;
mod node;

pub(crate) use decode::{decode, unknown};
pub(crate) use node::{Entry, Node, NodeValue, Place, Step};
