//! Files that are made from code: written by `generate`, compared by `verify`.
//!
//! There are two ways. A generator here makes one text. Where making it needs a crate of the
//! product, a test of that crate compares the files instead, and writes them when `WACHTER_UPDATE`
//! is set: so building these chores never waits for the product.

use anyhow::Context as _;

use crate::tools::Tools;
use crate::transcript::first_difference;
use crate::verify::Outcome;
use crate::workspace::{Workspace, read_text};
use crate::{program, say};

/// One generated file.
struct Generator {
    /// Where the file stands, from the root of the workspace.
    path: &'static str,
    /// Makes the whole text, the same on every machine and every day.
    produce: fn() -> anyhow::Result<String>,
}

/// Every generated file. A new one is one line here.
const GENERATORS: &[Generator] = &[];

/// A test that compares generated files, and writes them when asked to.
struct WritingTest {
    package: &'static str,
    test: &'static str,
}

/// Every such test. They compare in the step `tests`.
const WRITING_TESTS: &[WritingTest] = &[
    WritingTest { package: "wachter-protocol", test: "the_published_copies_are_current" },
    WritingTest { package: "wachter-api", test: "the_published_copy_is_current" },
    WritingTest { package: "wachter-api", test: "the_page_lists_every_endpoint" },
    WritingTest { package: "wachter-config", test: "the_schemas_and_the_reference_are_current" },
    WritingTest { package: "wachter", test: "the_reference_of_commands_is_current" },
    WritingTest {
        package: "wachter-log-analyzer",
        test: "faults_are_told_and_little_else_and_the_drawing_is_current",
    },
];

/// Makes a [`WritingTest`] write.
const UPDATE: &str = "WACHTER_UPDATE";

/// Writes every generated file that differs.
///
/// # Errors
/// A generator fails, or a file cannot be written.
pub(crate) fn write(workspace: &Workspace) -> anyhow::Result<()> {
    write_all(workspace, GENERATORS)?;
    for WritingTest { package, test } in WRITING_TESTS {
        let mut nextest = workspace.cargo();
        Tools::of(workspace).offer(&mut nextest);
        nextest.args(["nextest", "run", "--package", package]);
        nextest.arg(format!("--filterset=test(/::{test}$/)")).env(UPDATE, "1");
        program::run(&mut nextest)?;
    }
    Ok(())
}

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let stale = stale(workspace, GENERATORS)?;
    for problem in &stale {
        say::line(&format!("  {problem}"));
    }
    anyhow::ensure!(stale.is_empty(), "generated files are stale; run cargo xtask generate");
    say::line(&format!("  {} files", GENERATORS.len()));
    for WritingTest { package, .. } in WRITING_TESTS {
        say::line(&format!("  those of {package} are compared by its tests"));
    }
    Ok(Outcome::Passed)
}

fn write_all(workspace: &Workspace, generators: &[Generator]) -> anyhow::Result<()> {
    for generator in generators {
        let path = workspace.root.join(generator.path);
        let text = produce(generator)?;
        if std::fs::read_to_string(&path).is_ok_and(|current| current == text) {
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("create {}", folder.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        say::line(&format!("wrote {}", generator.path));
    }
    Ok(())
}

fn stale(workspace: &Workspace, generators: &[Generator]) -> anyhow::Result<Vec<String>> {
    let mut stale = Vec::new();
    for generator in generators {
        let wanted = produce(generator)?;
        let path = workspace.root.join(generator.path);
        if !path.exists() {
            stale.push(format!("{}: missing", generator.path));
            continue;
        }
        if let Some((line, is, should)) = first_difference(&read_text(&path)?, &wanted) {
            stale.push(format!("{}:{line}: is {is:?}, should be {should:?}", generator.path));
        }
    }
    Ok(stale)
}

fn produce(generator: &Generator) -> anyhow::Result<String> {
    (generator.produce)().with_context(|| format!("generate {}", generator.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_named_and_writing_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            root: folder.path().to_owned(),
            target: folder.path().join("target"),
            packages: Vec::new(),
        };
        let generators =
            [Generator { path: "made/list.txt", produce: || Ok("one\ntwo\n".to_owned()) }];
        assert_eq!(stale(&workspace, &generators).unwrap(), ["made/list.txt: missing"]);
        write_all(&workspace, &generators).unwrap();
        assert_eq!(stale(&workspace, &generators).unwrap(), Vec::<String>::new());
        std::fs::write(folder.path().join("made/list.txt"), "one\n2\n").unwrap();
        assert_eq!(
            stale(&workspace, &generators).unwrap(),
            [r#"made/list.txt:2: is "2", should be "two""#]
        );
        write_all(&workspace, &generators).unwrap();
        assert_eq!(stale(&workspace, &generators).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_failing_generator_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            root: folder.path().to_owned(),
            target: folder.path().to_owned(),
            packages: Vec::new(),
        };
        let generators = [Generator { path: "a.json", produce: || anyhow::bail!("no schema") }];
        let error = stale(&workspace, &generators).unwrap_err();
        assert_eq!(format!("{error:#}"), "generate a.json: no schema");
    }
}
