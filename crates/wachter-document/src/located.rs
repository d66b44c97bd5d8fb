use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, SeqAccess, Visitor,
};

use crate::decode::Cursor;
use crate::decode_error::DecodeError;

/// The name by which [`Located`] asks for a place. No type of a document can have it.
pub(crate) const NAME: &str = "$wachter::Located";

/// A value and its place in the document; where it is wrong, [`DocumentError::at`] says so.
///
/// Only what this crate reads has places. Within types that serde looks at twice (`flatten`,
/// `untagged`, `tag`), a value has lost its place and is refused.
///
/// [`DocumentError::at`]: crate::DocumentError::at
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: u64,
    /// Its column in characters, counted from 1.
    pub column: u64,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct(NAME, 3, LocatedVisitor(PhantomData))
    }
}

struct LocatedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LocatedVisitor<T> {
    type Value = Located<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Located<T>, A::Error> {
        let missing = || A::Error::custom("a place has a line, a column and a value");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let column = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(Located { value, line, column })
    }
}

/// The line, the column and the value at a place, one after the other.
pub(crate) struct Parts<'n> {
    cursor: Cursor<'n>,
    next: u8,
}

impl<'n> Parts<'n> {
    pub(crate) fn of(cursor: Cursor<'n>) -> Self {
        Self { cursor, next: 0 }
    }
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let place = self.cursor.0.place;
        self.next += 1;
        match self.next {
            1 => seed.deserialize(place.line.into_deserializer()).map(Some),
            2 => seed.deserialize(place.column.into_deserializer()).map(Some),
            3 => seed.deserialize(self.cursor).map(Some),
            _ => Ok(None),
        }
    }
}
