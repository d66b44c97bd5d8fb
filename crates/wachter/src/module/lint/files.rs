//! What lies in a module's folder.

use std::fs;

use wachter_protocol::RuntimeKind;
use wachter_trust::ModuleDigests;

use super::{LARGEST_TEXT, Linted};

/// What tools leave behind: ends of names, and names of folders or files.
const LEFT_BEHIND: [&str; 6] = ["~", ".bak", ".orig", ".pyc", ".rej", ".swp"];
const LEFT_FOLDERS: [&str; 7] =
    [".DS_Store", ".git", ".idea", ".venv", "__pycache__", "node_modules", "target"];

/// Where interpreters are looked for by `env`.
const PATH: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];

pub(super) fn rules(linted: &mut Linted<'_>, digests: &ModuleDigests) {
    for (path, _) in digests.files() {
        leftovers(linted, path);
        size(linted, path);
    }
    secrets(linted);
    interpreter(linted);
    requirements(linted);
    signed(linted, digests);
}

fn leftovers(linted: &mut Linted<'_>, path: &str) {
    let left = LEFT_BEHIND.iter().any(|end| path.ends_with(end))
        || path.split('/').any(|part| LEFT_FOLDERS.contains(&part));
    if left {
        linted.warn_of(
            path,
            "it was left behind by a tool, and would be signed with the rest; remove it",
        );
    }
}

fn size(linted: &mut Linted<'_>, path: &str) {
    let size = fs::metadata(linted.folder.join(path)).map_or(0, |metadata| metadata.len());
    // A program is as large as it is.
    let program = path == linted.manifest.runtime.entrypoint.as_str();
    if size > 10 * LARGEST_TEXT && !program {
        linted.warn_of(
            path,
            format!(
                "it has {} MiB, which every node keeps; fetch such data when it is needed",
                size >> 20
            ),
        );
    }
}

/// A key in a module is read by everyone who reads the repository.
fn secrets(linted: &mut Linted<'_>) {
    let holds = |text: &String| {
        text.lines().any(|line| {
            line.starts_with("-----BEGIN ") && line.trim_end().ends_with("PRIVATE KEY-----")
        }) || text.lines().any(|line| line.starts_with("AGE-SECRET-KEY-1"))
    };
    let paths = linted.texts.iter().filter(|(_, text)| holds(text)).map(|(path, _)| path.clone());
    for path in paths.collect::<Vec<_>>() {
        linted.refuse(
            &path,
            "it holds a private key, which everyone who reads the repository would have; make a secret of it with `wachter secret set`, and use another key",
        );
    }
}

/// The first line of a script: what the kernel does with it.
fn interpreter(linted: &mut Linted<'_>) {
    if linted.manifest.runtime.kind != RuntimeKind::Process {
        return;
    }
    let entrypoint = linted.manifest.runtime.entrypoint.as_str().to_owned();
    let Some(first) =
        linted.texts.get(&entrypoint).and_then(|text| text.split_inclusive('\n').next())
    else {
        return;
    };
    let Some(line) = first.strip_prefix("#!") else {
        return linted.refuse(
            &entrypoint,
            "it is a text without `#!` in its first line, so it cannot be executed; name its interpreter there",
        );
    };
    if line.ends_with("\r\n") {
        return linted.refuse(
            &entrypoint,
            "its lines end as on Windows, so that its interpreter is not found; write it with line feeds alone",
        );
    }
    let mut words = line.split_whitespace();
    let found = match words.next() {
        Some("/usr/bin/env") => {
            let name = words.find(|word| !word.starts_with('-')).unwrap_or_default().to_owned();
            PATH.iter().any(|folder| std::path::Path::new(folder).join(&name).exists())
        }
        Some(path) => std::path::Path::new(path).exists(),
        None => false,
    };
    if !found {
        let named = line.trim().to_owned();
        linted.warn_of(
            &entrypoint,
            format!(
                "its interpreter, `{named}`, is not on this machine; see that it is on the nodes"
            ),
        );
    }
}

/// What is installed has to be what was meant: each requirement with its digest.
fn requirements(linted: &mut Linted<'_>) {
    let Some(file) = &linted.manifest.runtime.requirements else { return };
    let file = file.as_str().to_owned();
    let Some(text) = linted.texts.get(&file) else { return };
    let elsewhere = ["-r", "-c", "-e", "--requirement", "--constraint", "--editable"];
    let leads = |line: &&str| elsewhere.iter().any(|option| line.starts_with(option));
    if let Some(line) = text.lines().map(str::trim_start).find(leads) {
        let line = line.to_owned();
        linted.refuse(
            &file,
            format!(
                "`{line}` leads to another file, and a lock file stands alone; write it with `uv pip compile --generate-hashes`"
            ),
        );
        return;
    }
    let joined = text.replace("\\\n", " ");
    let without: Vec<_> = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("--"))
        .filter(|line| !line.contains("--hash="))
        .map(|line| format!("`{}`", line.split_whitespace().next().unwrap_or_default()))
        .collect();
    if !without.is_empty() {
        linted.refuse(
            &file,
            format!(
                "{} without a digest; write it with `uv pip compile --generate-hashes`",
                without.join(", ")
            ),
        );
    }
}

fn signed(linted: &mut Linted<'_>, digests: &ModuleDigests) {
    if let Ok(signed) = fs::read(linted.folder.join("module.digests"))
        && signed != digests.render().into_bytes()
    {
        let name = linted.manifest.name.clone();
        linted.warn_of(
            "module.digests",
            format!(
                "it was changed after it was signed, and no node runs it so; `wachter sign {name}`"
            ),
        );
    }
}
