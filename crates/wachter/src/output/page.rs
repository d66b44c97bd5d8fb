use std::io::IsTerminal as _;

use console::{Term, colors_enabled};

use super::{Table, Tone, plain, write_raw};
use crate::failure::CommandError;

/// What stdout can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// How many columns there are; none where it is no terminal.
    pub(crate) width: Option<usize>,
    /// Whether it shows colours, and whoever looks wants them: <https://no-color.org>.
    pub(crate) colour: bool,
    /// Whether it shows more than ASCII.
    pub(crate) unicode: bool,
}

/// Lines for a person, escaped and laid out.
#[derive(Debug)]
pub(crate) struct Page {
    lines: Vec<String>,
    view: View,
}

impl View {
    /// As the standard output is.
    pub(crate) fn of_stdout() -> Self {
        let stdout = Term::stdout();
        let width = stdout.size_checked().map(|(_, columns)| usize::from(columns));
        Self { width, colour: colors_enabled(), unicode: unicode(|name| std::env::var(name).ok()) }
    }

    /// Whether somebody sees at once what is written.
    pub(crate) fn is_terminal() -> bool {
        std::io::stdout().is_terminal()
    }

    /// For tests and files.
    #[cfg(test)]
    pub(crate) const fn plain(width: Option<usize>) -> Self {
        Self { width, colour: false, unicode: true }
    }

    pub(super) fn paint(&self, text: &str, tone: Tone) -> String {
        if self.colour { tone.paint(text) } else { text.to_owned() }
    }

    /// Stands for what was cut off.
    pub(super) const fn ellipsis(&self) -> &'static str {
        if self.unicode { "…" } else { "~" }
    }
}

/// Whether the locale is one of UTF-8: the first of these variables that says something decides
/// (POSIX.1-2024, Base Definitions, 8.2).
fn unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

impl Page {
    pub(crate) const fn new(view: View) -> Self {
        Self { lines: Vec::new(), view }
    }

    pub(crate) const fn view(&self) -> View {
        self.view
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: &str) {
        self.toned_line(text, Tone::Plain);
    }

    /// The same, with a meaning.
    pub(crate) fn toned_line(&mut self, text: &str, tone: Tone) {
        let line = self.view.paint(&plain(text), tone);
        self.lines.push(line);
    }

    /// Text of several lines, which stay so.
    pub(crate) fn text(&mut self, text: &str) {
        for line in text.split('\n') {
            self.line(line);
        }
    }

    /// A name and its value.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.toned_field(name, value, Tone::Plain);
    }

    /// The same, with a meaning.
    pub(crate) fn toned_field(&mut self, name: &str, value: &str, tone: Tone) {
        let value = self.view.paint(&plain(value), tone);
        self.lines.push(format!("{:12} {value}", plain(name)).trim_end().to_owned());
    }

    /// An empty line, but not at the top.
    pub(crate) fn gap(&mut self) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
    }

    /// A table with its heading.
    pub(crate) fn table(&mut self, table: &Table) {
        let lines = table.lines(&self.view);
        self.lines.extend(lines);
    }

    /// The rows of a table, below those that were there before.
    pub(crate) fn rows(&mut self, table: &Table) {
        let lines = table.rows_alone(&self.view);
        self.lines.extend(lines);
    }

    /// A table below a heading of its own; nothing where it has no row.
    pub(crate) fn section(&mut self, heading: &str, table: &Table) {
        if !table.is_empty() {
            self.gap();
            self.toned_line(heading, Tone::Strong);
            self.table(table);
        }
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(crate) fn print(&self) -> Result<(), CommandError> {
        self.print_while_read().map(|_| ())
    }

    /// Breaks off when nobody reads any more.
    pub(crate) fn print_while_read(&self) -> Result<std::ops::ControlFlow<()>, CommandError> {
        if self.lines.is_empty() {
            return Ok(std::ops::ControlFlow::Continue(()));
        }
        write_raw(&self.lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_elsewhere_makes_a_line_of_its_own() {
        let mut page = Page::new(View::plain(None));
        page.gap();
        page.field("message", "fine\nnode         not running\u{1b}[1A");
        page.toned_field("empty", "", Tone::Bad);
        page.text("{\n  1\r\n}");
        assert_eq!(
            page.lines(),
            [
                "message      fine\\u{a}node         not running\\u{1b}[1A",
                "empty",
                "{",
                "  1\\u{d}",
                "}"
            ]
        );
    }

    #[test]
    fn knows_utf_8_by_its_locale() {
        let check = |set: &[(&str, &str)], expected: bool| {
            let variable = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(unicode(variable), expected, "{set:?}");
        };
        check(&[], false);
        check(&[("LANG", "en_US.UTF-8")], true);
        check(&[("LANG", "nl_NL.utf8")], true);
        check(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false);
        check(&[("LC_ALL", ""), ("LC_CTYPE", "C.UTF-8"), ("LANG", "C")], true);
    }
}
