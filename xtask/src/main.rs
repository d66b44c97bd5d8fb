//! The project's own chores: set up a machine, verify the work, write what is generated, run the
//! examples of the documentation.
//!
//! Absences: nothing here is linked into what users run; no step changes a file that Git tracks,
//! but for `generate` and `pictures`; no step reports success for a check that was not made.

mod bench;
mod debian;
mod demo;
mod dist;
mod edges;
mod example;
mod examples;
mod generated;
mod launcher_size;
mod licences;
mod links;
mod markdown;
mod ordinary_user;
mod package;
mod picture;
mod program;
mod say;
mod setup;
mod soak;
mod tests_step;
mod tools;
mod transcript;
mod units;
mod verify;
mod vm_test;
mod workspace;

use std::process::ExitCode;

use anyhow::Context as _;
use lexopt::prelude::*;

use crate::workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

Commands:
  demo       build, and show the main job on this machine
  bench      measure, beside peers in the same run
  test       set up, then verify (what continuous integration runs)
  verify     run every check; see --list
  setup      install what the checks need
  generate   write the generated files
  dist       build what is shipped into target/dist
  docs       run the examples of the documentation
  pictures   run them, and draw their pictures
  soak       run the long tests: kills, backlogs
  package    pack what is shipped into a Debian package
  vm-test    boot a machine, install the package, and see what systemd and its kernel keep

Options of test and verify:
  --list         print the steps and end
  --only STEP    run this step alone (may be repeated)
  --skip STEP    leave this step out (may be repeated)

Options of bench:
  --quick        a few rounds of each, for a look

Options of docs and pictures:
  --page TEXT    pages alone whose path has this in it

Options of soak:
  --rounds N     kills (1000)

  -h, --help     print this page
";

/// What the command line asked for.
enum Command {
    Help,
    Bench { quick: bool },
    Package,
    VmTest,
    Demo,
    Dist,
    Test(verify::Choice),
    Verify(verify::Choice),
    Setup,
    Generate,
    Docs { page: Option<String> },
    Pictures { page: Option<String> },
    Soak { rounds: u64 },
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<bool> {
    if let Command::Help = command {
        say::data(USAGE.trim_end());
        return Ok(true);
    }
    let workspace = Workspace::load()?;
    match command {
        Command::Help => Ok(true),
        Command::Bench { quick } => bench::run(&workspace, quick).map(|()| true),
        Command::Package => package::run(&workspace).map(|()| true),
        Command::VmTest => vm_test::run(&workspace).map(|()| true),
        Command::Demo => demo::run(&workspace).map(|()| true),
        Command::Dist => dist::run(&workspace).map(|()| true),
        Command::Test(choice) => {
            if !choice.list {
                setup::run(&workspace)?;
            }
            verify::run(&workspace, &choice)
        }
        Command::Verify(choice) => verify::run(&workspace, &choice),
        Command::Setup => setup::run(&workspace).map(|()| true),
        Command::Soak { rounds } => soak::run(&workspace, rounds).map(|()| true),
        Command::Generate => generated::write(&workspace).map(|()| true),
        Command::Pictures { page } => examples::draw(&workspace, page.as_deref()).map(|()| true),
        Command::Docs { page: Some(page) } => examples::check(&workspace, &page).map(|()| true),
        Command::Docs { page: None } => verify::run(
            &workspace,
            &verify::Choice { only: vec!["docs".to_owned()], ..verify::Choice::default() },
        ),
    }
}

fn parse(mut arguments: lexopt::Parser) -> anyhow::Result<Command> {
    let mut name: Option<String> = None;
    let mut choice = verify::Choice::default();
    let mut quick = false;
    let mut rounds = None;
    let mut page = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("quick") => quick = true,
            Long("rounds") => rounds = Some(arguments.value()?.parse()?),
            Long("page") => page = Some(arguments.value()?.string()?),
            Long("list") => choice.list = true,
            Long("only") => choice.only.push(arguments.value()?.string()?),
            Long("skip") => choice.skip.push(arguments.value()?.string()?),
            Value(value) if name.is_none() => name = Some(value.string()?),
            other => return Err(other.unexpected()).context("see cargo xtask --help"),
        }
    }
    let takes_choice = matches!(name.as_deref(), Some("test" | "verify"));
    if !takes_choice && choice != verify::Choice::default() {
        anyhow::bail!("--list, --only and --skip belong to test and verify");
    }
    if quick && name.as_deref() != Some("bench") {
        anyhow::bail!("--quick belongs to bench");
    }
    if rounds.is_some() && name.as_deref() != Some("soak") {
        anyhow::bail!("--rounds belongs to soak");
    }
    if page.is_some() && !matches!(name.as_deref(), Some("docs" | "pictures")) {
        anyhow::bail!("--page belongs to docs and pictures");
    }
    match name.as_deref() {
        None => Ok(Command::Help),
        Some("bench") => Ok(Command::Bench { quick }),
        Some("package") => Ok(Command::Package),
        Some("vm-test") => Ok(Command::VmTest),
        Some("demo") => Ok(Command::Demo),
        Some("dist") => Ok(Command::Dist),
        Some("test") => Ok(Command::Test(choice)),
        Some("verify") => Ok(Command::Verify(choice)),
        Some("setup") => Ok(Command::Setup),
        Some("generate") => Ok(Command::Generate),
        Some("docs") => Ok(Command::Docs { page }),
        Some("pictures") => Ok(Command::Pictures { page }),
        Some("soak") => Ok(Command::Soak { rounds: rounds.unwrap_or(soak::ROUNDS) }),
        Some(other) => anyhow::bail!("no command is called {other}; see cargo xtask --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: Result<&str, &str>) {
        let parsed = parse(lexopt::Parser::from_args(words));
        let shown = parsed.map(|command| match command {
            Command::Help => "help".to_owned(),
            Command::Test(choice) => format!("test {choice:?}"),
            Command::Verify(choice) => format!("verify {choice:?}"),
            Command::Setup => "setup".to_owned(),
            Command::Generate => "generate".to_owned(),
            Command::Docs { page } => format!("docs {page:?}"),
            Command::Pictures { page } => format!("pictures {page:?}"),
            Command::Soak { rounds } => format!("soak {rounds}"),
            Command::Bench { quick } => format!("bench {quick}"),
            Command::Package => "package".to_owned(),
            Command::VmTest => "vm-test".to_owned(),
            Command::Demo => "demo".to_owned(),
            Command::Dist => "dist".to_owned(),
        });
        match (shown, expected) {
            (Ok(shown), Ok(start)) => assert!(shown.starts_with(start), "{words:?}: {shown}"),
            (Err(error), Err(part)) => {
                assert!(format!("{error:#}").contains(part), "{words:?}: {error:#}");
            }
            (shown, expected) => panic!("{words:?}: {shown:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn commands_and_their_options() {
        check(&[], Ok("help"));
        check(&["verify", "--help"], Ok("help"));
        check(&["setup"], Ok("setup"));
        check(&["package"], Ok("package"));
        check(&["vm-test"], Ok("vm-test"));
        check(
            &["verify", "--only", "tests", "--only=docs"],
            Ok(r#"verify Choice { list: false, only: ["tests", "docs"], skip: [] }"#),
        );
        check(
            &["--skip", "tests", "test"],
            Ok(r#"test Choice { list: false, only: [], skip: ["tests"] }"#),
        );
        check(&["bench"], Ok("bench false"));
        check(&["bench", "--quick"], Ok("bench true"));
        check(&["dist", "--quick"], Err("belongs to bench"));
        check(&["docs"], Ok("docs None"));
        check(&["pictures", "--page", "bus"], Ok("pictures Some(\"bus\")"));
        check(&["soak", "--page", "bus"], Err("belongs to docs"));
        check(&["soak"], Ok("soak 1000"));
        check(&["soak", "--rounds", "7"], Ok("soak 7"));
        check(&["soak", "--rounds", "many"], Err("many"));
        check(&["bench", "--rounds", "7"], Err("belongs to soak"));
        check(&["docs", "--list"], Err("belong to test and verify"));
        check(&["verify", "--only"], Err("missing argument"));
        check(&["verify", "again"], Err("unexpected argument"));
        check(&["verfiy"], Err("no command is called verfiy"));
    }
}
