use std::fmt;

use crate::located::Located;
use crate::tree::Fault;

/// Why a document was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// Line, counted from 1; 0 where the fault is not at one place.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl DocumentError {
    /// A fault that the reader of a document found in `value`.
    pub fn at<T>(value: &Located<T>, message: impl Into<String>) -> Self {
        Self { line: value.line, column: value.column, message: message.into() }
    }

    /// The message with the offending line and a caret below it, for a person.
    ///
    /// `name` is what the reader knows the text by: a path.
    #[must_use]
    pub fn render(&self, name: &str, text: &str) -> String {
        let Some(line) = self.line.checked_sub(1) else {
            return format!("{name}: {}", self.message);
        };
        let source = usize::try_from(line).ok().and_then(|line| text.lines().nth(line));
        let source = source.unwrap_or_default().replace('\t', " ");
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let caret = " "
            .repeat(usize::try_from(self.column.saturating_sub(1)).unwrap_or(0).min(source.len()));
        format!(
            "{name}:{}:{}: {}\n{margin} |\n{number} | {source}\n{margin} | {caret}^",
            self.line, self.column, self.message
        )
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.message);
        }
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for DocumentError {}

impl From<Fault> for DocumentError {
    fn from(Fault { place, message }: Fault) -> Self {
        Self { line: place.line, column: place.column, message }
    }
}
