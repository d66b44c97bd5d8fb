//! A document as a tree of values that each know where they stand.
//!
//! Trees may be laid over each other before anything is made of them: so a value keeps its place
//! through every layer, and all that is wrong is found at once.

use std::collections::HashMap;

use crate::Limits;
use crate::error::DocumentError;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: NodeValue,
    /// Where it begins.
    pub place: Place,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of the text that it stands in.
    pub source: usize,
    /// From 1; 0 where the text has no lines.
    pub line: u64,
    /// In characters, from 1.
    pub column: u64,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeValue {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that JSON has.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order in which it is written.
    Map(Vec<Entry>),
}

/// A key, its place and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// One step from a value down to one within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Through the key of a map.
    Key(String),
    /// Through a list, counted from 0.
    Index(usize),
}

/// One thing that is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl Node {
    /// Reads one document, which is `source` from now on.
    ///
    /// # Errors
    /// As [`read`](crate::read), but for the shape: any will do.
    pub fn read(text: &str, source: usize) -> Result<Self, DocumentError> {
        let mut node = Self::read_within(&Limits::DEFAULT, text)?;
        node.belong_to(source);
        Ok(node)
    }

    /// A map of nothing.
    #[must_use]
    pub fn empty(place: Place) -> Self {
        Self { value: NodeValue::Map(Vec::new()), place }
    }

    fn belong_to(&mut self, source: usize) {
        self.place.source = source;
        match &mut self.value {
            NodeValue::List(nodes) => nodes.iter_mut().for_each(|node| node.belong_to(source)),
            NodeValue::Map(entries) => {
                for entry in entries {
                    entry.key_place.source = source;
                    entry.value.belong_to(source);
                }
            }
            _ => {}
        }
    }

    /// The entries of a map; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            NodeValue::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map with a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value that a dotted path leads to.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |node, key| node.entry(key).map(|entry| &entry.value))
    }

    /// The same with `above` laid over it: maps join, and where both have a key, or either is no map,
    /// `above` is it. Lists replace lists.
    #[must_use]
    pub fn overlaid(&self, above: &Self) -> Self {
        let (NodeValue::Map(below), NodeValue::Map(over)) = (&self.value, &above.value) else {
            return above.clone();
        };
        let places: HashMap<&str, usize> =
            below.iter().enumerate().map(|(index, entry)| (entry.key.as_str(), index)).collect();
        let mut entries = below.clone();
        for entry in over {
            match places.get(entry.key.as_str()) {
                Some(index) => {
                    let known = &mut entries[*index];
                    known.value = known.value.overlaid(&entry.value);
                    known.key_place = entry.key_place;
                }
                None => entries.push(entry.clone()),
            }
        }
        Self { value: NodeValue::Map(entries), place: above.place }
    }

    /// Takes the value at the end of a path away, and says whether there was one.
    pub fn remove(&mut self, path: &[Step]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        match (&mut self.value, first) {
            (NodeValue::Map(entries), Step::Key(key)) => {
                let Some(index) = entries.iter().position(|entry| entry.key == *key) else {
                    return false;
                };
                if rest.is_empty() {
                    entries.remove(index);
                    return true;
                }
                entries[index].value.remove(rest)
            }
            (NodeValue::List(nodes), Step::Index(index)) if *index < nodes.len() => {
                if rest.is_empty() {
                    nodes.remove(*index);
                    return true;
                }
                nodes[*index].remove(rest)
            }
            _ => false,
        }
    }

    /// The same without places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            NodeValue::Null => serde_json::Value::Null,
            NodeValue::Bool(value) => (*value).into(),
            NodeValue::Number(number) => number.clone().into(),
            NodeValue::Text(text) => text.as_str().into(),
            NodeValue::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => {
                let entry = |entry: &Entry| (entry.key.clone(), entry.value.to_json());
                serde_json::Value::Object(entries.iter().map(entry).collect())
            }
        }
    }

    /// Every value that is no map, with its dotted path; maps of nothing too.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, &Self)> {
        let mut leaves = Vec::new();
        self.collect_leaves(String::new(), &mut leaves);
        leaves
    }

    fn collect_leaves<'n>(&'n self, path: String, leaves: &mut Vec<(String, &'n Self)>) {
        if self.entries().is_empty() {
            leaves.push((path, self));
            return;
        }
        for entry in self.entries() {
            let dot = if path.is_empty() { "" } else { "." };
            entry.value.collect_leaves(format!("{path}{dot}{}", entry.key), leaves);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Trees of one shape: a key is always a map, or never.
    fn tree() -> impl Strategy<Value = String> {
        let leaf = ("[a-c]", 0..9_u32).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        leaf.prop_recursive(3, 20, 4, |inner| {
            let entries = prop::collection::btree_map("[a-c]|[x-z]", inner, 0..4);
            ("[x-z]", entries).prop_map(|(key, entries)| {
                let entries: Vec<_> = entries.into_values().collect();
                format!("\"{key}\": {{ {} }}", entries.join(", "))
            })
        })
        .prop_map(|entry| format!("{{ {entry} }}"))
    }

    proptest! {
        /// So layers may be joined in any grouping, as long as they keep their order.
        #[test]
        fn laying_over_is_associative(below in tree(), middle in tree(), above in tree()) {
            // A key that stands twice in a map is no document.
            let read = |text: &str| Node::read(text, 0);
            if let (Ok(below), Ok(middle), Ok(above)) = (read(&below), read(&middle), read(&above)) {
                let left = below.overlaid(&middle).overlaid(&above);
                let right = below.overlaid(&middle.overlaid(&above));
                prop_assert_eq!(left.to_json(), right.to_json());
                prop_assert_eq!(above.overlaid(&above).to_json(), above.to_json());
            }
        }
    }

    #[test]
    fn maps_join_and_everything_else_replaces() {
        for (below, above, expected) in [
            ("a: 1", "b: 2", "{\"a\":1,\"b\":2}"),
            ("a: { b: 1, c: 2 }", "a: { c: 3 }", "{\"a\":{\"b\":1,\"c\":3}}"),
            ("a: [1, 2]", "a: [3]", "{\"a\":[3]}"),
            ("a: { b: 1 }", "a: 2", "{\"a\":2}"),
            ("a: 2", "a: { b: 1 }", "{\"a\":{\"b\":1}}"),
            ("a: 1", "a: null", "{\"a\":null}"),
        ] {
            let (lower, upper) = (Node::read(below, 0).unwrap(), Node::read(above, 1).unwrap());
            assert_eq!(lower.overlaid(&upper).to_json().to_string(), expected, "{below} {above}");
        }
    }
}
