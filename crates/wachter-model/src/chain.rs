use std::error::Error;

/// An error and its causes in one line: `cannot read a: permission denied`.
///
/// Each error says its own level only, so this is the one place that puts them together.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
