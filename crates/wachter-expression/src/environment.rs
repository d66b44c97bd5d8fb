use std::collections::BTreeMap;

use crate::Shape;

/// The names that an expression may use, and what is known of their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    roots: BTreeMap<String, Shape>,
}

impl Environment {
    /// Knows no name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: &str, shape: Shape) -> Self {
        self.roots.insert(name.to_owned(), shape);
        self
    }

    /// What is known of a name.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&Shape> {
        self.roots.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().map(String::as_str)
    }
}
