//! The tests of confinement again, as a user without privileges.
//!
//! A jail that only holds because root built it would pass every test of a machine where all runs
//! as root. So when root runs this, the test executables of some packages are copied to a folder
//! that everyone may read, and run there under a user id that owns nothing else.
//!
//! The copy is needed because neither the work tree nor the target folder need be readable by
//! others. The user exists only in a private view of `/etc/passwd`: nothing on the machine changes,
//! and programs that insist on an entry, such as `ssh-keygen`, find one.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::program;
use crate::say;
use crate::tests_step::{EXECUTABLES, build_executables};
use crate::tools::{Tools, copy_executable};
use crate::verify::Outcome;
use crate::workspace::{Workspace, read_text};

/// The packages whose tests depend on who runs them.
const PACKAGES: &[&str] = &["wachter-launcher", "wachter-sandbox"];

const NAME: &str = "wachter-verify";

/// Where executables stand below the stage: beside the folder of tests, as cargo puts them.
const BUILT: &str = "target/debug";

/// Mounts the private view, then gives root up for good: no test can regain it by a set-user-id
/// program. What follows the first three words is the command.
const BECOME: &str = r#"
set -eu
stage=$1 id=$2
shift 2
mount --bind "$stage/passwd" /etc/passwd
mount --bind "$stage/group" /etc/group
exec setpriv --reuid "$id" --regid "$id" --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all -- "$@"
"#;

/// The step of `verify`.
pub(crate) fn step(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let packages: BTreeSet<&str> =
        PACKAGES.iter().copied().filter(|name| workspace.has(name)).collect();
    if packages.is_empty() {
        return Ok(Outcome::Partly("the workspace has no package of this kind".to_owned()));
    }
    if !is_root()? {
        return Ok(Outcome::Partly(
            "the step `tests` ran as an ordinary user; as root nothing was checked".to_owned(),
        ));
    }
    let stage = Stage::prepare(workspace, &packages)?;
    let mut probe = stage.as_user(&["unshare", "--user", "--map-root-user", "true"]);
    let namespaces = program::output(&mut probe)?;
    let mut run = stage.as_user(&[
        "cargo-nextest",
        "nextest",
        "run",
        "--no-fail-fast",
        "--binaries-metadata",
        "binaries.json",
        "--cargo-metadata",
        "cargo.json",
        "--workspace-remap",
        "workspace",
        "--target-dir-remap",
        "target",
    ]);
    program::run(&mut run)?;
    if namespaces.ok {
        Ok(Outcome::Passed)
    } else {
        let reason = namespaces.stderr.trim();
        Ok(Outcome::Partly(format!("an ordinary user has no user namespaces here: {reason}")))
    }
}

/// The folder that the ordinary user runs in; it is removed at the end.
struct Stage {
    folder: tempfile::TempDir,
    id: u32,
    path: String,
}

impl Stage {
    fn prepare(workspace: &Workspace, packages: &BTreeSet<&str>) -> anyhow::Result<Self> {
        let passwd = read_text(Path::new("/etc/passwd"))?;
        let group = read_text(Path::new("/etc/group"))?;
        let id = free_id(&passwd, &group);
        let folder = tempfile::Builder::new()
            .prefix("wachter-verify-")
            .tempdir()
            .context("create a folder for the ordinary user")?;
        let root = folder.path().to_owned();
        for name in ["bin", BUILT, "workspace", "home", "tmp"] {
            std::fs::create_dir_all(root.join(name)).with_context(|| format!("create {name}"))?;
        }
        let home = root.join("home");
        let user = format!("{NAME}:x:{id}:{id}::{}:/bin/sh\n", home.display());
        write(&root.join("passwd"), &with_line(&passwd, &user))?;
        write(&root.join("group"), &with_line(&group, &format!("{NAME}:x:{id}:\n")))?;

        let executables = build_executables(workspace)?;
        for executable in &executables {
            copy_executable(executable, &root.join(BUILT))?;
        }
        let tools = Tools::of(workspace);
        let nextest = tools
            .find("cargo-nextest")
            .context("cargo-nextest is not installed; run cargo xtask setup")?;
        copy_executable(&nextest, &root.join("bin"))?;
        // Without it, tests of modules in Python say that they were skipped.
        if let Some(uv) = tools.find("uv") {
            copy_executable(&uv, &root.join("bin"))?;
        }
        copy_tests(workspace, packages, &root)?;
        copy_sources(workspace, &root.join("workspace"))?;

        program::run(program::command("chmod", &root).args(["-R", "a+rX", "--"]).arg(&root))?;
        for name in ["home", "tmp"] {
            std::os::unix::fs::chown(root.join(name), Some(id), Some(id))
                .with_context(|| format!("give {name} to user {id}"))?;
        }
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700))
            .context("close the home folder")?;
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            root.join("bin").display()
        );
        say::line(&format!("  as user {id} in {}", root.display()));
        Ok(Self { folder, id, path })
    }

    /// A command that the ordinary user runs in the stage, with an environment of its own.
    fn as_user(&self, words: &[&str]) -> Command {
        let root = self.folder.path();
        let mut command = program::command("unshare", root);
        command
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", BECOME, "sh"])
            .arg(root)
            .arg(self.id.to_string())
            .args(words)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", root.join("home"))
            .env("TMPDIR", root.join("tmp"))
            .env("USER", NAME)
            .env("LOGNAME", NAME)
            .env("LC_ALL", "C.UTF-8")
            // Snapshots are looked up where the sources are now, and never written.
            .env("INSTA_WORKSPACE_ROOT", root.join("workspace"))
            .env("INSTA_UPDATE", "no")
            .env(EXECUTABLES, root.join(BUILT));
        for name in ["CI", "RUST_BACKTRACE", "WACHTER_FIXTURES", "CARGO_TERM_COLOR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// Copies the test executables of the packages, and writes the two descriptions from which
/// nextest runs them without cargo.
fn copy_tests(
    workspace: &Workspace,
    packages: &BTreeSet<&str>,
    stage: &Path,
) -> anyhow::Result<()> {
    let mut list = workspace.cargo();
    Tools::of(workspace).offer(&mut list);
    // The same selection as in the step `tests`, so that nothing is compiled twice.
    list.args(["nextest", "list", "--workspace", "--list-type", "binaries-only"])
        .args(["--message-format", "json"])
        .stderr(std::process::Stdio::inherit());
    let listed = serde_json::from_str(&program::read(&mut list)?)
        .context("read what cargo nextest list printed")?;
    let (listed, paths) = only_packages(listed, packages)?;
    for path in &paths {
        let inside = path.strip_prefix(&workspace.target).with_context(|| {
            format!("{} is not in {}", path.display(), workspace.target.display())
        })?;
        let to = stage.join("target").join(inside);
        let folder = to.parent().context("a test executable has no folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        copy_executable(path, folder)?;
    }
    write(&stage.join("binaries.json"), &listed.to_string())?;
    let metadata = program::read(workspace.cargo().args(["metadata", "--format-version", "1"]))?;
    write(&stage.join("cargo.json"), &metadata)
}

/// Keeps the test executables of the packages alone, and says where they are.
fn only_packages(
    mut listed: Value,
    packages: &BTreeSet<&str>,
) -> anyhow::Result<(Value, Vec<PathBuf>)> {
    let binaries =
        listed["rust-binaries"].as_object_mut().context("the list has no rust-binaries")?;
    binaries.retain(|id, _| id.split("::").next().is_some_and(|name| packages.contains(name)));
    let paths = binaries
        .values()
        .map(|binary| binary["binary-path"].as_str().map(PathBuf::from))
        .collect::<Option<Vec<_>>>()
        .context("a test executable has no path")?;
    anyhow::ensure!(!paths.is_empty(), "{packages:?} have no test executables");
    Ok((listed, paths))
}

fn copy_sources(workspace: &Workspace, to: &Path) -> anyhow::Result<()> {
    for file in workspace.files("")? {
        let target = to.join(&file);
        let folder = target.parent().context("a file has no folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let source = workspace.root.join(&file);
        if source.is_symlink() {
            let leads = std::fs::read_link(&source)
                .with_context(|| format!("read {}", source.display()))?;
            std::os::unix::fs::symlink(leads, &target)
                .with_context(|| format!("link {}", target.display()))?;
        } else if source.is_file() {
            std::fs::copy(&source, &target)
                .with_context(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}

/// The first id from 1001 that neither a user nor a group has: tests send signals to everything
/// they may, which must reach nobody's processes.
fn free_id(passwd: &str, group: &str) -> u32 {
    let taken: BTreeSet<u32> = passwd
        .lines()
        .chain(group.lines())
        .filter_map(|line| line.split(':').nth(2)?.parse().ok())
        .collect();
    (1001..).find(|id| !taken.contains(id)).expect("a file holds fewer lines than there are ids")
}

fn with_line(text: &str, line: &str) -> String {
    let separator = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{text}{separator}{line}")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Whether this process runs as root: the kernel gives its folder in `/proc` the effective user.
pub(crate) fn is_root() -> anyhow::Result<bool> {
    Ok(std::fs::metadata("/proc/self").context("look at /proc/self")?.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_belongs_to_nobody() {
        let passwd = "root:x:0:0::/root:/bin/sh\nme:x:1001:1001::/home/me:/bin/sh\nbroken\n";
        assert_eq!(free_id(passwd, "all:x:1002:\n"), 1003);
        assert_eq!(free_id("", ""), 1001);
    }

    #[test]
    fn a_line_is_a_line_of_its_own() {
        assert_eq!(with_line("a\n", "b\n"), "a\nb\n");
        assert_eq!(with_line("a", "b\n"), "a\nb\n");
        assert_eq!(with_line("", "b\n"), "b\n");
    }

    #[test]
    fn other_packages_are_left_out() {
        let listed: Value = serde_json::from_str(
            r#"{"rust-build-meta": {}, "rust-binaries": {
                "wachter-launcher": {"binary-path": "/t/a"},
                "wachter-launcher::it": {"binary-path": "/t/b"},
                "wachter-launcher-other::it": {"binary-path": "/t/c"}}}"#,
        )
        .unwrap();
        let (kept, paths) =
            only_packages(listed.clone(), &BTreeSet::from(["wachter-launcher"])).unwrap();
        assert_eq!(paths, [PathBuf::from("/t/a"), PathBuf::from("/t/b")]);
        assert_eq!(kept["rust-binaries"].as_object().unwrap().len(), 2);
        assert!(only_packages(listed, &BTreeSet::from(["wachter-sandbox"])).is_err());
    }
}
