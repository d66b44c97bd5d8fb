//! `wachter module lint`: what is wrong with a module, and what its users would rather have otherwise.
//!
//! Errors are what a node would refuse, or what makes each run fail. Warnings are opinions: each says
//! what to do, and none keeps a module from being signed.

mod files;
mod manifest;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use wachter_config::{Problem, ProblemSeverity, Problems};
use wachter_protocol::Manifest;
use wachter_runtime::ModuleFolder;

use crate::client::count;
use crate::failure::{CommandError, CommandResult, chain};
use crate::output::{self, Format};
use crate::sign::flaws;

/// Files above this are not searched: they are data.
const LARGEST_TEXT: u64 = 1 << 20;

/// Looks at modules, by their folders; without any, at the present one, or at all of the repository
/// that the present one is.
///
/// # Errors
/// There is an error, or, where `strict`, a warning.
pub(super) fn lint(folders: Vec<PathBuf>, strict: bool, format: Format) -> CommandResult {
    let folders = if folders.is_empty() { present()? } else { folders };
    let mut problems = Problems::default();
    for folder in &folders {
        problems.0.extend(problems_of(folder));
    }
    let of = |severity| problems.0.iter().filter(|one| one.severity == severity).count();
    let (errors, warnings) = (of(ProblemSeverity::Error), of(ProblemSeverity::Warning));
    let failed = errors > 0 || strict && warnings > 0;
    match format {
        Format::Json => {
            output::json(&json!({ "valid": errors == 0, "problems": problems }))?;
        }
        Format::Human => {
            problems.0.iter().try_for_each(output::data)?;
            if !failed {
                let modules = count(folders.len() as u64, "module", "modules");
                output::data(format_args!("{modules}, {}", told(warnings, errors)))?;
            }
        }
    }
    if failed {
        return Err(CommandError::refused(format!("{} to put right", told(warnings, errors))));
    }
    Ok(())
}

fn told(warnings: usize, errors: usize) -> String {
    let warnings = count(warnings as u64, "warning", "warnings");
    format!("{warnings}, {}", count(errors as u64, "error", "errors"))
}

fn present() -> Result<Vec<PathBuf>, CommandError> {
    if !Path::new("trust/trust.yaml").exists() {
        return Ok(vec![PathBuf::from(".")]);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir("modules")? {
        let path = entry?.path();
        if path.join(MANIFEST).is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

const MANIFEST: &str = "module.yaml";

/// A module under the eyes of the rules.
struct Linted<'m> {
    folder: &'m Path,
    manifest: &'m Manifest,
    /// The text of the manifest, in which places are looked up.
    text: &'m str,
    /// Its other texts, by path within the folder.
    texts: BTreeMap<String, String>,
    found: Vec<Problem>,
}

impl Linted<'_> {
    /// At the first place in the manifest where `part` stands, or at the file as a whole.
    fn warn(&mut self, part: &str, message: impl Into<String>) {
        let place = place_of(self.text, part);
        self.tell(ProblemSeverity::Warning, MANIFEST, place, message.into());
    }

    fn warn_of(&mut self, file: &str, message: impl Into<String>) {
        self.tell(ProblemSeverity::Warning, file, (0, 0), message.into());
    }

    fn refuse(&mut self, file: &str, message: impl Into<String>) {
        self.tell(ProblemSeverity::Error, file, (0, 0), message.into());
    }

    fn tell(&mut self, severity: ProblemSeverity, file: &str, place: (u64, u64), message: String) {
        self.found.push(problem(severity, &self.folder.join(file), place, message));
    }
}

fn problem(
    severity: ProblemSeverity,
    path: &Path,
    (line, column): (u64, u64),
    message: String,
) -> Problem {
    let path = path.display().to_string();
    let path = path.strip_prefix("./").map_or(path.clone(), str::to_owned);
    Problem { severity, path, line, column, message, snippet: String::new() }
}

/// Line and column of a part of a text, from 1; zeros where it is not there.
fn place_of(text: &str, part: &str) -> (u64, u64) {
    let Some(at) = text.find(part).filter(|_| !part.is_empty()) else { return (0, 0) };
    let before = &text[..at];
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    (line, column)
}

fn problems_of(folder: &Path) -> Vec<Problem> {
    let error = |message: String| {
        let message = message.replace(&format!("{}/", folder.display()), "");
        vec![problem(ProblemSeverity::Error, &folder.join(MANIFEST), (0, 0), message)]
    };
    let read = match ModuleFolder::read(folder) {
        Ok(read) => read,
        Err(wrong) => return error(chain(&wrong)),
    };
    let text = match fs::read_to_string(folder.join(MANIFEST)) {
        Ok(text) => text,
        Err(wrong) => return error(wrong.to_string()),
    };
    let ModuleFolder { manifest, digests } = read;
    let texts = digests
        .files()
        .filter(|(path, _)| *path != MANIFEST)
        .filter_map(|(path, _)| {
            let file = folder.join(path);
            let small = fs::metadata(&file).ok()?.len() <= LARGEST_TEXT;
            Some((path.to_owned(), small.then(|| fs::read_to_string(file).ok())??))
        })
        .collect();
    let mut linted = Linted { folder, manifest: &manifest, text: &text, texts, found: Vec::new() };
    // A module lies under its name wherever that counts; elsewhere a folder may be called anything.
    let name = match folder.parent().and_then(Path::file_name) {
        Some(parent) if parent == "modules" => {
            folder.file_name().and_then(|name| name.to_str()?.parse().ok())
        }
        _ => None,
    };
    for flaw in flaws(name.as_ref().unwrap_or(&manifest.name), &manifest, &digests) {
        linted.refuse(MANIFEST, flaw);
    }
    manifest::rules(&mut linted);
    schema::rules(&mut linted);
    files::rules(&mut linted, &digests);
    linted.found
}

#[cfg(test)]
mod tests;
