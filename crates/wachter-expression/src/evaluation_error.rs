use crate::{Expression, Span};

/// Why an evaluation gave no value, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct EvaluationError {
    /// The place in the text of the expression.
    pub span: Span,
    /// What went wrong. Part of the message, as for [`crate::CompileError`].
    pub fault: EvaluationFault,
}

impl EvaluationError {
    pub(crate) fn new(span: Span, fault: EvaluationFault) -> Self {
        Self { span, fault }
    }

    /// Whether no operator may turn this error into an answer.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.fault, EvaluationFault::TooExpensive)
    }
}

/// What goes wrong in an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationFault {
    /// The bindings have no value for a name.
    #[error("`{0}` has no value here")]
    Unbound(String),
    /// A field or key that is absent.
    #[error("there is no `{0}`; test it with `has()` first")]
    NoField(String),
    /// An index outside a list or a text.
    #[error("{0} lies outside")]
    OutOfRange(i64),
    /// Types that do not go together.
    #[error("`{operation}` does not apply to {found}")]
    Types {
        /// The operator or function.
        operation: &'static str,
        /// The types.
        found: String,
    },
    /// A value that cannot be converted.
    #[error("`{value}` is not a {wanted}")]
    Conversion {
        /// The value, shortened.
        value: String,
        /// What it was to become.
        wanted: &'static str,
    },
    /// A result that does not fit.
    #[error("the result of `{0}` does not fit")]
    Overflow(&'static str),
    /// Division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A map that says the same key twice.
    #[error("a map has the key `{0}` twice")]
    DuplicateKey(String),
    /// A condition that is neither true nor false.
    #[error("gives {0}, but must give true or false")]
    NotBool(&'static str),
    /// The limit of steps.
    #[error(
        "takes more than {} steps; look at less, or do the work in a module",
        Expression::MAX_STEPS
    )]
    TooExpensive,
}
