use std::ops::Range;

use crate::Shape;

/// A place in the text of an expression: bytes from `start` up to `end`, both at characters' borders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// Why a text is not an expression for its environment, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct CompileError {
    /// The place.
    pub span: Span,
    /// What is wrong. Part of the message: the place makes no sense without the text beside it.
    pub fault: CompileFault,
}

impl CompileError {
    pub(crate) fn new(span: Span, fault: CompileFault) -> Self {
        Self { span, fault }
    }

    /// The known name that was probably meant.
    #[must_use]
    pub fn nearest(&self) -> Option<&str> {
        match &self.fault {
            CompileFault::Name { nearest, .. }
            | CompileFault::Field { nearest, .. }
            | CompileFault::Function { nearest, .. } => nearest.as_deref(),
            _ => None,
        }
    }
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileFault {
    /// No text.
    #[error("an expression must not be empty")]
    Empty,
    /// More than a limit allows.
    #[error("an expression has at most {most} {what}; split it or do the work in a module")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The most.
        most: usize,
    },
    /// Not the grammar.
    #[error("{0}")]
    Syntax(String),
    /// Of the grammar, but not of the subset.
    #[error("{0} are not part of the language here")]
    Unsupported(&'static str),
    /// A name that the environment does not have.
    #[error("there is no `{name}` here: {}", hint(nearest.as_deref(), known))]
    Name {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// A field that its value never has.
    #[error("there is no field `{name}` in `{of}`: {}", hint(nearest.as_deref(), known))]
    Field {
        /// What was written.
        name: String,
        /// Where it was looked for.
        of: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// A function that does not exist, or not with this form or number of arguments.
    #[error("there is no function `{name}`: {}", hint(nearest.as_deref(), known))]
    Function {
        /// What was written.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// A known function, called wrongly.
    #[error("write `{0}`")]
    Form(&'static str),
    /// Types that can never go together.
    #[error("`{operation}` does not apply to {found}")]
    Types {
        /// The operator or function.
        operation: String,
        /// The types.
        found: String,
    },
    /// A result of the wrong type.
    #[error("gives {found}, but must give {wanted}")]
    Result {
        /// What it gives.
        found: Shape,
        /// What its place needs.
        wanted: Shape,
    },
    /// A regular expression that is not fixed.
    #[error("the pattern of `matches` must be written out, so that it can be checked beforehand")]
    PatternNotLiteral,
    /// Not a regular expression, or too large a one.
    #[error("is not a regular expression that can be used: {0}")]
    Pattern(String),
}

fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing is known here".to_owned(),
        // The functions: nobody reads forty names in a message.
        None if known.len() > 20 => "the page on expressions lists them".to_owned(),
        None => {
            let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("known are {}", names.join(", "))
        }
    }
}
