use std::fmt;

use serde::de::{Expected, Unexpected};

use crate::nearest;
use crate::tree::{Fault, Node, Place, Step};

/// What serde says, and where it was when it said so.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    /// The way down to the place.
    pub(crate) path: Vec<Step>,
    /// The key that is not there, where that is the fault.
    pub(crate) missing: Option<&'static str>,
}

impl DecodeError {
    pub(crate) fn new(message: String) -> Self {
        Self { message, place: None, path: Vec::new(), missing: None }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Whether it is only a consequence of what was taken out: a key that is missing now, or a map that
    /// says too little now.
    pub(crate) fn follows(&self, removed: &[Vec<Step>]) -> bool {
        match self.missing {
            Some(key) => {
                let mut whole = self.path.clone();
                whole.push(Step::Key(key.to_owned()));
                removed.contains(&whole)
            }
            None => removed
                .iter()
                .any(|gone| gone.len() > self.path.len() && gone.starts_with(&self.path)),
        }
    }

    /// What a person is told; where the place is not known, it is that of the whole.
    pub(crate) fn fault(self, whole: &Node) -> Fault {
        Fault::new(self.place.unwrap_or(whole.place), self.message)
    }

    pub(crate) fn below(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
            Unexpected::Map => "a map".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Str(text) => format!("the text `{}`", shortened(text)),
            Unexpected::Bool(value) => format!("`{value}`"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            other => other.to_string(),
        };
        let expected = match expected.to_string().as_str() {
            "a string" => "a text; write it in quotes".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a nonzero u32" | "a nonzero u64" => "a whole number above 0".to_owned(),
            "u32" | "u64" | "i64" => "a whole number".to_owned(),
            other if other.starts_with("struct ") || other == "a map" => "a map".to_owned(),
            other => other.to_owned(),
        };
        Self::new(format!("found {found}, but expected {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown("key", field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(unknown("value", variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("the key `{field}` is missing")) }
    }
}

/// The sentence about a name that is not known: the nearest that is, or all that are.
#[must_use]
pub fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let hint = match nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "none is known here".to_owned(),
        None => {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("known are {}", known.join(", "))
        }
    };
    format!("unknown {what} `{}`: {hint}", shortened(found))
}

pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(MOST).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", beginning.escape_debug())
}
