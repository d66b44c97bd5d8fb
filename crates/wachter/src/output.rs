//! stdout is data, stderr is talk.

use std::fmt::Display;
use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::CommandError;

/// How data is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences.
    #[default]
    Human,
    /// One JSON value.
    Json,
}

/// Writes a line of data. A reader that has gone away, as `head` does, is no failure.
pub(crate) fn data(line: impl Display) -> Result<(), CommandError> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line of talk.
pub(crate) fn talk(line: impl Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CommandError> {
    data(serde_json::to_string_pretty(value)?)
}

/// Writes what came of a command: as JSON, or as a sentence.
pub(crate) fn result(
    format: Format,
    value: &impl Serialize,
    sentence: impl Display,
) -> Result<(), CommandError> {
    match format {
        Format::Json => json(value),
        Format::Human => data(sentence),
    }
}

/// Writes rows in columns as wide as needed.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), CommandError> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    data(line(&mut head.iter().copied()))?;
    rows.iter().try_for_each(|row| data(line(&mut row.iter().map(String::as_str))))
}
