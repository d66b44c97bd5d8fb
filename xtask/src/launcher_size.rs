//! What runs as root stays small enough to read.

use std::collections::BTreeSet;

use crate::verify::Outcome;
use crate::workspace::Workspace;
use crate::{program, say};

const LAUNCHER: &str = "wachter-launcher";

/// The most crates that may be linked into the launcher, itself included; procedural macros run in
/// the compiler and do not count. Each is code that somebody has to trust with root. Verifying
/// signatures of Ed25519 and ECDSA P-256 takes about 25, reading YAML ten, opening secrets thirteen. This is
/// what is linked now, so that the next crate is a decision; it may only go down.
const LIMIT: usize = 71;

/// Crates that must not be reached at any depth.
const NEVER: &[(&str, &str)] = &[
    ("tokio", "the launcher forks, so it has one thread and no runtime"),
    ("mio", "the launcher forks, so it has one thread and no runtime"),
    ("rayon", "the launcher forks, so it has one thread"),
    ("gix", "the launcher opens no repository"),
    ("hyper", "the launcher has no network"),
    ("rustls", "the launcher has no network"),
    (
        "rsa",
        "roots and publishers have Ed25519 or ECDSA P-256 keys; turn the feature of wachter-trust off",
    ),
    (
        "p384",
        "roots and publishers have Ed25519 or ECDSA P-256 keys; turn the feature of wachter-trust off",
    ),
    ("schemars", "what runs as root publishes no schemas; turn the feature `schema` off"),
    ("ssh-key", "the launcher signs nothing; turn the feature `private-keys` of wachter-trust off"),
    ("uuid", "the launcher makes no identifiers; turn the feature `generate` of wachter-model off"),
];

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    if !workspace.has(LAUNCHER) {
        return Ok(Outcome::Partly(format!("the workspace has no {LAUNCHER}")));
    }
    // `cargo tree -p` decides features for this crate alone, as its own build does; `cargo
    // metadata` would count what other crates of the workspace turn on.
    let tree = program::read(workspace.cargo().args([
        "tree",
        "--package",
        LAUNCHER,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let crates = crates(&tree);
    say::line(&format!("  {} crates, at most {LIMIT}", crates.len()));
    let problems = problems(&crates);
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(Outcome::Passed)
}

/// The distinct `name version` pairs of what `cargo tree --prefix none` prints.
fn crates(tree: &str) -> BTreeSet<&str> {
    let pair = |line: &'_ str| line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at);
    tree.lines().filter(|line| !line.is_empty()).map(|line| &line[..pair(line)]).collect()
}

fn problems(crates: &BTreeSet<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    if crates.len() > LIMIT {
        problems.push(format!(
            "{LAUNCHER} is built from {} crates, at most {LIMIT} are allowed; \
             see cargo tree --package {LAUNCHER} --edges normal,no-proc-macro",
            crates.len()
        ));
    }
    for (never, reason) in NEVER {
        if crates.iter().any(|known| known.split(' ').next() == Some(never)) {
            problems.push(format!("{LAUNCHER} reaches {never}: {reason}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_counts_once_a_version() {
        let tree = "wachter-launcher v0.1.0 (/w/crates/wachter-launcher)\nlibc v0.2.1\n\
            serde v1.0.1\nserde_derive v1.0.1 (proc-macro)\nlibc v0.2.1 (*)\nlibc v0.3.0\n";
        let expected = [
            "libc v0.2.1",
            "libc v0.3.0",
            "serde v1.0.1",
            "serde_derive v1.0.1",
            "wachter-launcher v0.1.0",
        ];
        assert_eq!(crates(tree).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn too_many_and_forbidden_crates_are_problems() {
        let many: Vec<String> =
            (0..=LIMIT).map(|number| format!("crate-{number} v1.0.0")).collect();
        let many: BTreeSet<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(problems(&many).len(), 1);
        assert!(problems(&BTreeSet::from(["tokio v1.2.3"]))[0].contains("reaches tokio"));
        assert_eq!(problems(&BTreeSet::from(["tokio-free v1.2.3"])), Vec::<String>::new());
    }
}
