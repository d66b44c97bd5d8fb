use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::CommandError;

/// Whether there is someone to ask.
pub(super) fn possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a text; an empty answer is the default.
///
/// # Errors
/// The terminal is gone.
pub(super) fn ask(question: &str, default: &str) -> Result<String, CommandError> {
    let answer = read(&format!("{question} [{default}]: "))?;
    Ok(if answer.is_empty() { default.to_owned() } else { answer })
}

/// Asks yes or no; everything but `y` and `yes` is no.
///
/// # Errors
/// There is nobody to ask.
pub(crate) fn confirm(question: &str) -> Result<bool, CommandError> {
    if !possible() {
        return Err(CommandError::usage(
            "there is no terminal to ask on; look at it with --dry-run, then give --yes",
        ));
    }
    let answer = read(&format!("{question} [y/N]: "))?;
    Ok(["y", "yes"].contains(&answer.to_lowercase().as_str()))
}

fn read(prompt: &str) -> Result<String, CommandError> {
    let mut stderr = io::stderr();
    stderr.write_all(prompt.as_bytes())?;
    stderr.flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(CommandError::failed("there was no answer"));
    }
    Ok(line.trim().to_owned())
}
