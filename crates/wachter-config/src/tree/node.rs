use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use wachter_document::{DocumentError, Spanned};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: NodeValue,
    pub(crate) place: Place,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the text that it stands in.
    pub(crate) source: usize,
    /// From 1; 0 where the text has no lines.
    pub(crate) line: u64,
    /// In characters, from 1.
    pub(crate) column: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeValue {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, its place and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

/// One step from a value down to one within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    /// Reads one document, which is `source` from now on.
    pub(crate) fn read(text: &str, source: usize) -> Result<Self, DocumentError> {
        let mut node: Self = wachter_document::read(text)?;
        node.belong_to(source);
        Ok(node)
    }

    /// A map of nothing.
    pub(crate) fn empty(place: Place) -> Self {
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

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            NodeValue::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value that a dotted path leads to.
    pub(crate) fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |node, key| node.entry(key).map(|entry| &entry.value))
    }

    /// The same with `above` laid over it: maps join, and where both have a key, or either is no map,
    /// `above` is it. Lists replace lists.
    pub(crate) fn overlaid(&self, above: &Self) -> Self {
        let (NodeValue::Map(below), NodeValue::Map(over)) = (&self.value, &above.value) else {
            return above.clone();
        };
        let mut entries = below.clone();
        for entry in over {
            match entries.iter_mut().find(|known| known.key == entry.key) {
                Some(known) => {
                    known.value = known.value.overlaid(&entry.value);
                    known.key_place = entry.key_place;
                }
                None => entries.push(entry.clone()),
            }
        }
        Self { value: NodeValue::Map(entries), place: above.place }
    }

    /// Takes the value at the end of a path away.
    pub(crate) fn remove(&mut self, path: &[Step]) -> bool {
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

    pub(crate) fn to_json(&self) -> serde_json::Value {
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
    pub(crate) fn leaves(&self) -> Vec<(String, &Self)> {
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

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<NodeValue>::deserialize(deserializer)?;
        let place = spanned.referenced;
        let place = Place { source: 0, line: place.line(), column: place.column() };
        Ok(Self { value: spanned.value, place })
    }
}

impl<'de> Deserialize<'de> for NodeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = NodeValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_none<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeValue, D::Error> {
        NodeValue::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeValue, E> {
        Ok(NodeValue::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<NodeValue, E> {
        Ok(NodeValue::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<NodeValue, E> {
        Ok(NodeValue::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<NodeValue, E> {
        let number = serde_json::Number::from_f64(number);
        number.map(NodeValue::Number).ok_or_else(|| E::custom("is no number that JSON has"))
    }

    fn visit_str<E>(self, text: &str) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NodeValue, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(NodeValue::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = key.referenced;
            let key_place = Place { source: 0, line: place.line(), column: place.column() };
            entries.push(Entry { key: key.value, key_place, value: map.next_value()? });
        }
        Ok(NodeValue::Map(entries))
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
