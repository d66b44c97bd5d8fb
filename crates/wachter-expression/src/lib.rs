//! Conditions and keys in the Common Expression Language, for `where`, `nodes`, `concurrency.key`
//! and policies: <https://github.com/google/cel-spec/blob/master/doc/langdef.md>.
//!
//! [`Expression::compile`] checks a text against an [`Environment`]: names, fields, functions and
//! types as far as they are known, each fault with its place. [`Expression::evaluate`] asks the
//! [`Bindings`] for a value when it reaches its name, so that nothing is converted that is not looked
//! at.
//!
//! The grammar is that of the library `cel`: its parser makes the tree. The tree is checked and
//! evaluated here, because that library knows neither types, nor places at run time, nor a limit to
//! what an evaluation costs.
//!
//! # Limits
//! - Text: [`Expression::MAX_BYTES`] bytes, [`Expression::MAX_TOKENS`] tokens, depth
//!   [`Expression::MAX_DEPTH`], 4 loops within each other, regular expressions of 256 bytes.
//! - One evaluation: [`Expression::MAX_STEPS`] steps, where a step is one node of the tree, one
//!   element or 32 bytes of text that are looked at or made. That bounds time and memory alike.
//!
//! # Invariants
//! - No clock, and no I/O but a look into the time zone database: an expression gives the same for
//!   the same bindings.
//! - No text makes compiling panic and no value makes evaluating panic.
//! - Running out of steps is an error that no `||` and no `?:` turns into an answer.

mod arithmetic;
mod bindings;
mod check;
mod compile_error;
mod environment;
mod evaluate;
mod evaluation_error;
mod event;
mod expression;
mod function;
mod key;
mod macros;
mod node;
mod pattern;
mod shape;
mod syntax;
mod text;
mod time;
mod value;

pub use bindings::{Bindings, Record};
pub use compile_error::{CompileError, CompileFault, Span};
pub use environment::Environment;
pub use evaluation_error::{EvaluationError, EvaluationFault};
pub use event::EventBindings;
pub use expression::Expression;
pub use key::Key;
pub use shape::Shape;
pub use value::{Text, Value};
