//! The input of a module against the JSON Schema that its manifest names.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use wachter_document::{Fault, Node, NodeValue, unknown};
use wachter_model::ModuleName;

/// The largest schema, in bytes.
pub(crate) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// The most faults of one input that are told.
const MOST_FAULTS: usize = 20;

/// The most that one pattern of a schema may take when it is compiled, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// The longest value that a fault repeats, in bytes; one above is left out.
const LONGEST_VALUE: usize = 120;

/// The JSON Schema of a module's input, ready to check with.
pub struct InputSchema {
    schema: Value,
    validator: Validator,
}

/// One thing that a schema does not allow in an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFault {
    /// Where it stands, as JSONPath (RFC 9535): `$` is the whole input.
    pub path: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for InputFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// An input that a module does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input does not fit `{module}`: {}; its input schema says what it takes", list(.faults))]
pub struct InputRefused {
    /// The module.
    pub module: ModuleName,
    /// What is wrong, at least one thing.
    pub faults: Vec<InputFault>,
}

fn list(faults: &[InputFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A fault by the place that it has in any form of the input.
struct Violation {
    /// The steps to the value that it is about.
    path: Vec<String>,
    /// The key of that value that should not be there.
    key: Option<String>,
    message: String,
}

impl InputSchema {
    /// Compiles a schema. Patterns take linear time, and nothing is fetched: a reference leads to the
    /// schema itself.
    ///
    /// # Errors
    /// Why it cannot be used, in a sentence: it is over 256 KiB, no JSON, or no schema.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(format!("has {} bytes; {MAX_SCHEMA_BYTES} are the most", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES);
        let validator = jsonschema::options().with_pattern_options(patterns).build(&schema);
        let validator = validator.map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// What the schema does not allow in an input, at most twenty faults. No input at all, null, counts
    /// as an object without keys, as it does in an agent's file.
    #[must_use]
    pub fn faults(&self, input: &Value) -> Vec<InputFault> {
        let nothing = Value::Object(serde_json::Map::new());
        let input = if input.is_null() { &nothing } else { input };
        let fault = |violation: Violation| {
            let steps = violation.path.iter().chain(&violation.key);
            InputFault { path: json_path(input, steps), message: violation.message }
        };
        self.violations(input).into_iter().map(fault).collect()
    }

    /// Whether a module with this schema takes an input.
    ///
    /// # Errors
    /// All [`faults`](Self::faults).
    pub fn allow(&self, module: &ModuleName, input: &Value) -> Result<(), InputRefused> {
        let faults = self.faults(input);
        if faults.is_empty() {
            return Ok(());
        }
        Err(InputRefused { module: module.clone(), faults })
    }

    /// What is wrong with an input, at the places where it stands.
    pub(crate) fn check(&self, input: &Node) -> Vec<Fault> {
        let fault = |violation: Violation| {
            let node = locate(input, &violation.path);
            let entry = violation.key.as_ref().and_then(|key| node.entry(key));
            Fault::new(entry.map_or(node.place, |entry| entry.key_place), violation.message)
        };
        self.violations(&input.to_json()).into_iter().map(fault).collect()
    }

    fn violations(&self, json: &Value) -> Vec<Violation> {
        let mut violations = Vec::new();
        for error in self.validator.iter_errors(json).take(MOST_FAULTS) {
            let path = steps(&error.instance_path().to_string());
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    let known = self.known_beside(&error.schema_path().to_string());
                    let known: Vec<_> = known.iter().map(String::as_str).collect();
                    violations.extend(unexpected.iter().map(|key| Violation {
                        path: path.clone(),
                        key: Some(key.clone()),
                        message: unknown("key", key, &known),
                    }));
                }
                ValidationErrorKind::Required { property } => {
                    let key = property.as_str().unwrap_or_default();
                    let message = format!("the key `{key}` is missing, which the module needs");
                    violations.push(Violation { path, key: None, message });
                }
                _ => {
                    // A value may be large, and what is said of it is logged and kept.
                    let long = error.instance().to_string().len() > LONGEST_VALUE;
                    let said = if long { error.masked().to_string() } else { error.to_string() };
                    let message = format!("the module does not take this: {said}");
                    violations.push(Violation { path, key: None, message });
                }
            }
        }
        violations
    }

    /// The properties that a schema names beside a keyword.
    fn known_beside(&self, keyword: &str) -> Vec<String> {
        let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.schema.pointer(parent).and_then(|schema| schema.get("properties"));
        let properties = properties.and_then(Value::as_object);
        properties.map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InputSchema").field(&self.schema).finish()
    }
}

/// The steps of a JSON pointer (RFC 6901).
fn steps(pointer: &str) -> Vec<String> {
    let segments = pointer.split('/').skip(1);
    segments.map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// The value that steps lead to, or the last that there is on the way.
fn locate<'n>(root: &'n Node, steps: &[String]) -> &'n Node {
    let mut node = root;
    for step in steps {
        let next = match &node.value {
            NodeValue::List(nodes) => step.parse().ok().and_then(|index: usize| nodes.get(index)),
            _ => node.entry(step).map(|entry| &entry.value),
        };
        match next {
            Some(next) => node = next,
            None => return node,
        }
    }
    node
}

/// Steps as JSONPath. What they lead through says whether a step is a place in a list or a key.
fn json_path<'s>(root: &Value, steps: impl Iterator<Item = &'s String>) -> String {
    let (mut path, mut value) = ("$".to_owned(), Some(root));
    for step in steps {
        let is_name = !step.is_empty()
            && !step.starts_with(|first: char| first.is_ascii_digit())
            && step.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
        let next = match value {
            Some(Value::Array(items)) => {
                path.push_str(&format!("[{step}]"));
                step.parse().ok().and_then(|index: usize| items.get(index))
            }
            _ => {
                match is_name {
                    true => path.push_str(&format!(".{step}")),
                    false => path.push_str(&format!("[{}]", Value::from(step.as_str()))),
                }
                value.and_then(|value| value.get(step))
            }
        };
        value = next;
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{
      "type": "object",
      "properties": {
        "path": { "type": "string", "pattern": "^/" },
        "depth": { "type": "integer", "maximum": 10 },
        "ignore": { "type": "array", "items": { "type": "string" } },
        "my site": { "type": "object", "properties": { "a": { "type": "boolean" } } }
      },
      "required": ["path"],
      "additionalProperties": false
    }"#;

    #[test]
    fn every_fault_says_where_it_stands_and_what_is_expected() {
        let schema = InputSchema::compile(SCHEMA).unwrap();
        let check = |input: Value, expected: &[&str]| {
            let mut faults: Vec<_> =
                schema.faults(&input).iter().map(ToString::to_string).collect();
            faults.sort();
            assert_eq!(faults, expected, "{input}");
        };
        check(json!({ "path": "/srv", "depth": 10, "ignore": [] }), &[]);
        let missing = "$: the key `path` is missing, which the module needs";
        check(json!({}), &[missing]);
        check(Value::Null, &[missing]);
        check(
            json!({ "path": "/", "pth": 1 }),
            &["$.pth: unknown key `pth`: did you mean `path`?"],
        );
        check(
            json!({ "path": "srv", "depth": 11, "ignore": ["a", 2], "my site": { "a": 0 } }),
            &[
                "$.depth: the module does not take this: 11 is greater than the maximum of 10",
                "$.ignore[1]: the module does not take this: 2 is not of type \"string\"",
                "$.path: the module does not take this: \"srv\" does not match \"^/\"",
                "$[\"my site\"].a: the module does not take this: 0 is not of type \"boolean\"",
            ],
        );
        check(json!([]), &["$: the module does not take this: [] is not of type \"object\""]);
    }

    #[test]
    fn a_large_value_is_not_repeated() {
        let schema = InputSchema::compile(SCHEMA).unwrap();
        let faults = schema.faults(&json!({ "path": "x".repeat(10_000) }));
        assert!(faults[0].message.len() < 200 && faults[0].path == "$.path", "{faults:?}");
    }

    proptest! {
        #[test]
        fn every_schema_is_compiled_or_refused(text: String) {
            let _ = InputSchema::compile(&text);
        }

        #[test]
        fn faults_in_odd_keys_have_a_path(key: String) {
            let schema = InputSchema::compile(SCHEMA).unwrap();
            let input = Value::Object([("path".to_owned(), json!("/")), (key.clone(), json!(0.5))].into_iter().collect());
            let faults = schema.faults(&input);
            prop_assert!(faults.iter().all(|fault| fault.path.starts_with('$')));
            prop_assert_eq!(faults.is_empty(), false);
        }
    }
}
