//! The examples of a page: blocks marked `console,test`.
//!
//! ```text
//! $ command            run by bash; lines that begin with `> `, or are `>`, continue it
//! expected output      see `transcript`
//! [exit 3]             the command must end so; without this line, with 0
//! ```
//!
//! `console,test,picture=NAME` has a [drawing](crate::picture) too. `console,test,needs=WHAT` is left
//! out, and said to be, where there is no such program, or no file at this path.

use crate::markdown::{Fence, Page};

const CONSOLE: &str = "console";
const TEST: &str = "test";
const PICTURE: &str = "picture=";
const NEEDS: &str = "needs=";

/// One command and what the page says about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Example<'a> {
    /// The line of the page on which the command stands, from one.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) expected: Vec<&'a str>,
    pub(crate) exit: i32,
    /// The name of the drawing of its block.
    pub(crate) picture: Option<&'a str>,
    /// A program, or the path of a file, without which its block is left out.
    pub(crate) needs: Option<&'a str>,
}

/// The examples of a page that are tests, in order.
///
/// # Errors
/// A block holds text before its first command, or an exit line that is not its command's last.
/// The error begins with the line's number.
pub(crate) fn examples(text: &str) -> anyhow::Result<Vec<Example<'_>>> {
    let mut examples = Vec::new();
    for fence in Page::parse(text).fences.iter().filter(|fence| is_test(fence.info)) {
        examples.extend(of_block(fence)?);
    }
    Ok(examples)
}

fn is_test(info: &str) -> bool {
    words(info).any(|word| word == CONSOLE) && words(info).any(|word| word == TEST)
}

fn words(info: &str) -> impl Iterator<Item = &str> {
    info.split([',', ' '])
}

fn of_block<'a>(fence: &Fence<'a>) -> anyhow::Result<Vec<Example<'a>>> {
    let mut examples: Vec<Example<'a>> = Vec::new();
    let picture = words(fence.info).find_map(|word| word.strip_prefix(PICTURE));
    let needs = words(fence.info).find_map(|word| word.strip_prefix(NEEDS));
    let mut ended = false;
    for (number, line) in (fence.line..).zip(&fence.lines) {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = command.to_owned();
            let expected = Vec::new();
            examples.push(Example { line: number, command, expected, exit: 0, picture, needs });
            ended = false;
            continue;
        }
        let Some(example) = examples.last_mut() else {
            anyhow::bail!("{number}: a block of examples begins with a command: $ ...");
        };
        anyhow::ensure!(!ended, "{number}: after [exit N] comes the next command");
        match line.strip_prefix("> ").or_else(|| (*line == ">").then_some("")) {
            Some(more) if example.expected.is_empty() => {
                example.command.push('\n');
                example.command.push_str(more);
            }
            _ => match exit_code(line) {
                Some(code) => {
                    example.exit = code;
                    ended = true;
                }
                None => example.expected.push(line),
            },
        }
    }
    for example in &mut examples {
        while example.expected.last().is_some_and(|line| line.trim().is_empty()) {
            example.expected.pop();
        }
    }
    Ok(examples)
}

fn exit_code(line: &str) -> Option<i32> {
    line.trim().strip_prefix("[exit ")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_output_and_exit_codes() {
        let text = "# Page\n```console,test\n$ echo a\na\n\n$ cat <<E\n> b\n>\n> E\nb\n\n$ false\n[exit 1]\n```\n\
            ```console\n$ not run\n```\n``` console, test\n$ true\n```\n";
        let found = examples(text).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|example| {
                (example.line, example.command.as_str(), example.expected.clone(), example.exit)
            })
            .collect();
        assert_eq!(
            shown,
            [
                (3, "echo a", vec!["a"], 0),
                (6, "cat <<E\nb\n\nE", vec!["b"], 0),
                (12, "false", vec![], 1),
                (19, "true", vec![], 0),
            ]
        );
    }

    #[test]
    fn misplaced_lines_are_refused_with_their_number() {
        for (text, expected) in [
            ("```console,test\noutput\n```", "2: a block of examples begins"),
            ("```console,test\n$ false\n[exit 1]\nmore\n```", "4: after [exit N]"),
        ] {
            assert!(examples(text).unwrap_err().to_string().starts_with(expected), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(```console,test\n|\\$ a\n|> b\n|\\[exit 1\\]\n|```\n|c\n){0,12}") {
            if let Ok(found) = examples(&text) {
                let commands = text.lines().filter(|line| line.starts_with("$ ")).count();
                prop_assert!(found.len() <= commands);
            }
        }
    }
}
