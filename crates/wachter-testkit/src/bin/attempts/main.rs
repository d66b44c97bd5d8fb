//! A module that tries everything that a module must not be able to do, and reports what worked.
//!
//! It reads a request like any module. `input.mode` says what to do: `all` makes every single
//! attempt once, each in a process of its own, and answers with `{name: {outcome, detail}}`; the
//! other modes exhaust something or misbehave in one way (see [`modes`]). Without a jail every
//! attempt of `all` is harmless: signals are number 0, files are the test's own, and calls that
//! would change the machine carry arguments that the kernel refuses after its check of rights.
#![allow(unsafe_code, reason = "attempts are made by the system call itself, past every library")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "no call here has a promise to keep: a crash is one of the outcomes, and is contained by a process"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "raw arguments of system calls"
)]

mod attempt;
mod files;
mod identity;
mod kernel;
mod modes;
mod processes;
mod programs;
mod sockets;

use std::io::{Read, Write};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use attempt::{Attempt, Targets};

fn main() -> ExitCode {
    // Started again as a program of its own, by `programs`.
    match std::env::args().nth(1).as_deref() {
        Some("whoami") => return programs::whoami(),
        Some("nothing") => return ExitCode::SUCCESS,
        _ => {}
    }
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(request) = serde_json::from_str::<Value>(&text) else { return ExitCode::FAILURE };
    let input = &request["input"];
    let output = match input["mode"].as_str().unwrap_or("all") {
        "all" => all(&Targets::read(input)),
        mode => match modes::run(mode, input) {
            Some(output) => output,
            None => return ExitCode::FAILURE,
        },
    };
    let line = json!({ "result": { "changed": false, "output": output } });
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn all(targets: &Targets) -> Value {
    let groups: [fn(&Targets) -> Vec<Attempt<'_>>; 6] = [
        files::attempts,
        processes::attempts,
        identity::attempts,
        kernel::attempts,
        sockets::attempts,
        programs::attempts,
    ];
    let mut outcomes = Map::new();
    for attempt in groups.iter().flat_map(|group| group(targets)) {
        let name = attempt.name.to_owned();
        let before = outcomes.insert(name.clone(), attempt.make());
        assert!(before.is_none(), "two attempts are called {name}");
    }
    json!({ "attempts": outcomes, "self": identity::describe() })
}
