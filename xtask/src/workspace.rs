//! What cargo knows about this workspace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::program;

/// The workspace, read once from `cargo metadata`.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds; follows `CARGO_TARGET_DIR`.
    pub(crate) target: PathBuf,
    /// The workspace's own crates.
    pub(crate) packages: Vec<Package>,
}

/// One crate of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line under `[dependencies]` and its sisters, by the package's real name.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
}

/// The table in which a dependency stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Build,
    Development,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// cargo fails, among others because `Cargo.lock` is out of date while `CI=true`.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .map_or_else(std::env::current_dir, Ok)
            .context("find the current folder")?;
        let mut command = program::command(cargo_path(), &here);
        command.args(["metadata", "--format-version", "1", "--no-deps"]);
        if in_ci() {
            command.arg("--locked");
        }
        Self::from_json(&program::read(&mut command)?).context("read what cargo metadata printed")
    }

    fn from_json(text: &str) -> anyhow::Result<Self> {
        let metadata: Value = serde_json::from_str(text)?;
        let path = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).with_context(|| format!("{key} is missing"))
        };
        let packages = metadata["packages"].as_array().context("packages are missing")?;
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
            packages: packages.iter().map(Package::from_json).collect::<anyhow::Result<_>>()?,
        })
    }

    /// cargo, started in the root of the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = program::command(cargo_path(), &self.root);
        command.env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Whether the workspace has a crate of this name.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages.iter().any(|known| known.name == package)
    }

    /// The files that Git tracks or would track, whose names end so, relative to the root.
    ///
    /// # Errors
    /// `git` fails, or the workspace is no Git work tree.
    pub(crate) fn files(&self, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
        let listed = program::read(program::command("git", &self.root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<PathBuf> = listed
            .split('\0')
            .filter(|name| !name.is_empty() && name.ends_with(ending))
            .map(PathBuf::from)
            // A file that was deleted and not yet committed is still in the index.
            .filter(|path| self.root.join(path).exists())
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }
}

impl Package {
    fn from_json(package: &Value) -> anyhow::Result<Self> {
        let name = package["name"].as_str().context("a package has no name")?.to_owned();
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        let dependencies = dependencies
            .iter()
            .map(|dependency| {
                Ok(Dependency {
                    name: dependency["name"].as_str().context("no name")?.to_owned(),
                    kind: match dependency["kind"].as_str() {
                        None => DependencyKind::Normal,
                        Some("build") => DependencyKind::Build,
                        Some("dev") => DependencyKind::Development,
                        Some(other) => anyhow::bail!("unknown kind of dependency {other}"),
                    },
                })
            })
            .collect::<anyhow::Result<_>>()
            .with_context(|| format!("dependencies of {name}"))?;
        Ok(Self { name, dependencies })
    }
}

/// Whether this is continuous integration, where nothing may be skipped for convenience.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Reads a text file; the error names it.
///
/// # Errors
/// The file cannot be read or is not UTF-8.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_kinds() {
        let workspace = Workspace::from_json(
            r#"{"workspace_root": "/w", "target_directory": "/t", "packages": [
                {"name": "wachter-a", "dependencies": [
                    {"name": "serde", "kind": null},
                    {"name": "cc", "kind": "build"},
                    {"name": "proptest", "kind": "dev"}]}]}"#,
        )
        .unwrap();
        assert_eq!(workspace.target, PathBuf::from("/t"));
        assert!(workspace.has("wachter-a") && !workspace.has("wachter-b"));
        let kinds: Vec<_> = workspace.packages[0].dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(
            kinds,
            [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development]
        );
    }

    #[test]
    fn an_unknown_kind_is_an_error() {
        let text = r#"{"workspace_root": "/w", "target_directory": "/t", "packages": [
            {"name": "a", "dependencies": [{"name": "b", "kind": "odd"}]}]}"#;
        assert!(Workspace::from_json(text).is_err());
    }
}
