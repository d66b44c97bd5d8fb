//! Reads the YAML and JSON that people write: configuration, manifests, trust.
//!
//! Every reader in the project goes through [`Node::read_within`], so that they are all equally strict: one
//! document, no duplicate keys, no merge keys, bounded depth and size, and an error that names the
//! line, the column and the nearest known key. JSON needs no path of its own: YAML 1.2 contains it.
//!
//! A document becomes a [`Node`] first, a tree of values that know their places, and any type is made
//! of the tree: by [`read`] and [`Node::to`], up to the first fault, or by [`decode`], which tells all
//! of them.
//!
//! # Invariants
//! - No file is opened here: text comes in, values go out.
//! - No input makes it panic, and none costs more than its size times a small constant: anchors
//!   are refused, so nothing expands.

mod decode;
mod decode_error;
mod error;
mod located;
mod nearest;
mod parse;
mod tree;

use serde::de::DeserializeOwned;

pub use decode::decode;
pub use decode_error::unknown;
pub use error::DocumentError;
pub use located::Located;
pub use nearest::nearest;
pub use tree::{Entry, Fault, Node, NodeValue, Place, Step};

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
    Node::read_within(limits, text)?.to()
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
        assert_eq!(
            refused("name: a\ndepth: many\n"),
            "line 2, column 8: found the text `many`, but expected a whole number"
        );
        assert_eq!(
            refused("name: 1.10\n"),
            "line 1, column 7: found the number 1.1, but expected a text; write it in quotes"
        );
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
        let value: BTreeMap<String, Located<u32>> = read("a: 1\nb:  2\n").unwrap();
        assert_eq!(
            DocumentError::at(&value["b"], "is odd").to_string(),
            "line 2, column 5: is odd"
        );
    }

    #[test]
    fn a_variant_is_a_name_or_a_map_of_it_to_its_value() {
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Choice {
            Nothing,
            One(u32),
            Many { of: Vec<u32> },
        }
        let check = |text: &str, expected: Choice| {
            assert_eq!(read::<Vec<Choice>>(text).unwrap(), [expected], "{text}");
        };
        check("[nothing]", Choice::Nothing);
        check("[one: 1]", Choice::One(1));
        check("[many: { of: [1, 2] }]", Choice::Many { of: vec![1, 2] });
        let refused = |text: &str, expected: &str| {
            assert_eq!(read::<Vec<Choice>>(text).unwrap_err().to_string(), expected, "{text}");
        };
        refused("[one]", "line 1, column 2: `one` needs a value");
        refused("[nothing: 1]", "line 1, column 11: takes no value");
        refused(
            "[nun]",
            "line 1, column 2: unknown value `nun`: known are `nothing`, `one`, `many`",
        );
        refused(
            "[{ one: 1, many: 2 }]",
            "line 1, column 2: found a map, but expected one of `nothing`, `one`, `many`",
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
