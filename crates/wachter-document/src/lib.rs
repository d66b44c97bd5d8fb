//! Reads the YAML and JSON that people write: configuration, manifests, trust.
//!
//! Every reader in the project goes through [`read`], so that they are all equally strict: one
//! document, no duplicate keys, no merge keys, bounded depth and size, and an error that names the
//! line, the column and the nearest known key. JSON needs no path of its own: YAML 1.2 contains it.
//!
//! # Invariants
//! - No file is opened here: text comes in, values go out.
//! - No input makes it panic, and none costs more than its size times a small constant: anchors
//!   are refused, so nothing expands.

mod nearest;

use std::fmt;

pub use nearest::nearest;
use serde::de::DeserializeOwned;
/// A value and its place in the document; where it is wrong, [`DocumentError::at`] says so.
pub use serde_saphyr::Spanned;
use serde_saphyr::{DuplicateKeyPolicy, Error, MergeKeyPolicy, Options};

/// The largest document that [`read`] takes, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// How much a document may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its size in bytes.
    pub bytes: usize,
    /// Lists and maps within each other.
    pub depth: usize,
    /// Values, keys included.
    pub nodes: usize,
}

impl Limits {
    /// What [`read`] takes.
    pub const DEFAULT: Self = Self { bytes: MAX_BYTES, depth: 32, nodes: 200_000 };
}

/// Why a document was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// Line, counted from 1; 0 where the fault is not at one place.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Reads one document.
///
/// # Errors
/// Text that is not YAML 1.2, is larger than [`MAX_BYTES`], nests deeper than 32, uses anchors or
/// merge keys, repeats a key, or does not have the shape of `T`.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    read_within(&Limits::DEFAULT, text)
}

/// As [`read`], for a document that has less to say.
///
/// # Errors
/// As [`read`], with these limits.
pub fn read_within<T: DeserializeOwned>(limits: &Limits, text: &str) -> Result<T, DocumentError> {
    if text.len() > limits.bytes {
        let message = format!("is {} bytes long; {} is the most", text.len(), limits.bytes);
        return Err(DocumentError { line: 0, column: 0, message });
    }
    serde_saphyr::from_str_with_options(text, options(limits)).map_err(|error| explain(&error))
}

impl DocumentError {
    /// A fault that the reader of a document found in `value`.
    pub fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        let place = value.referenced;
        Self { line: place.line(), column: place.column(), message: message.into() }
    }

    /// The message with the offending line and a caret below it, for a person.
    ///
    /// `name` is what the reader knows the text by: a path.
    #[must_use]
    pub fn render(&self, name: &str, text: &str) -> String {
        let Some(line) = self.line.checked_sub(1) else {
            return format!("{name}: {}", self.message);
        };
        let source = usize::try_from(line).ok().and_then(|line| text.lines().nth(line));
        let source = source.unwrap_or_default().replace('\t', " ");
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let caret = " "
            .repeat(usize::try_from(self.column.saturating_sub(1)).unwrap_or(0).min(source.len()));
        format!(
            "{name}:{}:{}: {}\n{margin} |\n{number} | {source}\n{margin} | {caret}^",
            self.line, self.column, self.message
        )
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.message);
        }
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for DocumentError {}

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
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here a second time")
        }
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
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

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let hint = match nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are {}", list(known)),
    };
    format!("unknown {what} `{found}`: {hint}")
}

fn list(known: &[&str]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        depth: u32,
    }

    fn refused(text: &str) -> String {
        read::<Sample>(text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_and_json_are_read_alike() {
        let expected = Sample { name: "a".into(), depth: 3 };
        assert_eq!(read::<Sample>("name: a\ndepth: 3\n").unwrap(), expected);
        assert_eq!(read::<Sample>(r#"{"name": "a", "depth": 3}"#).unwrap(), expected);
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        assert_eq!(
            refused("name: a\ndepht: 3\n"),
            "line 2, column 1: unknown key `depht`: did you mean `depth`?"
        );
        assert!(refused("depth: 3\n").contains("the key `name` is missing"));
        assert!(refused("name: a\nname: b\n").starts_with("line 2, column 1: "));
        assert!(refused("name: a\ndepth: many\n").starts_with("line 2, column 8: "));
    }

    #[test]
    fn what_expands_or_hides_is_refused() {
        for text in [
            "name: &a x\ndepth: 1\n",
            "<<: {name: a}\n",
            "name: a\n---\nname: b\n",
            "name: !!python/object x\n",
        ] {
            assert!(read::<Sample>(text).is_err(), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(read::<BTreeMap<String, String>>(&deep).is_err());
    }

    #[test]
    fn limits_are_kept() {
        let limits = Limits { bytes: 40, depth: 2, nodes: 10 };
        let check = |text: &str, good: bool| {
            let found = read_within::<BTreeMap<String, Vec<u32>>>(&limits, text);
            assert_eq!(found.is_ok(), good, "{text}: {found:?}");
        };
        check("a: [1, 2]", true);
        check("a: [1, 2, 3, 4, 5, 6, 7, 8, 9]", false);
        check(&format!("a: [1, 2] # {}", "x".repeat(40)), false);
        let deep = read_within::<BTreeMap<String, Vec<Vec<u32>>>>(&limits, "a: [[1]]");
        assert!(deep.is_err(), "{deep:?}");
        assert!(read::<BTreeMap<String, Vec<Vec<u32>>>>("a: [[1]]").is_ok());
    }

    #[test]
    fn a_value_knows_its_place() {
        let value: BTreeMap<String, Spanned<u32>> = read("a: 1\nb:  2\n").unwrap();
        assert_eq!(
            DocumentError::at(&value["b"], "is odd").to_string(),
            "line 2, column 5: is odd"
        );
    }

    #[test]
    fn the_caret_stands_below_the_fault() {
        let text = "name: a\ndepht: 3\n";
        let rendered = read::<Sample>(text).unwrap_err().render("x.yaml", text);
        assert_eq!(
            rendered,
            "x.yaml:2:1: unknown key `depht`: did you mean `depth`?\n  |\n2 | depht: 3\n  | ^"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Err(error) = read::<Sample>(&text) {
                let _ = error.render("x", &text);
            }
        }
    }
}
