//! Pictures of a terminal: what the examples of a page print, drawn in colour.
//!
//! A block marked `console,test,picture=NAME` is drawn into `docs/src/images/NAME.svg`, commands and
//! output, whenever `cargo xtask pictures` runs the page. At every other run what the picture says is
//! held against the block, so that it cannot fall behind its page.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::example::Example;
use crate::say;
use crate::transcript::{difference, matches};

const FOLDER: &str = "docs/src/images";

/// One terminal: the examples of one block.
pub(crate) struct Picture<'a> {
    name: &'a str,
    /// Commands and what they have to print, as the block has them.
    expected: Vec<&'a str>,
    /// Where in the page's examples they are.
    pub(crate) examples: std::ops::Range<usize>,
}

/// The pictures of a page, in order.
pub(crate) fn pictures<'a>(examples: &'a [Example<'a>]) -> Vec<Picture<'a>> {
    let mut pictures: Vec<Picture<'a>> = Vec::new();
    for (number, example) in examples.iter().enumerate() {
        let Some(name) = example.picture else { continue };
        if pictures.last().is_none_or(|last| last.name != name) {
            pictures.push(Picture { name, expected: Vec::new(), examples: number..number });
        }
        if let Some(picture) = pictures.last_mut() {
            picture.examples.end = number + 1;
            picture.expected.extend(example.command.lines());
            picture.expected.extend(&example.expected);
        }
    }
    pictures
}

impl Picture<'_> {
    fn path(&self, root: &Path) -> PathBuf {
        root.join(FOLDER).join(format!("{}.svg", self.name))
    }

    /// Holds the picture that there is against its page.
    ///
    /// # Errors
    /// There is none, or it says something else.
    pub(crate) fn check(&self, root: &Path) -> anyhow::Result<()> {
        let path = self.path(root);
        let again = "run cargo xtask pictures";
        let picture = std::fs::read_to_string(&path)
            .with_context(|| format!("read {}; {again}", path.display()))?;
        let text = text_of(&picture);
        let lines: Vec<&str> = text.iter().map(|line| unprompted(line)).collect();
        anyhow::ensure!(
            matches(&self.expected, &lines),
            "{} does not show what its page says; {again}\n{}",
            path.display(),
            difference(&self.expected, &lines)
        );
        Ok(())
    }

    /// Draws what a terminal shows.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn draw(&self, root: &Path, terminal: &str) -> anyhow::Result<()> {
        let path = self.path(root);
        let drawing = anstyle_svg::Term::new().render_svg(terminal);
        std::fs::write(&path, drawing).with_context(|| format!("write {}", path.display()))?;
        say::line(&format!("  drew {}", path.display()));
        Ok(())
    }
}

fn unprompted(line: &str) -> &str {
    line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")).unwrap_or(line)
}

/// Adds a command and what it printed to what a terminal shows.
pub(crate) fn show(terminal: &mut String, command: &str, output: &str) {
    for (number, line) in command.lines().enumerate() {
        terminal.push_str(if number == 0 { "\x1b[2m$\x1b[0m " } else { "\x1b[2m>\x1b[0m " });
        terminal.push_str(line);
        terminal.push('\n');
    }
    terminal.push_str(output.trim_end());
    terminal.push('\n');
}

/// The lines of text in a drawing: one in each outermost `tspan`.
fn text_of(drawing: &str) -> Vec<String> {
    let lines = drawing.lines().map(str::trim_start).filter(|line| line.starts_with("<tspan x="));
    let mut text: Vec<String> = lines.map(|line| unescape(&untagged(line))).collect();
    while text.last().is_some_and(|line| line.trim().is_empty()) {
        text.pop();
    }
    text
}

fn untagged(line: &str) -> String {
    let mut tag = false;
    line.chars()
        .filter(|&character| {
            let shown = !tag && character != '<';
            tag = character == '<' || tag && character != '>';
            shown
        })
        .collect()
}

fn unescape(text: &str) -> String {
    // The ampersand is the last, so that what it makes is not read again.
    [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Output without its colours.
pub(crate) fn without_colours(output: &str) -> String {
    anstream::adapter::strip_str(output).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::examples;
    use proptest::prelude::*;

    const PAGE: &str = "```console,test\n$ true\n```\n```console,test,picture=a\n$ echo one \\\n>   two\n\
        one...\n$ true\n```\n```console,test,picture=b\n$ echo c\nc\n```\n";

    #[test]
    fn what_is_drawn_is_what_the_page_says() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(FOLDER)).unwrap();
        let examples = examples(PAGE).unwrap();
        let pictures = pictures(&examples);
        let ranges: Vec<_> = pictures.iter().map(|picture| picture.examples.clone()).collect();
        assert_eq!(ranges, [1..3, 3..4]);
        let [first, _] = &pictures[..] else { panic!("two pictures") };
        assert!(first.check(root.path()).unwrap_err().to_string().contains("cargo xtask pictures"));
        let mut terminal = String::new();
        show(&mut terminal, &examples[1].command, "one \x1b[31mtwo\x1b[0m\n");
        show(&mut terminal, &examples[2].command, "");
        first.draw(root.path(), &terminal).unwrap();
        first.check(root.path()).unwrap();
        first.draw(root.path(), &terminal.replace("one", "1")).unwrap();
        let error = first.check(root.path()).unwrap_err().to_string();
        assert!(error.contains("- one...\n"), "{error}");
    }

    proptest! {
        #[test]
        fn any_line_is_read_from_its_drawing(lines in prop::collection::vec("[ -~äß]{1,20}", 1..5)) {
            let mut lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
            // What ends a terminal and is blank is not drawn.
            while lines.last().is_some_and(|line| line.is_empty()) {
                lines.pop();
            }
            let drawing = anstyle_svg::Term::new().render_svg(&lines.join("\n"));
            let text = text_of(&drawing);
            let read: Vec<&str> = text.iter().map(|line| line.trim_end()).collect();
            prop_assert!(matches(&read, &lines), "{:?} {:?}", read, lines);
        }
    }
}
