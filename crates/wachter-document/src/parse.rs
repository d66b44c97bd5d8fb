use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, MergeKeyPolicy, Options, Spanned};

use crate::Limits;
use crate::error::DocumentError;
use crate::tree::{Entry, Node, NodeValue, Place};

impl Node {
    /// Reads one document that stands by itself, to make values of it.
    ///
    /// # Errors
    /// As [`read_within`](crate::read_within), but for the shape: any will do.
    pub fn read_within(limits: &Limits, text: &str) -> Result<Self, DocumentError> {
        if text.len() > limits.bytes {
            let message = format!("is {} bytes long; {} is the most", text.len(), limits.bytes);
            return Err(DocumentError { line: 0, column: 0, message });
        }
        let parsed = serde_saphyr::from_str_with_options(text, options(limits));
        let Parsed(node) = parsed.map_err(|error| explain(&error))?;
        match repeated(&node) {
            Some(entry) => Err(DocumentError {
                line: entry.key_place.line,
                column: entry.key_place.column,
                message: second_time(&entry.key),
            }),
            None => Ok(node),
        }
    }
}

/// An entry whose key stood in its map before. The reader of YAML knows keys by how they are written,
/// by which `1` and `"1"` are two; here they are one, and the second would go unseen by who asks for
/// the first.
fn repeated(node: &Node) -> Option<&Entry> {
    if let NodeValue::List(nodes) = &node.value {
        return nodes.iter().find_map(repeated);
    }
    let entries = node.entries();
    let mut keys = HashSet::with_capacity(entries.len());
    entries
        .iter()
        .find(|entry| !keys.insert(entry.key.as_str()))
        .or_else(|| entries.iter().find_map(|entry| repeated(&entry.value)))
}

fn second_time(key: &str) -> String {
    format!("the key `{key}` stands here a second time")
}

fn options(limits: &Limits) -> Options {
    let budget = serde_saphyr::budget! {
        // A map or list has an event at either end.
        max_events: 5 * (limits.nodes / 2),
        max_nodes: limits.nodes,
        max_depth: limits.depth,
        flow_nesting_limit: limits.depth,
        // A person who wants to say a thing twice says it twice: aliases are how a small text
        // becomes a large value.
        max_aliases: 0,
        max_anchors: 0,
        max_documents: 1,
        max_total_scalar_bytes: limits.bytes,
        max_merge_keys: 0,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        // `no` is a country and `0755` a mode: YAML 1.2 alone.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn explain(error: &Error) -> DocumentError {
    let error = error.without_snippet();
    let location = error.location();
    let message = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => second_time(key),
        other => {
            let message = other.to_string();
            // The position is told apart from the message here.
            let end = message.rfind(" at line ").unwrap_or(message.len());
            message[..end].to_owned()
        }
    };
    DocumentError {
        line: location.map_or(0, |location| location.line()),
        column: location.map_or(0, |location| location.column()),
        message,
    }
}

/// A node as it comes out of the reader of YAML.
struct Parsed(Node);

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Spanned::<ParsedValue>::deserialize(deserializer)?;
        Ok(Self(Node { place: place(value.referenced), value: value.value.0 }))
    }
}

struct ParsedValue(NodeValue);

impl<'de> Deserialize<'de> for ParsedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

fn place(location: Location) -> Place {
    Place { source: 0, line: location.line(), column: location.column() }
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
        deserializer.deserialize_any(self)
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
        while let Some(Parsed(node)) = list.next_element()? {
            nodes.push(node);
        }
        Ok(NodeValue::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let Parsed(value) = map.next_value()?;
            entries.push(Entry { key: key.value, key_place: place(key.referenced), value });
        }
        Ok(NodeValue::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_again_in_whatever_dress() {
        for (text, key, line) in [
            ("api: {}\n!!binary YXBp: {}\n", "api", 2),
            ("1: a\n\"1\": b\n", "1", 2),
            ("a: { b: [{ c: 1 }, { x: 1,\n 'x': 2 }] }", "x", 2),
        ] {
            let error = Node::read(text, 0).unwrap_err();
            assert_eq!((error.line, error.message), (line, second_time(key)), "{text}");
        }
        assert!(Node::read("a: { a: 1 }\nb: { a: 1 }\n", 0).is_ok());
    }
}
