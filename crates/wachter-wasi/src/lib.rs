//! Runs one module in WebAssembly: a command of WASI preview 1 or a component of WASI 0.2 that speaks
//! the module protocol on its stdin and stdout, as any other module does.
//!
//! There are two calls. [`compile`] turns a module into machine code and writes that to stdout. [`run`]
//! runs a module, from machine code where it is told of some and from the module itself elsewhere. Both
//! are made for a process of their own inside the jail: what confines a module is the jail, and what is
//! here narrows it further.
//!
//! # Invariants
//! - Machine code is loaded only from the file that the caller names as such. The launcher names what
//!   it had compiled itself and keeps where only it can write.
//! - A module has no environment, no network and no arguments but its own name; of files it has the
//!   folders that the caller names.
//! - Code of a module is interrupted at the deadline and refused memory beyond its limit, whatever it
//!   does.
//! - This crate opens no socket, starts no process and reads no environment.

mod arguments;
mod code;
mod engine;
mod failure;
mod guest;
mod lines;
mod memory;
mod times;
mod watch;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use wachter_module::protocol::module::{Message, ModuleResult, Outcome};

use arguments::Options;
use code::Code;
use failure::WasiError;
use times::Times;

/// The exit code for a call that is not understood (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Runs a module, with the request on stdin and its messages on stdout:
/// `--memory BYTES [--timeout MILLISECONDS] [--code FILE] [--read GUEST HOST]… [--write GUEST HOST]… [--times] MODULE`.
///
/// The exit code is the module's own; 1 where it trapped or could not be run, after a failed result
/// that says why.
#[must_use]
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(error) => return usage(&error.to_string()),
    };
    match attempt(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say_failed(&error);
            ExitCode::FAILURE
        }
    }
}

/// Compiles the module that the one argument names, and writes machine code to stdout.
///
/// The exit code is 1, after one line on stderr, where that is not possible.
#[must_use]
pub fn compile(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return usage("name one module");
    };
    let compiled = engine::engine().and_then(|engine| Code::compile(&engine, path.as_ref()));
    let written = compiled.map_err(|error| failure::sentence(&error)).and_then(|code| {
        io::stdout().write_all(&code).map_err(|error| format!("cannot write the code: {error}"))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Where nobody listens the exit code still says it.
            let _ = writeln!(io::stderr(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(options: &Options) -> Result<u8, WasiError> {
    let mut times = Times::begin(options.times);
    let engine = engine::engine()?;
    times.step("engine");
    let code = Code::load(&engine, &options.module, options.code.as_deref())?;
    times.step("load");
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request).map_err(WasiError::Request)?;
    times.step("request");
    let ended = guest::run(&engine, &code, request, options, &mut times);
    times.say();
    ended
}

fn usage(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::from(USAGE)
}

/// Says in the module's place why it has no result.
fn say_failed(error: &WasiError) {
    let message = failure::sentence(error);
    let result = ModuleResult {
        outcome: Outcome::Failed,
        changed: false,
        message: Some(message.clone()),
        output: serde_json::Value::Null,
        state: None,
    };
    let mut stdout = io::stdout().lock();
    let said = serde_json::to_string(&Message::Result(result))
        .map_err(io::Error::from)
        .and_then(|line| writeln!(stdout, "{line}"))
        .and_then(|()| stdout.flush());
    if said.is_err() {
        let _ = writeln!(io::stderr(), "{message}");
    }
}
