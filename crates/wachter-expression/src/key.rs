use std::cmp::Ordering;
use std::fmt;

use crate::value::{Text, Value};

/// A key of a map that an expression made. A number with and one without sign are the same key where
/// they are the same number, and each is given back as it was put in.
#[derive(Clone, Debug)]
pub enum Key<'v> {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without sign.
    Uint(u64),
    /// Text.
    Text(Text<'v>),
}

/// A value that is never a key.
pub(crate) struct NotAKey;

impl<'v> Key<'v> {
    /// A whole `double` is looked up as the number it is, as the language has it.
    pub(crate) fn of(value: &Value<'v>) -> Result<Self, NotAKey> {
        Ok(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(number) => Self::Int(*number),
            Value::Uint(number) => Self::Uint(*number),
            Value::Text(text) => Self::Text(text.clone()),
            Value::Double(number) => Self::whole(*number).ok_or(NotAKey)?,
            _ => return Err(NotAKey),
        })
    }

    /// The whole number that a `double` is.
    fn whole(number: f64) -> Option<Self> {
        if number.fract() != 0.0 || number.abs() >= 1e19 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "in range and without a fraction")]
        let number = number as i128;
        let unsigned = || u64::try_from(number).map(Self::Uint);
        i64::try_from(number).map(Self::Int).or_else(|_| unsigned()).ok()
    }

    /// The number that it is, whatever its kind.
    pub(crate) fn number(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some((*number).into()),
            Self::Uint(number) => Some((*number).into()),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// As it was put in.
    pub(crate) fn value(&self) -> Value<'v> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(number) => Value::Int(*number),
            Self::Uint(number) => Value::Uint(*number),
            Self::Text(text) => Value::Text(text.clone()),
        }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Uint(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(two)) => one.cmp(two),
            (Self::Text(one), Self::Text(two)) => one.cmp(two),
            (Self::Bool(_), _) | (_, Self::Text(_)) => Ordering::Less,
            (Self::Text(_), _) | (_, Self::Bool(_)) => Ordering::Greater,
            _ => self.number().cmp(&other.number()),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}
