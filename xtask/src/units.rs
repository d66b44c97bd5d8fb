//! The units of systemd are in order, and no looser than they were.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::tools::Tools;
use crate::verify::Outcome;
use crate::workspace::Workspace;
use crate::{program, say};

/// Where the units stand in the work tree.
const FOLDER: &str = "deploy/systemd";

/// The most exposure that a unit may have by `systemd-analyze security`, in tenths: what systemd 252
/// finds now, so that a unit which is loosened fails. May only go down.
const MOST: [(&str, u32); 2] = [("wachter.service", 17), ("wachter-launcher.service", 50)];

/// What units name that is not part of Wachter; empty ones stand for them.
const OTHERS: [&str; 6] = [
    "basic.target",
    "multi-user.target",
    "network-online.target",
    "shutdown.target",
    "sysinit.target",
    "system.slice",
];

/// The step of `verify`. Starts nothing, and asks no running systemd.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let Some(analyze) = Analyze::find(workspace) else {
        return Ok(Outcome::Partly(
            "there is no systemd-analyze here; nothing was checked".to_owned(),
        ));
    };
    let folder = workspace.root.join(FOLDER);
    let names: Vec<&str> = MOST.iter().map(|(name, _)| *name).collect();
    let problems = analyze.problems(&folder, &names)?;
    anyhow::ensure!(problems.is_empty(), "{problems}");
    for (name, most) in MOST {
        let exposure = analyze.exposure(&folder.join(name))?;
        say::line(&format!("  {name}: exposure {}, at most {}", tenths(exposure), tenths(most)));
        anyhow::ensure!(
            exposure <= most,
            "{name} has exposure {}, {} is the most; see systemd-analyze security --offline=true {FOLDER}/{name}",
            tenths(exposure),
            tenths(most)
        );
    }
    Ok(Outcome::Passed)
}

fn tenths(value: u32) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// The program, and where its libraries are.
struct Analyze {
    program: PathBuf,
    libraries: PathBuf,
}

impl Analyze {
    /// The one of this machine, or one that `setup` put aside; none where it does not start.
    fn find(workspace: &Workspace) -> Option<Self> {
        let tools = Tools::of(workspace);
        let program = tools.find("systemd-analyze")?;
        // Where it was put aside it does not look for its own library.
        let libraries = tools.libraries();
        let found = Self { program, libraries };
        let started = program::output(found.command().arg("--version"));
        started.is_ok_and(|printed| printed.ok).then_some(found)
    }

    fn command(&self) -> Command {
        let mut command = program::command(&self.program, Path::new("/"));
        if self.libraries.join("systemd").is_dir() {
            let paths = [self.libraries.clone(), self.libraries.join("systemd")];
            let paths = std::env::join_paths(paths)
                .expect("the target folder built by cargo has no colon in its path");
            command.env("LD_LIBRARY_PATH", paths);
        }
        // Nothing of this machine's systemd counts.
        command.env("SYSTEMD_PAGER", "").env("LC_ALL", "C");
        command
    }

    /// What is wrong with the units; empty where nothing is. They are looked at in a system of their
    /// own, in which the programs that they start exist.
    fn problems(&self, folder: &Path, names: &[&str]) -> anyhow::Result<String> {
        let root = tempfile::tempdir().context("make a folder for the units")?;
        let units = root.path().join("etc/systemd/system");
        std::fs::create_dir_all(&units).context("make a folder for the units")?;
        for other in OTHERS {
            std::fs::write(units.join(other), "[Unit]\nDescription=A stand-in\n")?;
        }
        for name in names {
            let text = std::fs::read_to_string(folder.join(name))
                .with_context(|| format!("read {name}"))?;
            for program in programs(&text) {
                let path = root.path().join(program.trim_start_matches('/'));
                let parent = path.parent().context("a program lies in a folder")?;
                std::fs::create_dir_all(parent)?;
                if !path.exists() {
                    std::fs::copy("/bin/true", &path).context("put a program in its place")?;
                }
            }
            std::fs::write(units.join(name), text)?;
        }
        let mut command = self.command();
        command.args(["verify", "--man=no", "--recursive-errors=no"]);
        command.arg(format!("--root={}", root.path().display())).args(names);
        let printed = program::output(&mut command)?;
        let said = format!("{}{}", printed.stdout, printed.stderr);
        let said = said.replace(&format!("{}/", units.display()), "");
        match (printed.ok, said.trim()) {
            (true, said) => Ok(said.to_owned()),
            (false, "") => Ok("systemd-analyze verify failed and said nothing".to_owned()),
            (false, said) => Ok(said.to_owned()),
        }
    }

    /// The exposure of a unit in tenths.
    fn exposure(&self, unit: &Path) -> anyhow::Result<u32> {
        // It knows units in folders of units alone by their names.
        let folder = tempfile::tempdir().context("make a folder for the unit")?;
        let name = unit.file_name().context("a unit has a name")?;
        symlink(unit, folder.path().join(name)).context("show the unit")?;
        let mut command = self.command();
        command.args(["security", "--offline=true", "--no-pager"]).arg(folder.path().join(name));
        let printed = program::read(&mut command)?;
        exposure(&printed).with_context(|| format!("no exposure in: {printed}"))
    }
}

/// The programs that a unit starts.
fn programs(unit: &str) -> Vec<&str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix("Exec")?.split_once('='))
        .filter_map(|(_, command)| command.split_whitespace().next())
        .map(|program| program.trim_start_matches(['-', '+', '!', '@', ':']))
        .collect()
}

/// The number in the last line of `systemd-analyze security`.
fn exposure(printed: &str) -> Option<u32> {
    let (_, after) = printed.rsplit_once("Overall exposure level for ")?;
    let (_, number) = after.split_once(": ")?;
    let (whole, tenth) = number.split_whitespace().next()?.split_once('.')?;
    Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposure_is_read() {
        for (printed, expected) in [
            ("→ Overall exposure level for wachter.service: 1.7 OK 🙂\n", Some(17)),
            ("x\n-> Overall exposure level for a.service: 10.0 DANGEROUS\n", Some(100)),
            ("Overall exposure level for a.service: \n", None),
            ("", None),
        ] {
            assert_eq!(exposure(printed), expected, "{printed}");
        }
    }

    #[test]
    fn programs_are_those_that_are_started() {
        let unit = "[Service]\nExecStart=/a/b run\nExecReload=-/bin/kill -HUP $MAINPID\nUser=x\n";
        assert_eq!(programs(unit), ["/a/b", "/bin/kill"]);
    }

    /// A unit that is wrong or looser than it was is found out.
    #[test]
    fn a_unit_that_is_loosened_fails() {
        let workspace = Workspace::load().unwrap();
        let Some(analyze) = Analyze::find(&workspace) else {
            say::line("skipped: there is no systemd-analyze here");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        for (name, most) in MOST {
            let text = std::fs::read_to_string(workspace.root.join(FOLDER).join(name)).unwrap();
            let write = |text: &str| std::fs::write(folder.path().join(name), text).unwrap();
            write(&text);
            assert_eq!(analyze.problems(folder.path(), &[name]).unwrap(), "", "{name}");
            assert!(analyze.exposure(&folder.path().join(name)).unwrap() <= most, "{name}");
            write(&text.replace("NoNewPrivileges=yes\n", ""));
            assert!(analyze.exposure(&folder.path().join(name)).unwrap() > most, "{name}");
            write(&text.replace("WatchdogSec=", "WatchdgSec="));
            let problems = analyze.problems(folder.path(), &[name]).unwrap();
            assert!(problems.contains("WatchdgSec"), "{name}: {problems}");
        }
    }
}
