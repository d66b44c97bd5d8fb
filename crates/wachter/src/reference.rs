//! Keeps `docs/src/commands.md` as the commands are. `WACHTER_UPDATE=1` writes it anew.

use std::fmt::Write;
use std::path::Path;

use clap::{Command, CommandFactory};

const INTRODUCTION: &str = "# Commands

Every command takes the options of `wachter` itself: where this host's files are, and `--output json` for what it prints. Data
goes to stdout, everything else to stderr.
";

fn describe(command: &Command, path: &str, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let path = if path.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{path} {}", command.get_name())
    };
    // The width is fixed, so that the terminal of who runs this does not matter.
    // What holds for all commands stands once, at the top.
    let below = path.contains(' ');
    let command = command.clone().mut_args(|argument| {
        let said = below && argument.is_global_set();
        argument.hide(said)
    });
    let help = command.clone().bin_name(&path).term_width(100).render_long_help();
    let help: Vec<String> =
        help.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    let level = "#".repeat(path.split(' ').count().min(3) + 1);
    write!(text, "\n{level} {path}\n\n```text\n{}\n```\n", help.join("\n").trim_end())
        .expect("a string takes everything");
    for command in command.get_subcommands() {
        describe(command, &path, text);
    }
}

#[test]
fn the_reference_of_commands_is_current() {
    let mut command = crate::Arguments::command();
    // Global options are passed on to the commands only now.
    command.build();
    let mut text = INTRODUCTION.to_owned();
    describe(&command, "", &mut text);
    let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo tells where the crate is");
    let path = Path::new(&root).join("../../docs/src/commands.md");
    if std::env::var_os("WACHTER_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/src/commands.md is stale; run `cargo xtask generate`");
}
