//! Which crate may depend on which: the table of the architecture, as data.
//!
//! An edge that is not here is a decision that somebody has to make, not an oversight to be
//! waved through: the check names the edge and the rule, and the table changes in the same commit
//! as ARCHITECTURE.md.

use crate::say;
use crate::verify::Outcome;
use crate::workspace::{Dependency, DependencyKind, Package, Workspace};

/// What one crate may depend on, among the workspace's own.
enum May {
    /// None, not even the vocabulary.
    UseNone,
    /// These, and the vocabulary.
    Use(&'static [&'static str]),
    /// Every crate but these.
    UseAllBut(&'static [&'static str]),
}

use May::{Use, UseAllBut, UseNone};

const TABLE: &[(&str, May)] = &[
    ("wachter-model", UseNone),
    ("wachter-document", UseNone),
    ("wachter-file", UseNone),
    ("wachter-packet", UseNone),
    ("wachter-log", Use(&[])),
    ("wachter-secret", UseNone),
    ("wachter-protocol", Use(&["wachter-document"])),
    ("wachter-module", Use(&["wachter-protocol"])),
    ("wachter-expression", Use(&["wachter-document"])),
    ("wachter-trust", Use(&["wachter-document"])),
    ("wachter-config", Use(&["wachter-document", "wachter-protocol", "wachter-expression"])),
    ("wachter-gitops", Use(&["wachter-file", "wachter-trust"])),
    ("wachter-bus", Use(&[])),
    ("wachter-bus-nats", Use(&["wachter-bus"])),
    ("wachter-bus-servicebus", Use(&["wachter-bus"])),
    ("wachter-sandbox", Use(&["wachter-packet", "wachter-protocol"])),
    (
        "wachter-launcher",
        Use(&["wachter-packet", "wachter-protocol", "wachter-secret", "wachter-trust"]),
    ),
    (
        "wachter-runtime",
        Use(&[
            "wachter-bus",
            "wachter-config",
            "wachter-expression",
            "wachter-file",
            "wachter-protocol",
            "wachter-sandbox",
            "wachter-trust",
        ]),
    ),
    ("wachter-policy", Use(&["wachter-config", "wachter-expression"])),
    ("wachter-heal", Use(&["wachter-policy", "wachter-runtime"])),
    ("wachter-api", Use(&[])),
    ("wachter-web", Use(&["wachter-api", "wachter-bus", "wachter-config"])),
    ("wachter-github", Use(&[])),
    ("wachter-kubernetes", Use(&[])),
    ("wachter-azure", Use(&[])),
    ("wachter-notify", Use(&[])),
    ("wachter-scan", Use(&["wachter-module", "wachter-expression"])),
    ("wachter-log-analyzer", Use(&["wachter-document", "wachter-module"])),
    ("wachter-wasi", Use(&["wachter-module"])),
    (
        "wachter-modules",
        Use(&["wachter-log-analyzer", "wachter-module", "wachter-scan", "wachter-wasi"]),
    ),
    (
        "wachter",
        UseAllBut(&[
            "wachter-launcher",
            "wachter-log-analyzer",
            "wachter-scan",
            "wachter-modules",
            "wachter-wasi",
            TESTKIT,
            "xtask",
        ]),
    ),
    // Never shipped. Its fakes may stand in for any library, but no executable is one.
    (TESTKIT, UseAllBut(&["wachter-launcher", "wachter-modules", "wachter", "xtask"])),
    ("demo", Use(&[TESTKIT])),
    // The crates whose types the generated files describe.
    ("xtask", Use(&["wachter-protocol", "wachter-config", "wachter-api"])),
];

/// Every crate with a `Use` row reaches the vocabulary or needs it, so each may name it.
const VOCABULARY: &str = "wachter-model";

/// Fakes for tests; a dependency on it under `[dev-dependencies]` is always allowed.
const TESTKIT: &str = "wachter-testkit";

/// What the tests of a crate may know beyond it: those of the sandbox sign modules and seal secrets
/// themselves, those of the built-in modules look at the host as a node does.
const FOR_TESTS: [(&str, &str); 3] = [
    ("wachter-modules", "wachter-sandbox"),
    ("wachter-sandbox", "wachter-secret"),
    ("wachter-sandbox", "wachter-trust"),
];

/// A dependency from outside that only some crates may know.
struct Quarantine {
    /// The crate, and every crate whose name begins with it and a hyphen.
    outside: &'static str,
    only: &'static [&'static str],
    reason: &'static str,
}

const QUARANTINES: &[Quarantine] = &[
    Quarantine {
        outside: "gix",
        only: &["wachter-gitops"],
        reason: "one crate knows Git; the others are handed verified objects",
    },
    Quarantine {
        outside: "axum",
        only: &["wachter", "wachter-api", "wachter-web", TESTKIT],
        reason: "HTTP is served at the rim only",
    },
    Quarantine {
        outside: "hyper",
        only: &["wachter", "wachter-api", "wachter-web", TESTKIT],
        reason: "HTTP is served at the rim only",
    },
    Quarantine {
        outside: "rusqlite",
        only: &["wachter-bus", TESTKIT],
        reason: "one crate knows how the journal is kept",
    },
    Quarantine {
        outside: "wasmtime",
        only: &["wachter-wasi"],
        reason: "the engine runs inside the jail, never in the node",
    },
];

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let problems = problems(&workspace.packages);
    for problem in &problems {
        say::line(&format!("  {problem}"));
    }
    anyhow::ensure!(
        problems.is_empty(),
        "{} dependencies break the table in xtask/src/edges.rs; \
         take the dependency away, or change the table and ARCHITECTURE.md together",
        problems.len()
    );
    Ok(Outcome::Passed)
}

fn problems(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let Some((_, may)) = TABLE.iter().find(|(name, _)| *name == package.name) else {
            problems.push(format!("{}: this crate is not in the table", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            problems.extend(forbidden_inside(package, may, dependency));
            problems.extend(forbidden_outside(package, dependency));
        }
    }
    problems
}

fn forbidden_inside(package: &Package, may: &May, dependency: &Dependency) -> Option<String> {
    if !ours(&dependency.name) {
        return None;
    }
    let development = dependency.kind == DependencyKind::Development;
    let allowed = match may {
        _ if development && dependency.name == TESTKIT => true,
        _ if development && FOR_TESTS.contains(&(&package.name, &dependency.name)) => true,
        UseNone => false,
        Use(_) if dependency.name == VOCABULARY => true,
        Use(names) => names.contains(&dependency.name.as_str()),
        UseAllBut(names) => !names.contains(&dependency.name.as_str()),
    };
    (!allowed).then(|| {
        let rule = match may {
            UseNone => "it may depend on none".to_owned(),
            Use([]) => format!("it may depend on {VOCABULARY} alone"),
            Use(names) => format!("it may depend on {VOCABULARY}, {}", names.join(", ")),
            UseAllBut(names) => format!("it may depend on all but {}", names.join(", ")),
        };
        let table = match dependency.kind {
            DependencyKind::Normal => "",
            DependencyKind::Build => " (build)",
            DependencyKind::Development => " (development)",
        };
        format!("{} -> {}{table}: {rule}", package.name, dependency.name)
    })
}

fn forbidden_outside(package: &Package, dependency: &Dependency) -> Option<String> {
    let quarantine = QUARANTINES.iter().find(|quarantine| {
        dependency
            .name
            .strip_prefix(quarantine.outside)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })?;
    (!quarantine.only.contains(&package.name.as_str())).then(|| {
        let Quarantine { only, reason, .. } = quarantine;
        format!("{} -> {}: only {} may: {reason}", package.name, dependency.name, only.join(", "))
    })
}

fn ours(name: &str) -> bool {
    TABLE.iter().any(|(known, _)| *known == name) || name.starts_with("wachter-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use DependencyKind::{Build, Development, Normal};

    fn check(from: &str, to: &str, kind: DependencyKind, expected: Option<&str>) {
        let dependency = Dependency { name: to.to_owned(), kind };
        let found = problems(&[Package { name: from.to_owned(), dependencies: vec![dependency] }]);
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{from} -> {to}"),
            Some(part) => {
                assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
                assert!(found[0].contains(part), "{from} -> {to}: {found:?}");
            }
        }
    }

    #[test]
    fn edges_follow_the_table() {
        check("wachter-launcher", "wachter-trust", Normal, None);
        check("wachter-gitops", "wachter-model", Normal, None);
        check("wachter-model", "serde", Normal, None);
        check("wachter", "wachter-heal", Normal, None);
        check("wachter-trust", "wachter-protocol", Normal, Some("may depend on wachter-model"));
        check(
            "wachter-trust",
            "wachter-protocol",
            Build,
            Some("wachter-trust -> wachter-protocol"),
        );
        check("wachter-model", "wachter-trust", Normal, Some("may depend on none"));
        check("wachter-document", "wachter-model", Normal, Some("may depend on none"));
        check("wachter-bus", "wachter-trust", Development, Some("wachter-model alone"));
        check("wachter", "wachter-launcher", Normal, Some("all but wachter-launcher"));
        check("wachter-bus", "xtask", Normal, Some("wachter-bus -> xtask"));
        check("wachter-api", "wachter-later", Normal, Some("wachter-api -> wachter-later"));
    }

    #[test]
    fn the_testkit_is_for_tests() {
        check("wachter-trust", "wachter-testkit", Development, None);
        check("wachter-trust", "wachter-testkit", Normal, Some("wachter-trust -> wachter-testkit"));
        check("wachter", "wachter-testkit", Development, None);
        check("wachter", "wachter-testkit", Normal, Some("all but"));
    }

    #[test]
    fn a_crate_outside_the_table_fails() {
        check("wachter-other", "serde", Normal, Some("not in the table"));
    }

    #[test]
    fn quarantines_hold_for_every_kind() {
        check("wachter-gitops", "gix", Normal, None);
        check("wachter-gitops", "gix-object", Normal, None);
        check("wachter-trust", "gix-object", Normal, Some("only wachter-gitops may"));
        check("wachter-trust", "gix", Development, Some("one crate knows Git"));
        check("wachter-web", "axum", Normal, None);
        check("wachter-bus", "axum-extra", Normal, Some("at the rim"));
        check("wachter-sandbox", "hyper-util", Normal, Some("at the rim"));
        check("wachter-sandbox", "hyperfine", Normal, None);
        check("wachter-runtime", "rusqlite", Normal, Some("only wachter-bus, wachter-testkit may"));
    }

    #[test]
    fn the_table_names_only_crates_that_have_a_row() {
        for (name, may) in TABLE {
            let names = match may {
                UseNone => continue,
                Use(names) | UseAllBut(names) => names,
            };
            for other in *names {
                assert!(TABLE.iter().any(|(row, _)| row == other), "{name} names {other}");
            }
        }
    }
}
