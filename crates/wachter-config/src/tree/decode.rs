use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected,
    IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use wachter_document::nearest;

use super::{Entry, Node, NodeValue, Place, Step};
use crate::problem::Fault;

/// The most faults of one tree that are told at once.
const MOST_FAULTS: usize = 50;

/// Reads a value out of a tree, and says all that is wrong with it.
///
/// serde stops at the first fault. So what is at fault is taken out of the tree and the rest is read
/// again, until nothing is left to say. Where there are faults, the value is what the rest comes to,
/// for further checks alone.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut error = match T::deserialize(Cursor(node)) {
        Ok(value) => return (Some(value), faults),
        Err(error) => error,
    };
    let mut rest = node.clone();
    let mut removed: Vec<Vec<Step>> = Vec::new();
    loop {
        let follows = error.follows(&removed);
        let DecodeError { message, place, path, .. } = error;
        if !follows {
            faults.push(Fault { place: place.unwrap_or(node.place), message });
        }
        if faults.len() == MOST_FAULTS || !rest.remove(&path) {
            return (None, faults);
        }
        removed.push(path);
        error = match T::deserialize(Cursor(&rest)) {
            Ok(value) => return (Some(value), faults),
            Err(error) => error,
        };
    }
}

/// What serde says, and where it was when it said so.
#[derive(Debug)]
struct DecodeError {
    message: String,
    place: Option<Place>,
    /// The way down to the place.
    path: Vec<Step>,
    /// The key that is not there, where that is the fault.
    missing: Option<&'static str>,
}

impl DecodeError {
    fn new(message: String) -> Self {
        Self { message, place: None, path: Vec::new(), missing: None }
    }

    fn at(mut self, place: Place) -> Self {
        self.place.get_or_insert(place);
        self
    }

    /// Whether it is only a consequence of what was taken out: a key that is missing now, or a map that
    /// says too little now.
    fn follows(&self, removed: &[Vec<Step>]) -> bool {
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

    fn below(mut self, step: Step) -> Self {
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

/// The sentence about a name that is not known.
pub(crate) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
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

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(MOST).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{}{more}", beginning.escape_debug())
}

/// A node, as serde reads it.
struct Cursor<'n>(&'n Node);

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = match &self.0.value {
            NodeValue::Null => visitor.visit_unit(),
            NodeValue::Bool(value) => visitor.visit_bool(*value),
            NodeValue::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            NodeValue::Text(text) => visitor.visit_str(text),
            NodeValue::List(nodes) => visitor.visit_seq(List { nodes, next: 0 }),
            NodeValue::Map(entries) => visitor.visit_map(Map { entries, next: 0 }),
        };
        value.map_err(|error| error.at(self.0.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            NodeValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let place = self.0.place;
        visitor.visit_newtype_struct(self).map_err(|error| error.at(place))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let value = match &self.0.value {
            NodeValue::Text(text) => visitor.visit_enum(Variant(text)),
            other => {
                let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                let kind = match other {
                    NodeValue::Map(_) => "a map",
                    NodeValue::List(_) => "a list",
                    NodeValue::Null => "nothing",
                    _ => "another value",
                };
                let message = format!("found {kind}, but expected one of {}", known.join(", "));
                Err(DecodeError::new(message))
            }
        };
        value.map_err(|error| error.at(self.0.place))
    }

    /// serde's own visitors would take a list of the fields' values too.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            NodeValue::List(_) => {
                let error = DecodeError::invalid_type(Unexpected::Seq, &visitor);
                Err(error.at(self.0.place))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct List<'n> {
    nodes: &'n [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some(node) = self.nodes.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let element = seed.deserialize(Cursor(node));
        element.map(Some).map_err(|error| error.at(node.place).below(Step::Index(index)))
    }
}

struct Map<'n> {
    entries: &'n [Entry],
    next: usize,
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, DecodeError> = entry.key.as_str().into_deserializer();
        let key = seed.deserialize(key);
        key.map(Some).map_err(|error| error.at(entry.key_place).below(Step::Key(entry.key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some(entry) = self.entries.get(self.next) else {
            return Err(DecodeError::custom("a value without a key"));
        };
        self.next += 1;
        let value = seed.deserialize(Cursor(&entry.value));
        value.map_err(|error| {
            // What is missing in a map is missing behind its key.
            let place = if error.missing.is_some() { entry.key_place } else { entry.value.place };
            error.at(place).below(Step::Key(entry.key.clone()))
        })
    }
}

/// A variant without a value.
struct Variant<'n>(&'n str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let name: StrDeserializer<'_, DecodeError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, DecodeError> {
        Err(DecodeError::custom("needs a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::custom("needs values"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DecodeError> {
        Err(DecodeError::custom("needs a map"))
    }
}
