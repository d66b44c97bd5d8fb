use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use wachter_model::{JsonArray, JsonObject, JsonValue};

use crate::Record;
use crate::key::{Key, NotAKey};

/// A value of the language; cheap to clone.
///
/// JSON below a [`Value::Json`] is looked at in place and never converted as a whole.
#[derive(Clone)]
pub enum Value<'v> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// A number with a fraction.
    Double(f64),
    /// Text.
    Text(Text<'v>),
    /// A point in time.
    Timestamp(jiff::Timestamp),
    /// A span of time.
    Duration(jiff::SignedDuration),
    /// A list that an expression made.
    List(Rc<[Value<'v>]>),
    /// A map that an expression made.
    Map(Rc<BTreeMap<Key<'v>, Value<'v>>>),
    /// An array or object that was bound.
    Json(&'v serde_json::Value),
    /// An array of an event's data.
    Array(JsonArray<'v>),
    /// An object of an event's data.
    Object(JsonObject<'v>),
    /// Fields made on demand.
    Record(&'v dyn Record),
}

/// Text, borrowed from a binding or made by an expression.
#[derive(Clone)]
pub enum Text<'v> {
    /// Of a binding or of the expression itself.
    Borrowed(&'v str),
    /// Made in the evaluation.
    Made(Rc<str>),
}

impl<'v> Value<'v> {
    /// Binds JSON. Numbers become whole numbers where they are written so.
    #[must_use]
    pub fn from_json(json: &'v serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::number(number),
            serde_json::Value::String(text) => Self::text(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Self::Json(json),
        }
    }

    /// Binds JSON that is read where it is asked for, as [`Self::from_json`] binds what was read.
    #[must_use]
    pub fn from_data(data: JsonValue<'v>) -> Self {
        match data {
            JsonValue::Null => Self::Null,
            JsonValue::Bool(value) => Self::Bool(value),
            JsonValue::Number(number) => Self::number(&number),
            JsonValue::Text(text) => Self::text(text),
            JsonValue::Array(array) => Self::Array(array),
            JsonValue::Object(object) => Self::Object(object),
        }
    }

    fn number(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Self::Int(number),
            (None, Some(number)) => Self::Uint(number),
            (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    /// Binds text.
    #[must_use]
    pub fn text(text: &'v str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    /// Binds a value whose fields are made on demand.
    #[must_use]
    pub fn record(record: &'v dyn Record) -> Self {
        Self::Record(record)
    }

    pub(crate) fn made(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    /// The name that the language has for its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Timestamp(_) => "timestamp",
            Self::Duration(_) => "duration",
            Self::List(_) | Self::Json(serde_json::Value::Array(_)) | Self::Array(_) => "list",
            Self::Map(_) | Self::Json(_) | Self::Object(_) | Self::Record(_) => "map",
        }
    }

    /// The value as JSON; `None` for a record, and for numbers that JSON does not have.
    ///
    /// Times are written as in RFC 3339 and ISO 8601.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(number) => (*number).into(),
            Self::Uint(number) => (*number).into(),
            Self::Double(number) => serde_json::Number::from_f64(*number)?.into(),
            Self::Text(text) => text.to_string().into(),
            Self::Timestamp(time) => time.to_string().into(),
            Self::Duration(span) => span.to_string().into(),
            Self::List(values) => {
                values.iter().map(Self::to_json).collect::<Option<Vec<_>>>()?.into()
            }
            Self::Map(entries) => {
                let entry = |(key, value): (&Key<'_>, &Value<'_>)| {
                    Some((key.to_string(), value.to_json()?))
                };
                serde_json::Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            Self::Json(json) => (*json).clone(),
            Self::Array(array) => array.to_json(),
            Self::Object(object) => object.to_json(),
            Self::Record(_) => return None,
        })
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_json() {
            Some(json) => write!(f, "{} {json}", self.type_name()),
            None => f.write_str(self.type_name()),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

/// A list, made or bound.
pub(crate) enum List<'v> {
    Made(Rc<[Value<'v>]>),
    Json(&'v [serde_json::Value]),
    Data(JsonArray<'v>),
}

impl<'v> List<'v> {
    pub(crate) fn of(value: &Value<'v>) -> Option<Self> {
        match value {
            Value::List(values) => Some(Self::Made(Rc::clone(values))),
            Value::Json(serde_json::Value::Array(values)) => Some(Self::Json(values)),
            Value::Array(array) => Some(Self::Data(*array)),
            _ => None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Made(values) => values.len(),
            Self::Json(values) => values.len(),
            Self::Data(array) => array.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value<'v>> {
        match self {
            Self::Made(values) => values.get(index).cloned(),
            Self::Json(values) => values.get(index).map(Value::from_json),
            Self::Data(array) => array.get(index).map(Value::from_data),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Value<'v>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// A map, made or bound.
pub(crate) enum Map<'v> {
    Made(Rc<BTreeMap<Key<'v>, Value<'v>>>),
    Json(&'v serde_json::Map<String, serde_json::Value>),
    Data(JsonObject<'v>),
    Record(&'v dyn Record),
}

impl<'v> Map<'v> {
    pub(crate) fn of(value: &Value<'v>) -> Option<Self> {
        match value {
            Value::Map(entries) => Some(Self::Made(Rc::clone(entries))),
            Value::Json(serde_json::Value::Object(entries)) => Some(Self::Json(entries)),
            Value::Object(object) => Some(Self::Data(*object)),
            Value::Record(record) => Some(Self::Record(*record)),
            _ => None,
        }
    }

    /// A value by text, which is what `.name` looks up.
    pub(crate) fn field(&self, name: &'v str) -> Option<Value<'v>> {
        match self {
            Self::Made(entries) => entries.get(&Key::Text(Text::Borrowed(name))).cloned(),
            Self::Json(entries) => entries.get(name).map(Value::from_json),
            Self::Data(object) => object.get(name).map(Value::from_data),
            Self::Record(record) => record.field(name),
        }
    }

    /// A value by key; `Err` for what is never a key.
    pub(crate) fn get(&self, key: &Value<'v>) -> Result<Option<Value<'v>>, NotAKey> {
        let key = Key::of(key)?;
        Ok(match self {
            Self::Made(entries) => entries.get(&key).cloned(),
            Self::Json(entries) => match &key {
                Key::Text(text) => entries.get(&**text).map(Value::from_json),
                _ => None,
            },
            Self::Data(object) => match &key {
                Key::Text(text) => object.get(text).map(Value::from_data),
                _ => None,
            },
            Self::Record(record) => match &key {
                Key::Text(text) => record.field(text),
                _ => None,
            },
        })
    }

    /// How many entries; `None` for a record, whose fields nobody counts.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Self::Made(entries) => Some(entries.len()),
            Self::Json(entries) => Some(entries.len()),
            Self::Data(object) => Some(object.len()),
            Self::Record(_) => None,
        }
    }

    /// The keys in their order; `None` for a record.
    pub(crate) fn keys(&self) -> Option<Vec<Value<'v>>> {
        match self {
            Self::Made(entries) => Some(entries.keys().map(Key::value).collect()),
            Self::Json(entries) => Some(entries.keys().map(|key| Value::text(key)).collect()),
            Self::Data(object) => Some(object.keys().into_iter().map(Value::text).collect()),
            Self::Record(_) => None,
        }
    }
}
