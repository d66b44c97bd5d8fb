//! What the files of `/proc` have in common: numbers in text.

/// A number, or 0 where a later kernel writes something else.
pub(super) fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A fraction that is a number.
pub(super) fn fraction(word: Option<&str>) -> Option<f64> {
    word?.parse().ok().filter(|value: &f64| value.is_finite())
}
