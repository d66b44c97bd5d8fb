//! The input of a module against the JSON Schema that its manifest names.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::problem::Fault;
use crate::tree::{Node, NodeValue, unknown};

/// The largest schema, in bytes.
pub(crate) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// The most faults of one input that are told.
const MOST_FAULTS: usize = 20;

/// The most that one pattern of a schema may take when it is compiled, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A JSON Schema of a module's input.
pub(crate) struct InputSchema {
    schema: Value,
    validator: Validator,
}

impl InputSchema {
    /// Compiles a schema. Patterns take linear time, and nothing is fetched: a reference leads to the
    /// schema itself.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(format!("has {} bytes; {MAX_SCHEMA_BYTES} are the most", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES);
        let validator = jsonschema::options().with_pattern_options(patterns).build(&schema);
        let validator = validator.map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// What is wrong with an input, at the places where it stands.
    pub(crate) fn check(&self, input: &Node) -> Vec<Fault> {
        let json = input.to_json();
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(&json).take(MOST_FAULTS) {
            let node = locate(input, &error.instance_path().to_string());
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    let known = self.known_beside(&error.schema_path().to_string());
                    let known: Vec<_> = known.iter().map(String::as_str).collect();
                    for key in unexpected {
                        let place = node.entry(key).map_or(node.place, |entry| entry.key_place);
                        faults.push(Fault::new(place, unknown("key", key, &known)));
                    }
                }
                ValidationErrorKind::Required { property } => {
                    let key = property.as_str().unwrap_or_default();
                    let message = format!("the key `{key}` is missing, which the module needs");
                    faults.push(Fault::new(node.place, message));
                }
                _ => {
                    let message = format!("the module does not take this: {error}");
                    faults.push(Fault::new(node.place, message));
                }
            }
        }
        faults
    }

    /// The properties that a schema names beside a keyword.
    fn known_beside(&self, keyword: &str) -> Vec<String> {
        let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.schema.pointer(parent).and_then(|schema| schema.get("properties"));
        let properties = properties.and_then(Value::as_object);
        properties.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }
}

/// The value that a JSON pointer (RFC 6901) leads to, or the last that there is on the way.
fn locate<'n>(root: &'n Node, pointer: &str) -> &'n Node {
    let mut node = root;
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let next = match &node.value {
            NodeValue::List(nodes) => {
                segment.parse().ok().and_then(|index: usize| nodes.get(index))
            }
            _ => node.entry(&segment).map(|entry| &entry.value),
        };
        match next {
            Some(next) => node = next,
            None => return node,
        }
    }
    node
}
