//! Runs the tests that are too long for every commit: the same tests, with more rounds.

use std::time::Instant;

use crate::tests_step::EXECUTABLES;
use crate::workspace::Workspace;
use crate::{dist, program, say};

/// A test whose length a variable sets.
struct Soak {
    name: &'static str,
    package: &'static str,
    /// The test in the package's one binary of integration tests.
    test: &'static str,
    variable: &'static str,
    length: Length,
}

enum Length {
    /// What `--rounds` says.
    Rounds,
    Fixed(u64),
}

const SOAKS: [Soak; 4] = [
    Soak {
        name: "bus: kill -9 of a process that publishes, consumes, fails, counts and prunes",
        package: "wachter-bus",
        test: "kill::nothing_acknowledged_is_lost_and_only_what_was_in_flight_comes_again",
        variable: "WACHTER_BUS_ROUNDS",
        length: Length::Rounds,
    },
    Soak {
        name: "bus: a backlog of a million events in bounded memory, others unharmed",
        package: "wachter-bus",
        test: "overload::a_backlog_takes_no_memory_and_harms_nobody_else",
        variable: "WACHTER_BUS_BACKLOG",
        length: Length::Fixed(1_000_000),
    },
    Soak {
        name: "agents: random sequences of all that can happen to them",
        package: "wachter-runtime",
        test: "sequences::nothing_is_lost_and_nothing_done_twice",
        variable: "PROPTEST_CASES",
        length: Length::Rounds,
    },
    Soak {
        name: "node: kill -9 of it or its launcher while agents are at work",
        package: "wachter",
        test: "kills::nothing_acknowledged_is_lost_by_kills",
        variable: "WACHTER_KILL_ROUNDS",
        length: Length::Rounds,
    },
];

/// The rounds where none are asked for.
pub(crate) const ROUNDS: u64 = 1_000;

/// Runs all, one after the other, and says what each took.
///
/// # Errors
/// One does not compile or fails.
pub(crate) fn run(workspace: &Workspace, rounds: u64) -> anyhow::Result<()> {
    // Without optimization a node that was killed looks through its journal for seconds.
    dist::run(workspace)?;
    let executables = workspace.target.join("dist");
    for Soak { name, package, test, variable, length } in &SOAKS {
        let count = match length {
            Length::Rounds => rounds,
            Length::Fixed(count) => *count,
        };
        say::line(&format!("\n== {name}: {count}"));
        let begun = Instant::now();
        let mut cargo = workspace.cargo();
        cargo.args(["test", "--quiet", "--package", package, "--test", "it", "--", "--exact"]);
        cargo.args([*test, "--nocapture"]).env(variable, count.to_string());
        program::run(cargo.env(EXECUTABLES, &executables))?;
        say::line(&format!("  ok after {}", say::duration(begun.elapsed())));
    }
    Ok(())
}
