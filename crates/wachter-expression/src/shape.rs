use std::collections::BTreeMap;
use std::fmt;

/// What is known of a value before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Any,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits with sign.
    Int,
    /// A whole number of 64 bits without sign.
    Uint,
    /// A number with a fraction.
    Double,
    /// Text.
    Text,
    /// A point in time.
    Timestamp,
    /// A span of time.
    Duration,
    /// A list, with what is known of each element.
    List(Box<Shape>),
    /// Keys that are not known, with what is known of each value.
    Map(Box<Shape>),
    /// Exactly these fields, each of which may be absent.
    Record(BTreeMap<String, Shape>),
}

impl Shape {
    /// A record of these fields.
    #[must_use]
    pub fn record<const COUNT: usize>(fields: [(&str, Self); COUNT]) -> Self {
        Self::Record(fields.map(|(name, shape)| (name.to_owned(), shape)).into())
    }

    pub(crate) fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    pub(crate) const fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether a value of this shape may be one of `other` too.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Map(_) | Self::Record(_), Self::Map(_) | Self::Record(_))
            | (Self::List(_), Self::List(_)) => true,
            _ => self == other,
        }
    }

    /// What is known where either may come out.
    pub(crate) fn either(self, other: &Self) -> Self {
        if self == *other { self } else { Self::Any }
    }
}

/// The name that the language has for it.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List(_) => "list",
            Self::Map(_) | Self::Record(_) => "map",
        })
    }
}
