//! stdout is data, stderr is talk. Nothing that came from elsewhere moves a terminal's cursor or
//! rewrites a line: what is printed goes through [`data`], [`talk`], [`json`] or a [`Page`].

mod live;
mod page;
mod table;
mod tone;

use std::fmt::Display;
use std::io::{self, Write};
use std::ops::ControlFlow;

use clap::ValueEnum;
use serde::Serialize;
use wachter_sandbox::printable;

pub(crate) use live::{Frame, interrupted, keep_showing};
pub(crate) use page::{Page, View};
pub(crate) use table::{Cell, Column, Table};
pub(crate) use tone::Tone;

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
    data_while_read(line).map(|_| ())
}

/// The same for what has no end of its own: breaks off when nobody reads any more.
pub(crate) fn data_while_read(line: impl Display) -> Result<ControlFlow<()>, CommandError> {
    write_raw(&shown(&line.to_string()))
}

/// Writes a line of talk.
pub(crate) fn talk(line: impl Display) {
    // Without a stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", shown(&line.to_string()));
}

/// Writes a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CommandError> {
    write_raw(&json_text(serde_json::to_string_pretty(value)?)).map(|_| ())
}

/// Writes a value as one line of JSON, and breaks off when nobody reads any more.
pub(crate) fn json_line(value: &impl Serialize) -> Result<ControlFlow<()>, CommandError> {
    write_raw(&json_text(serde_json::to_string(value)?))
}

/// The same to the byte, for what carries digests of itself. On a terminal it is escaped all the same.
pub(crate) fn json_line_exactly(value: &impl Serialize) -> Result<ControlFlow<()>, CommandError> {
    if View::is_terminal() {
        return json_line(value);
    }
    write_raw(&serde_json::to_string(value)?)
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
    let mut table = Table::new(head.iter().copied().map(Column::whole));
    for row in rows {
        table.row(row.iter().map(|cell| Cell::plain(cell)));
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table);
    page.print()
}

/// A text from elsewhere on one line, without anything that acts on a terminal.
pub(crate) fn plain(text: &str) -> String {
    printable(&text.replace('\t', " "))
}

/// The same, but lines stay lines.
fn shown(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON in which characters that act on a terminal are written as escapes. They stand in strings
/// alone, so that the value stays the same.
fn json_text(text: String) -> String {
    if text.is_ascii() && !text.contains('\u{7f}') {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let mut buffer = [0; 4];
        let harmless = character == '\n' || {
            let one: &str = character.encode_utf8(&mut buffer);
            printable(one) == one
        };
        if harmless {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// Only for what is escaped already.
fn write_raw(text: &str) -> Result<ControlFlow<()>, CommandError> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a terminal acts on: controls of ISO 6429, and what changes the order or the lines of text.
    fn acts(character: char) -> bool {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    #[test]
    fn escapes() {
        let check = |text: &str, one_line: &str, lines: &str| {
            assert_eq!((plain(text).as_str(), shown(text).as_str()), (one_line, lines));
        };
        check("a é 漢", "a é 漢", "a é 漢");
        check("a\nb", "a\\u{a}b", "a\nb");
        check("a\tb", "a b", "a\tb");
        check("\u{1b}[2J", "\\u{1b}[2J", "\\u{1b}[2J");
        check("x\u{9b}31m", "x\\u{9b}31m", "x\\u{9b}31m");
        check("\u{202e}gpj.exe", "\\u{202e}gpj.exe", "\\u{202e}gpj.exe");
    }

    proptest! {
        #[test]
        fn nothing_printed_acts_on_a_terminal(text in any::<String>()) {
            prop_assert!(!plain(&text).contains(acts));
            prop_assert!(!shown(&text).replace(['\n', '\t'], "").contains(acts));
            let value = serde_json::json!({ text.clone(): [text.clone()] });
            for written in [serde_json::to_string(&value), serde_json::to_string_pretty(&value)] {
                let written = json_text(written.unwrap());
                prop_assert!(!written.replace('\n', "").contains(acts));
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).unwrap(), &value);
            }
        }
    }
}
