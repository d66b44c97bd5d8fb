use crate::Value;

/// What the names of an expression stand for in one evaluation.
///
/// Asked once for every occurrence that is reached, so give out borrowed values:
/// [`Value::from_json`], [`Value::record`], [`Value::text`].
pub trait Bindings {
    /// The value of a name of the environment; `None` makes the evaluation fail.
    fn value(&self, name: &str) -> Option<Value<'_>>;
}

/// A value with named fields that are made only when they are asked for.
pub trait Record {
    /// The value of a field; `None` where it is absent, which `has()` can tell.
    fn field(&self, name: &str) -> Option<Value<'_>>;
}

/// Pairs of name and value, for a few that are at hand.
impl<const COUNT: usize> Bindings for [(&str, Value<'_>); COUNT] {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }
}
