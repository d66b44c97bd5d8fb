use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use crate::decode_error::{DecodeError, shortened};
use crate::error::DocumentError;
use crate::located;
use crate::tree::{Entry, Fault, Node, NodeValue, Step};

/// The most faults of one tree that are told at once.
const MOST_FAULTS: usize = 50;

/// Reads a value out of a tree, and says all that is wrong with it.
///
/// serde stops at the first fault. So what is at fault is taken out of the tree and the rest is read
/// again, until nothing is left to say. Where there are faults, the value is what the rest comes to,
/// for further checks alone.
#[must_use]
pub fn decode<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut error = match T::deserialize(Cursor(node)) {
        Ok(value) => return (Some(value), faults),
        Err(error) => error,
    };
    let mut rest = node.clone();
    let mut removed: Vec<Vec<Step>> = Vec::new();
    loop {
        let follows = error.follows(&removed);
        let path = std::mem::take(&mut error.path);
        if !follows {
            faults.push(error.fault(node));
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

impl Node {
    /// Makes a value of the tree.
    ///
    /// # Errors
    /// The first fault: the tree does not have the shape of `T`.
    // Else two copies of what reads a type: 12 KB of the launcher.
    #[inline(never)]
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        T::deserialize(Cursor(self)).map_err(|error| error.fault(self).into())
    }
}

/// A node, as serde reads it.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'n>(pub(crate) &'n Node);

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
            NodeValue::Text(name) => visitor.visit_enum(Variant { name, value: None }),
            NodeValue::Map(entries) if let [Entry { key, value, .. }] = entries.as_slice() => {
                visitor.visit_enum(Variant { name: key, value: Some(value) })
            }
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

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == located::NAME {
            return visitor.visit_seq(located::Parts::of(self));
        }
        self.deserialize_any(visitor)
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
        unit_struct seq tuple map identifier ignored_any
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

/// A variant by its name alone, or as a map of its name to its value.
struct Variant<'n> {
    name: &'n str,
    value: Option<&'n Node>,
}

impl<'n> Variant<'n> {
    fn value(&self) -> Result<Cursor<'n>, DecodeError> {
        let missing = || DecodeError::new(format!("`{}` needs a value", shortened(self.name)));
        self.value.map(Cursor).ok_or_else(missing)
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let name: StrDeserializer<'_, DecodeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.value {
            None => Ok(()),
            Some(node) => Err(DecodeError::new("takes no value".to_owned()).at(node.place)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.value()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.value()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.value()?.deserialize_struct("", fields, visitor)
    }
}
