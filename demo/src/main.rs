//! Shows the main job: a managed repository with a key and a release, a real Git server, a node that
//! runs modules, what wakes them and what came of it, a change while it works, a kill that it survives,
//! and what it refuses. Everything happens below one temporary folder.

mod story;
mod wachter;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match story::tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "the demonstration stopped: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line for the person who watches.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Begins a chapter.
fn chapter(title: &str) {
    say(&format!("\n== {title}"));
}
