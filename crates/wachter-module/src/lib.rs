//! The SDK for modules in Rust: implement [`Module`], call [`run`] from `main`.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wachter_module::{Context, Harness, Module, ModuleError, Report};
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Input {
//!     name: String,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct State {
//!     greeted: u64,
//! }
//!
//! struct Greeting;
//!
//! impl Module for Greeting {
//!     type Input = Input;
//!     type State = State;
//!
//!     fn execute(&self, input: Input, context: &mut Context<State>) -> Result<Report, ModuleError> {
//!         context.state.greeted += 1;
//!         context.info(format!("greeting {}", input.name));
//!         Ok(Report::unchanged()
//!             .message(format!("Hello, {}!", input.name))
//!             .output(serde_json::json!({ "times": context.state.greeted })))
//!     }
//! }
//!
//! // fn main() -> std::process::ExitCode { wachter_module::run(&Greeting) }
//!
//! let first = Harness::new().input(serde_json::json!({ "name": "world" })).run(&Greeting);
//! assert_eq!(first.result.message.as_deref(), Some("Hello, world!"));
//! let second = Harness::new().input(serde_json::json!({ "name": "you" })).after(&first).run(&Greeting);
//! assert_eq!(second.result.output["times"], 2);
//! ```
//!
//! # Invariants
//! - Nothing but messages of the module protocol reaches stdout, each whole and on its own line;
//!   what a library prints there goes to stderr, which the node keeps as log.
//! - Nothing follows the result, and no run ends without one: a panic, bad input and a message that
//!   cannot be sent are failed results.
//! - This crate opens no file and no socket, and starts no thread.

mod context;
mod failure;
mod harness;
mod module;
mod output;
mod report;
mod request;
mod run;

pub use context::Context;
pub use failure::ModuleError;
pub use harness::{Finished, Harness};
pub use module::Module;
pub use report::Report;
pub use run::run;
pub use wachter_model::{Confidence, EmittedEvent, Finding, Level, Severity, Topic};
pub use wachter_protocol as protocol;
pub use wachter_protocol::module::host;
