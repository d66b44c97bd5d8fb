//! The checks, in the order in which a failure is cheapest to learn of.

use std::time::{Duration, Instant};

use crate::workspace::Workspace;
use crate::{
    bench, edges, examples, generated, launcher_size, licences, links, ordinary_user, program, say,
    tests_step, tools::Tools, units,
};

/// Which steps to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) list: bool,
    pub(crate) only: Vec<String>,
    pub(crate) skip: Vec<String>,
}

/// What a step found when it did not fail.
pub(crate) enum Outcome {
    Passed,
    /// Nothing failed, and this much was not checked. Never shown as a plain success.
    Partly(String),
}

struct Step {
    name: &'static str,
    purpose: &'static str,
    run: fn(&Workspace) -> anyhow::Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "format", purpose: "cargo fmt would change nothing", run: format },
    Step {
        name: "edges",
        purpose: "crates depend only on what the table allows",
        run: edges::step,
    },
    Step { name: "links", purpose: "links between pages lead somewhere", run: links::step },
    Step { name: "generated", purpose: "generated files are up to date", run: generated::step },
    Step {
        name: "launcher",
        purpose: "what runs as root stays small and has no async runtime",
        run: launcher_size::step,
    },
    Step {
        name: "units",
        purpose: "units of systemd are in order and no looser than they were",
        run: units::step,
    },
    Step {
        name: "licences",
        purpose: "cargo-deny: licences, bans, sources, advisories",
        run: licences::step,
    },
    Step { name: "clippy", purpose: "no warning in any target", run: clippy },
    Step { name: "tests", purpose: "all tests, as the user who runs this", run: tests_step::step },
    Step {
        name: "ordinary-user",
        purpose: "the tests of confinement again, without root",
        run: ordinary_user::step,
    },
    Step { name: "benches", purpose: "one round of every benchmark", run: bench::step },
    Step { name: "docs", purpose: "the examples of the documentation", run: examples::step },
];

/// Runs the chosen steps; a failing step does not keep the others from running.
///
/// Returns whether none failed.
///
/// # Errors
/// A name stands for no step.
pub(crate) fn run(workspace: &Workspace, choice: &Choice) -> anyhow::Result<bool> {
    let steps = choose(choice)?;
    if choice.list {
        for step in &steps {
            say::data(&format!("{:<14} {}", step.name, step.purpose));
        }
        return Ok(true);
    }
    let start = Instant::now();
    let mut lines = Vec::new();
    let mut failed = 0_usize;
    for step in &steps {
        say::line(&format!("==> {}: {}", step.name, step.purpose));
        let began = Instant::now();
        let (word, note) = match (step.run)(workspace) {
            Ok(Outcome::Passed) => ("ok", String::new()),
            Ok(Outcome::Partly(note)) => ("partly", note),
            Err(error) => {
                failed += 1;
                say::line(&format!("{}: {error:#}", step.name));
                (
                    "FAILED",
                    format!("see above; again with: cargo xtask verify --only {}", step.name),
                )
            }
        };
        lines.push(summary(step.name, word, began.elapsed(), &note));
    }
    say::line("");
    for line in &lines {
        say::line(line);
    }
    let total = say::duration(start.elapsed());
    say::line(&match failed {
        0 => format!("verify: no step failed, {} run, {total}", steps.len()),
        _ => format!("verify: {failed} of {} steps failed, {total}", steps.len()),
    });
    Ok(failed == 0)
}

fn choose(choice: &Choice) -> anyhow::Result<Vec<&'static Step>> {
    for name in choice.only.iter().chain(&choice.skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            anyhow::bail!("no step is called {name}; there are {}", known.join(", "));
        }
    }
    let wanted = |step: &&Step| {
        let named = |names: &[String]| names.iter().any(|name| name == step.name);
        (choice.only.is_empty() || named(&choice.only)) && !named(&choice.skip)
    };
    Ok(STEPS.iter().filter(wanted).collect())
}

fn summary(name: &str, word: &str, time: Duration, note: &str) -> String {
    let line = format!("{name:<14} {word:<7} {:>12}  {note}", say::duration(time));
    line.trim_end().to_owned()
}

fn format(workspace: &Workspace) -> anyhow::Result<Outcome> {
    program::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

fn clippy(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let mut command = workspace.cargo();
    Tools::of(workspace).offer(&mut command);
    command.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    program::run(&mut command)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(only: &[&str], skip: &[&str], expected: Result<&[&str], &str>) {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let choice = Choice { list: false, only: own(only), skip: own(skip) };
        match (choose(&choice), expected) {
            (Ok(steps), Ok(names)) => {
                assert_eq!(steps.iter().map(|step| step.name).collect::<Vec<_>>(), names);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (Ok(_), Err(_)) => panic!("{only:?} {skip:?} should be refused"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[test]
    fn steps_are_chosen_by_name() {
        let all: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        check(&[], &[], Ok(&all));
        check(&["tests", "format"], &[], Ok(&["format", "tests"]));
        check(&["tests", "format"], &["tests"], Ok(&["format"]));
        check(&[], &all[1..], Ok(&["format"]));
        check(&["test"], &[], Err("no step is called test; there are format"));
        check(&[], &["nothing"], Err("no step is called nothing"));
    }

    #[test]
    fn what_was_not_checked_is_never_called_ok() {
        let line = summary("licences", "partly", Duration::from_secs(2), "advisories: not checked");
        assert!(!line.contains("ok") && line.contains("not checked"), "{line}");
    }
}
