//! Debian packages that tests need: installed where that is permitted and does nothing else, unpacked
//! aside otherwise.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::ordinary_user::is_root;
use crate::program;
use crate::say;
use crate::tools::Tools;
use crate::workspace::{Workspace, read_text};

const LIST: &str = "scripts/debian-packages.txt";

/// One line of the list: `package command use # reason`.
#[derive(Debug, PartialEq, Eq)]
struct Package<'a> {
    name: &'a str,
    /// The program by which one sees that the package is there, however it came.
    command: &'a str,
    needed_by: Use,
}

/// What a package is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Without it tests fail.
    Tests,
    /// Without it tests fail. It is never installed: that would start a service, or change users.
    Aside,
    /// Without it a comparison is left out.
    Benchmarks,
    /// Without it an example is left out.
    Examples,
}

/// Makes every program of the list available.
///
/// # Errors
/// A program that tests need is missing and could not be had; the error names all of them.
pub(crate) fn install(workspace: &Workspace, tools: &Tools) -> anyhow::Result<()> {
    let text = read_text(&workspace.root.join(LIST))?;
    let packages = parse(&text)?;
    let missing = |wanted: fn(Use) -> bool| -> Vec<String> {
        let wanted = packages.iter().filter(|package| wanted(package.needed_by));
        let absent = wanted.filter(|package| tools.find(package.command).is_none());
        absent.map(|package| package.name.to_owned()).collect()
    };
    let installable = missing(|needed_by| needed_by != Use::Aside);
    let mut aside = missing(|needed_by| needed_by == Use::Aside);
    if installable.is_empty() && aside.is_empty() {
        say::line("  Debian packages: nothing to install");
        return Ok(());
    }
    say::line(&format!("  Debian packages: {}", [&installable[..], &aside].concat().join(", ")));
    if tools.find("apt-get").is_none() {
        say::line("  not installed: there is no apt-get here");
    } else {
        if !installable.is_empty()
            && let Err(error) = by_apt(workspace, &installable)
        {
            say::line(&format!("  not installed: {error:#}; unpacking them aside"));
            aside.extend(installable);
        }
        if !aside.is_empty()
            && let Err(error) = unpack(tools, &aside)
        {
            say::line(&format!("  not unpacked: {error:#}"));
        }
    }
    let for_tests = missing(|needed_by| matches!(needed_by, Use::Tests | Use::Aside));
    let for_benchmarks = missing(|needed_by| needed_by == Use::Benchmarks);
    if !for_benchmarks.is_empty() {
        say::line(&format!("  benchmarks will leave out: {}", for_benchmarks.join(", ")));
    }
    let for_examples = missing(|needed_by| needed_by == Use::Examples);
    if !for_examples.is_empty() {
        say::line(&format!("  examples will leave out: {}", for_examples.join(", ")));
    }
    anyhow::ensure!(
        for_tests.is_empty(),
        "tests need {}; install what gives these programs, see {LIST}",
        for_tests.join(", ")
    );
    Ok(())
}

fn by_apt(workspace: &Workspace, wanted: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(is_root()?, "only root may install packages");
    let install = || {
        program::run(
            apt(&workspace.root, &[])
                .args(["install", "-y", "--no-install-recommends"])
                .args(wanted),
        )
    };
    // Lists may be absent or out of date; fetching them is slow, so only when it proves needed.
    install().or_else(|_| {
        program::run(apt(&workspace.root, &[]).arg("update"))?;
        install()
    })
}

/// Downloads the packages with lists of our own, which an ordinary user may write.
fn unpack(tools: &Tools, wanted: &[String]) -> anyhow::Result<()> {
    let downloads = tools.folder().join("download");
    let state = downloads.join("state");
    for folder in [state.join("lists/partial"), downloads.join("cache/archives/partial")] {
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let options = [
        format!("Dir::State::lists={}", state.join("lists").display()),
        format!("Dir::Cache={}", downloads.join("cache").display()),
        // Downloads would otherwise be handed to a user who may not enter this folder.
        "APT::Sandbox::User=".to_owned(),
    ];
    program::run(apt(&downloads, &options).arg("update"))?;
    for name in wanted {
        // One that does not exist in this distribution should not keep the others away.
        if let Err(error) = program::run(apt(&downloads, &options).arg("download").arg(name)) {
            say::line(&format!("  {name}: {error:#}"));
        }
    }
    let root = tools.debian();
    for entry in std::fs::read_dir(&downloads).context("list downloaded packages")? {
        let path = entry.context("list downloaded packages")?.path();
        if path.extension().is_some_and(|ending| ending == "deb") {
            program::run(program::command("dpkg", &downloads).arg("-x").arg(&path).arg(&root))?;
        }
    }
    Ok(())
}

fn apt(directory: &Path, options: &[String]) -> Command {
    let mut command = program::command("apt-get", directory);
    command.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
    for option in options {
        command.arg("-o").arg(option);
    }
    command
}

fn parse(text: &str) -> anyhow::Result<Vec<Package<'_>>> {
    let mut packages = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let (words, reason) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<&str> = words.split_whitespace().collect();
        packages.push(match words[..] {
            [] => continue,
            [_, _, _] if reason.trim().is_empty() => {
                anyhow::bail!("{LIST}:{number}: a package needs a reason: # why")
            }
            [name, command, "tests"] => Package { name, command, needed_by: Use::Tests },
            [name, command, "aside"] => Package { name, command, needed_by: Use::Aside },
            [name, command, "benchmarks"] => Package { name, command, needed_by: Use::Benchmarks },
            [name, command, "examples"] => Package { name, command, needed_by: Use::Examples },
            _ => anyhow::bail!(
                "{LIST}:{number}: expected: package command tests|aside|benchmarks|examples # reason"
            ),
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, &str, Use)], &str>) {
        match (parse(text), expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> =
                    found.iter().map(|p| (p.name, p.command, p.needed_by)).collect();
                assert_eq!(found, expected, "{text}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn lines_are_packages() {
        check("# only a comment\n\n", Ok(&[]));
        check("git git tests # to fetch\n", Ok(&[("git", "git", Use::Tests)]));
        check(
            "bubblewrap  bwrap benchmarks # peer",
            Ok(&[("bubblewrap", "bwrap", Use::Benchmarks)]),
        );
        check(
            "openssh-server sshd aside # a server",
            Ok(&[("openssh-server", "sshd", Use::Aside)]),
        );
        check("clang clang examples # C", Ok(&[("clang", "clang", Use::Examples)]));
        check("\ngit git tests\n", Err(":2: a package needs a reason"));
        check("git git # to fetch", Err(":1: expected: package command"));
        check("git git always # to fetch", Err(":1: expected: package command"));
    }

    #[test]
    fn the_list_itself_is_well_formed() {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(LIST);
        assert!(!parse(&std::fs::read_to_string(list).unwrap()).unwrap().is_empty());
    }
}
