//! The official modules in one executable: `wachter-modules NAME`, or under the name of a module.
//!
//! A module is chosen by the first argument, or by the name that the executable was started under
//! (a link `system-monitor` starts that module). `--list` prints a JSON array with each module's
//! name, manifest and input schema.
//!
//! Modules in WebAssembly are run by it as well (`wachter-wasi`).
//!
//! # Invariants
//! - Nothing here is linked into the node: a module is reached by the module protocol only.
//! - A module has no other way to know the host than its request and the files that it was granted.

mod alarms;
mod builtin;
mod certificate_monitor;
#[cfg(test)]
mod chance;
mod disk_health;
mod exhaustion;
mod history;
mod rates;
mod resource_monitor;
mod system_monitor;
mod trend;
mod views;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use builtin::{BUILTINS, Builtin};

/// The exit code for a call that is not understood (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    match chosen(&program, arguments.next()) {
        Call::Run(builtin) => (builtin.run)(),
        Call::Wasi => wachter_wasi::run(arguments),
        Call::CompileWasi => wachter_wasi::compile(arguments),
        Call::List => {
            let list = serde_json::Value::from_iter(BUILTINS.iter().map(Builtin::describe));
            match writeln!(io::stdout(), "{list:#}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Call::Unknown(name) => {
            let known: Vec<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
            // Where nobody listens the exit code still says it.
            let _ = writeln!(
                io::stderr(),
                "{name}; known modules are {}; `wachter-modules --list` tells more",
                known.join(", ")
            );
            ExitCode::from(USAGE)
        }
    }
}

enum Call {
    Run(&'static Builtin),
    /// The two that the launcher makes, which no person needs to know.
    Wasi,
    CompileWasi,
    List,
    Unknown(String),
}

fn chosen(program: &OsString, argument: Option<OsString>) -> Call {
    let named = Path::new(program).file_name().and_then(|name| name.to_str());
    if let Some(builtin) = named.and_then(Builtin::find) {
        return Call::Run(builtin);
    }
    let Some(argument) = argument else {
        return Call::Unknown("name a module, as in `wachter-modules system-monitor`".to_owned());
    };
    let argument = argument.to_string_lossy();
    match Builtin::find(&argument) {
        Some(builtin) => Call::Run(builtin),
        None if argument == "--list" => Call::List,
        None if argument == "wasi" => Call::Wasi,
        None if argument == "wasi-compile" => Call::CompileWasi,
        None => Call::Unknown(format!("there is no module `{argument}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_the_first_argument_chooses() {
        for (program, argument, expected) in [
            ("/usr/lib/wachter/wachter-modules", Some("system-monitor"), "run system-monitor"),
            ("/somewhere/system-monitor", None, "run system-monitor"),
            ("system-monitor", Some("--list"), "run system-monitor"),
            ("wachter-modules", Some("--list"), "list"),
            ("wachter-modules", Some("wasi"), "wasi"),
            ("wachter-modules", Some("wasi-compile"), "compile"),
            ("wachter-modules", Some("sytem-monitor"), "there is no module `sytem-monitor`"),
            ("wachter-modules", None, "name a module"),
            ("", Some(""), "there is no module ``"),
        ] {
            let call = match chosen(&program.into(), argument.map(Into::into)) {
                Call::Run(builtin) => format!("run {}", builtin.name),
                Call::List => "list".to_owned(),
                Call::Wasi => "wasi".to_owned(),
                Call::CompileWasi => "compile".to_owned(),
                Call::Unknown(message) => message,
            };
            assert!(call.starts_with(expected), "{program} {argument:?}: {call}");
        }
    }
}
