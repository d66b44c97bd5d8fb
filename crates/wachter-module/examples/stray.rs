//! A module that misbehaves on request; the tests hold the run loop to its promises with it.
#![expect(clippy::print_stdout, reason = "a stray print is what is tried here")]

use std::process::ExitCode;

use serde::Deserialize;
use wachter_module::{Context, Module, ModuleError, Report};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    print: bool,
    panic: bool,
    talk: u32,
}

struct Stray;

impl Module for Stray {
    type Input = Input;
    type State = ();

    fn execute(&self, input: Input, context: &mut Context<()>) -> Result<Report, ModuleError> {
        if input.print {
            println!("{{\"result\": {{}}}} not a message");
        }
        for number in 0..input.talk {
            context.info(format!("line {number}"));
        }
        assert!(!input.panic, "asked to");
        Ok(Report::unchanged())
    }
}

fn main() -> ExitCode {
    wachter_module::run(&Stray)
}
