//! Runs the examples of the documentation as a reader would, page by page.
//!
//! A page starts in an empty home folder with the built executables on `PATH`. Each command runs in
//! a bash of its own under `set -eu`; the working folder, exported variables and files carry over to
//! the page's next command. Whatever a page leaves running is killed at its end. A page stops at its
//! first example that fails, since those below build on it.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::example::{Example, examples};
use crate::picture::pictures;
use crate::tests_step::build_executables;
use crate::tools::Tools;
use crate::transcript::{difference, matches};
use crate::verify::Outcome;
use crate::workspace::{Workspace, read_text};
use crate::{picture, program, say};

/// The longest that a page may take: seconds.
const PAGE_SECONDS: u32 = 300;

/// What is done about pictures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pictures {
    Check,
    Draw,
}

/// What running a page came to.
enum Ran {
    /// All is as the page says: what each command printed.
    AsSaid(Vec<String>),
    /// Its first example that is not as the page says.
    Otherwise(String),
}

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    run_pages(workspace, Pictures::Check, "")
}

/// Runs the pages whose path has `page` in it.
///
/// # Errors
/// One does not do what it says, or there is none.
pub(crate) fn check(workspace: &Workspace, page: &str) -> anyhow::Result<()> {
    run_pages(workspace, Pictures::Check, page).map(|_| ())
}

/// Runs the pages that have pictures, and draws them.
///
/// # Errors
/// A page does not do what it says, or a picture cannot be written.
pub(crate) fn draw(workspace: &Workspace, page: Option<&str>) -> anyhow::Result<()> {
    run_pages(workspace, Pictures::Draw, page.unwrap_or_default()).map(|_| ())
}

fn run_pages(workspace: &Workspace, way: Pictures, page: &str) -> anyhow::Result<Outcome> {
    let mut pages = Vec::new();
    for path in workspace.files(".md")? {
        if path == Path::new("README.md") || path.starts_with("docs/src") {
            let text = read_text(&workspace.root.join(&path))?;
            if path.to_string_lossy().contains(page) {
                pages.push((path, text));
            }
        }
    }
    let with_examples = pages.iter().filter(|(_, text)| text.contains("console,test")).count();
    anyhow::ensure!(page.is_empty() || with_examples > 0, "no page with {page:?} has an example");
    if with_examples == 0 {
        return Ok(Outcome::Partly("no page has an example to run".to_owned()));
    }
    let executables = build_executables(workspace)?;
    let folder = tempfile::tempdir().context("create a folder for executables")?;
    for executable in &executables {
        let name = executable.file_name().context("an executable has no name")?;
        std::os::unix::fs::symlink(executable, folder.path().join(name))
            .with_context(|| format!("link {}", executable.display()))?;
    }
    let tools = Tools::of(workspace);
    let path = std::env::join_paths(
        std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&tools.path())),
    )?;
    let mut failures = 0_usize;
    for (page, text) in &pages {
        let mut found = examples(text).with_context(|| page.display().to_string())?;
        found.retain(|example| {
            let missing = example.needs.filter(|needed| !is_there(&tools, needed));
            if let Some(needed) = missing {
                let (page, line) = (page.display(), example.line);
                say::line(&format!("  left out, as there is no {needed}: {page}:{line}"));
            }
            missing.is_none()
        });
        let pictures = pictures(&found);
        if found.is_empty() || way == Pictures::Draw && pictures.is_empty() {
            continue;
        }
        say::line(&format!("  {}: {} examples", page.display(), found.len()));
        let ran = run_page(page, &found, way, |command| {
            command.env("PATH", &path).env("WACHTER_BIN_DIR", folder.path());
            offer_cargo(workspace, command);
        })?;
        match ran {
            Ran::AsSaid(outputs) => {
                for picture in pictures {
                    match way {
                        Pictures::Check => picture.check(&workspace.root)?,
                        Pictures::Draw => {
                            let shown = picture.examples.clone();
                            picture.draw(
                                &workspace.root,
                                &terminal(&found[shown.clone()], &outputs[shown]),
                            )?;
                        }
                    }
                }
            }
            Ran::Otherwise(failure) => {
                say::line(&failure);
                failures += 1;
            }
        }
    }
    anyhow::ensure!(failures == 0, "the examples of {failures} pages do not do what they say");
    Ok(Outcome::Passed)
}

/// Whether there is a program of this name, or a file at this path.
fn is_there(tools: &Tools, needed: &str) -> bool {
    let path = Path::new(needed);
    if path.is_absolute() { path.exists() } else { tools.find(needed).is_some() }
}

/// Whoever reads how to write a module in Rust has it, and a clone of the repository.
fn offer_cargo(workspace: &Workspace, command: &mut Command) {
    let home = std::env::home_dir().unwrap_or_default();
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        command.env(name, std::env::var_os(name).unwrap_or_else(|| home.join(folder).into()));
    }
    if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command
        .env("WACHTER_SOURCE", &workspace.root)
        // Kept from one time to the next.
        .env("CARGO_TARGET_DIR", workspace.target.join("examples"));
}

/// Runs one page.
fn run_page(
    page: &Path,
    examples: &[Example<'_>],
    way: Pictures,
    prepare: impl FnOnce(&mut Command),
) -> anyhow::Result<Ran> {
    let folder = tempfile::tempdir().context("create a folder for the page")?;
    let home = folder.path().join("home");
    let notes = folder.path().join("notes");
    for path in [&home, &notes] {
        std::fs::create_dir(path).with_context(|| format!("create {}", path.display()))?;
    }
    let driver = notes.join("driver.bash");
    std::fs::write(&driver, write_driver(&notes, examples, way)?)
        .context("write the page's driver")?;
    let mut command = program::command("timeout", &home);
    // `timeout` leads a process group, and the driver ends by killing it, itself included.
    command
        .args(["--kill-after=5", &PAGE_SECONDS.to_string(), "bash", "--noprofile", "--norc"])
        .arg(&driver)
        .env_clear()
        .envs(
            ["USER", "LOGNAME", "CI"]
                .into_iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
        )
        .env("HOME", &home)
        .env("TERM", "dumb")
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .process_group(0);
    prepare(&mut command);
    command.status().context("start timeout")?;
    let mut outputs = Vec::new();
    for (number, example) in examples.iter().enumerate() {
        let output = std::fs::read(notes.join(format!("{number}.out"))).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        if let Some(failure) =
            judge(page, example, &notes, number, &picture::without_colours(&output))?
        {
            return Ok(Ran::Otherwise(failure));
        }
        outputs.push(output);
    }
    Ok(Ran::AsSaid(outputs))
}

/// What a terminal shows after some examples.
fn terminal(examples: &[Example<'_>], outputs: &[String]) -> String {
    let mut shown = String::new();
    for (example, output) in examples.iter().zip(outputs) {
        picture::show(&mut shown, &example.command, output);
    }
    shown
}

/// The script that runs every command of a page and notes output and exit code of each.
fn write_driver(notes: &Path, examples: &[Example<'_>], way: Pictures) -> anyhow::Result<String> {
    let notes_quoted = quote(notes)?;
    let mut script = format!("cd \"$HOME\"\nnotes={notes_quoted}\ndeclare -px >\"$notes/state\"\n");
    for (number, example) in examples.iter().enumerate() {
        let file = notes.join(format!("{number}.bash"));
        std::fs::write(&file, format!("{}\n", example.command)).context("write a command")?;
        // What is drawn is drawn in colour.
        let colour = match example.picture {
            Some(_) if way == Pictures::Draw => "unset NO_COLOR; export CLICOLOR_FORCE=1",
            _ => "unset CLICOLOR_FORCE; export NO_COLOR=1",
        };
        // Inside the subshell `set -e` holds; the trap keeps what the next command needs.
        writeln!(
            script,
            r#"(
  save() {{ code=$?; {{ declare -px; printf 'cd %q\n' "$PWD"; }} >"$notes/state"; exit "$code"; }}
  . "$notes/state"
  {colour}
  trap save EXIT
  set -eu
  . "$notes/{number}.bash"
) >"$notes/{number}.out" 2>&1 </dev/null
code=$?
echo "$code" >"$notes/{number}.code"
[ "$code" = {exit} ] || kill -KILL 0"#,
            exit = example.exit,
        )?;
    }
    script.push_str("kill -KILL 0\n");
    Ok(script)
}

fn judge(
    page: &Path,
    example: &Example<'_>,
    notes: &Path,
    number: usize,
    output: &str,
) -> anyhow::Result<Option<String>> {
    let place = format!("{}:{}: $ {}", page.display(), example.line, example.command);
    let Ok(code) = std::fs::read_to_string(notes.join(format!("{number}.code"))) else {
        return Ok(Some(format!(
            "{place}\nwas still running when the page's {PAGE_SECONDS} s were over\n{output}"
        )));
    };
    let code: i32 = code.trim().parse().context("read an exit code")?;
    let actual: Vec<&str> = output.trim_end().lines().collect();
    if code != example.exit {
        return Ok(Some(format!(
            "{place}\nended with {code}, expected {}\n{output}",
            example.exit
        )));
    }
    Ok((!matches(&example.expected, &actual))
        .then(|| format!("{place}\n{}", difference(&example.expected, &actual))))
}

fn quote(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(blocks: &str, expected: Option<&str>) {
        let text = format!("```console,test\n{blocks}\n```\n");
        let examples = examples(&text).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let ran = run_page(Path::new("page.md"), &examples, Pictures::Check, |command| {
            command.env("PATH", path);
        })
        .unwrap();
        match (&ran, expected) {
            (Ran::AsSaid(_), None) => {}
            (Ran::Otherwise(text), Some(part)) => assert!(text.contains(part), "{blocks}: {text}"),
            (Ran::AsSaid(outputs), Some(_)) => panic!("{blocks}: {outputs:?}"),
            (Ran::Otherwise(text), None) => panic!("{blocks}: {text}"),
        }
    }

    #[test]
    fn output_and_exit_code_are_compared() {
        check("$ echo one\none", None);
        check("$ printf 'a\\nb\\nc\\n'\na\n...", None);
        check("$ true", None);
        check("$ echo to stderr >&2\nto stderr", None);
        check("$ exit 3\n[exit 3]", None);
        check("$ echo one\ntwo", Some("page.md:2: $ echo one\n- two\n+ one"));
        check("$ true\n$ false", Some("page.md:3: $ false\nended with 1, expected 0"));
        check("$ true\n[exit 1]", Some("ended with 0, expected 1"));
    }

    #[test]
    fn a_command_stops_at_its_first_failure() {
        check("$ false; echo reached\n[exit 1]", None);
        check("$ echo \"$unset_name\"\n...\n[exit 1]", None);
    }

    #[test]
    fn a_page_keeps_folder_variables_and_files() {
        check("$ mkdir a && cd a && touch b && export C='d e'\n$ ls; echo \"$C\"\nb\nd e", None);
        check("$ pwd\n...home\n$ echo \"$HOME\"\n...home", None);
    }

    #[test]
    fn what_a_page_leaves_running_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // The reader of a pipe sees its end only when every writer is gone.
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        let opened = format!("$ exec 3>{}", quote(&pipe).unwrap());
        check(&format!("{opened}; echo started >&3; sleep 1000 >&3 &"), None);
        assert_eq!(reader.join().unwrap(), b"started\n");
    }
}
