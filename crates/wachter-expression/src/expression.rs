use std::collections::BTreeSet;

use crate::check::Checker;
use crate::evaluate::Evaluation;
use crate::node::Node;
use crate::{
    Bindings, CompileError, CompileFault, Environment, EvaluationError, EvaluationFault, Shape,
    Span, Value, syntax,
};

/// A text that was checked and can be evaluated any number of times, from any thread.
#[derive(Debug)]
pub struct Expression {
    text: String,
    root: Node,
    names: BTreeSet<String>,
    shape: Shape,
}

impl Expression {
    /// The longest text, in bytes.
    pub const MAX_BYTES: usize = 4096;
    /// The most tokens.
    pub const MAX_TOKENS: usize = 1024;
    /// The deepest nesting.
    pub const MAX_DEPTH: usize = 48;
    /// The most loops within each other.
    pub const MAX_LOOPS: usize = 4;
    /// The most steps of one evaluation.
    pub const MAX_STEPS: u64 = 100_000;

    /// Checks a text.
    ///
    /// # Errors
    /// The first fault with its place: what is not the grammar, exceeds a limit, is not known to
    /// `environment`, or can never have the right type.
    pub fn compile(text: &str, environment: &Environment) -> Result<Self, CompileError> {
        let parsed = syntax::parse(text)?;
        let mut checker = Checker::new(&parsed, environment);
        let (root, shape) = checker.check(&parsed.tree)?;
        let names = checker.into_names();
        Ok(Self { text: text.to_owned(), root, names, shape })
    }

    /// Checks a text whose result is to be true or false.
    ///
    /// # Errors
    /// As for [`Self::compile`], and a result that is surely something else.
    pub fn condition(text: &str, environment: &Environment) -> Result<Self, CompileError> {
        let expression = Self::compile(text, environment)?;
        if expression.shape.may_be(&Shape::Bool) {
            return Ok(expression);
        }
        let fault = CompileFault::Result { found: expression.shape, wanted: Shape::Bool };
        Err(CompileError::new(Span::from(0..text.len()), fault))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the environment that occur.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What is known of the result.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The value for `bindings`. Reaches only for what it needs; takes at most
    /// [`Self::MAX_STEPS`] steps.
    ///
    /// # Errors
    /// What a type, an absent field, an overflow or the limit of steps makes impossible.
    pub fn evaluate<'v>(
        &'v self,
        bindings: &'v dyn Bindings,
    ) -> Result<Value<'v>, EvaluationError> {
        Evaluation::new(bindings).value(&self.root)
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// As for [`Self::evaluate`], and a value that is neither true nor false.
    pub fn is_true(&self, bindings: &dyn Bindings) -> Result<bool, EvaluationError> {
        match self.evaluate(bindings)? {
            Value::Bool(value) => Ok(value),
            other => {
                let fault = EvaluationFault::NotBool(other.type_name());
                Err(EvaluationError::new(Span::from(0..self.text.len()), fault))
            }
        }
    }
}
