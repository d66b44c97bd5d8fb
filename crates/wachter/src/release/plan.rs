//! What a release would be: shown before anything is signed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wachter_gitops::ChangeKind;
use wachter_model::ModuleName;
use wachter_trust::{ReleaseStatement, SignerName, TrustFile};

use super::checks::ModuleSummary;
use crate::failure::CommandResult;
use crate::output;

/// Paths that are shown one by one; the rest is counted.
const SHOWN: usize = 40;

/// A path and how its file differs.
type Change = (String, ChangeKind);

/// What a release would be.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) sequence: u64,
    pub(crate) commit: String,
    pub(crate) tree: String,
    pub(crate) previous: Option<u64>,
    pub(crate) not_after: String,
    pub(crate) ring: String,
    pub(crate) changes: Vec<ChangedFile>,
    pub(crate) modules: Vec<ModuleChange>,
    pub(crate) signers: Vec<Need>,
    pub(crate) problems: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// The tag that was made.
    pub(crate) tag: Option<String>,
    /// Whether enough have signed, so that nodes take it.
    pub(crate) complete: bool,
}

/// A file that changes.
#[derive(Debug, Serialize)]
pub(crate) struct ChangedFile {
    path: String,
    change: &'static str,
}

/// A module that changes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ModuleChange {
    module: String,
    before: Option<String>,
    after: Option<String>,
    asks_more: Vec<String>,
    asks_less: Vec<String>,
}

/// How many must sign, and who has.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Need {
    /// The path that asks for it; every release where absent.
    pub(crate) path: Option<String>,
    pub(crate) threshold: usize,
    pub(crate) signed: Vec<String>,
    /// Who else could.
    pub(crate) others: Vec<String>,
}

impl Need {
    /// How many signatures are missing.
    pub(crate) fn missing(&self) -> usize {
        self.threshold.saturating_sub(self.signed.len())
    }
}

impl Plan {
    /// A plan of what `statement` says.
    pub(crate) fn new(statement: &ReleaseStatement) -> Self {
        Self {
            sequence: statement.sequence.get(),
            commit: statement.commit.to_string(),
            tree: statement.tree.to_string(),
            previous: statement.previous.map(wachter_trust::Sequence::get),
            not_after: statement.not_after.to_string(),
            ring: statement.ring.to_string(),
            changes: Vec::new(),
            modules: Vec::new(),
            signers: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            tag: None,
            complete: false,
        }
    }

    /// Shows it to a person.
    pub(crate) fn show(&self) -> CommandResult {
        let commit: String = self.commit.chars().take(12).collect();
        output::data(format_args!(
            "release {} of commit {commit}, ring {}, until {}",
            self.sequence, self.ring, self.not_after
        ))?;
        match self.previous {
            Some(previous) => output::data(format_args!("compared with release {previous}:"))?,
            None => output::data("compared with nothing, as no release came before:")?,
        }
        if self.changes.is_empty() {
            output::data("  nothing changed; the release renews the date")?;
        }
        for change in self.changes.iter().take(SHOWN) {
            output::data(format_args!("  {:8} {}", change.change, change.path.escape_debug()))?;
        }
        if let Some(more @ 1..) = self.changes.len().checked_sub(SHOWN) {
            output::data(format_args!("  and {more} more files; `--output json` lists all"))?;
        }
        for module in &self.modules {
            let version = match (&module.before, &module.after) {
                (None, Some(after)) => format!("new, version {after}"),
                (Some(_), None) => "removed".to_owned(),
                (Some(before), Some(after)) if before == after => format!("version {after}"),
                (before, after) => {
                    let text = |version: &Option<String>| version.clone().unwrap_or_default();
                    format!("version {} -> {}", text(before), text(after))
                }
            };
            output::data(format_args!("module {}: {version}", module.module))?;
            for asked in &module.asks_more {
                output::data(format_args!("  + asks to {asked}"))?;
            }
            for asked in &module.asks_less {
                output::data(format_args!("  - no longer asks to {asked}"))?;
            }
        }
        for need in &self.signers {
            let what = need
                .path
                .as_ref()
                .map_or("every release".to_owned(), |path| format!("changes of {path}"));
            let signed = if need.signed.is_empty() {
                "nobody yet".to_owned()
            } else {
                need.signed.join(", ")
            };
            output::data(format_args!(
                "signers for {what}: {} of {} ({signed})",
                need.signed.len(),
                need.threshold
            ))?;
            if need.missing() > 0 {
                output::data(format_args!(
                    "  missing: {} of {}",
                    need.missing(),
                    need.others.join(", ")
                ))?;
            }
        }
        for note in &self.notes {
            output::talk(format_args!("note: {note}"));
        }
        for problem in &self.problems {
            output::talk(format_args!("problem: {problem}"));
        }
        Ok(())
    }
}

/// The files that change, for people and programs.
pub(crate) fn files(changes: &[Change]) -> Vec<ChangedFile> {
    let word = |kind| match kind {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    };
    changes
        .iter()
        .map(|(path, kind)| ChangedFile { path: path.clone(), change: word(*kind) })
        .collect()
}

/// The modules that change, and what they ask for.
pub(crate) fn modules(
    changes: &[Change],
    before: &BTreeMap<ModuleName, ModuleSummary>,
    after: &BTreeMap<ModuleName, ModuleSummary>,
) -> Vec<ModuleChange> {
    let touched = |name: &&ModuleName| {
        let folder = format!("modules/{name}/");
        changes.iter().any(|(path, _)| path.starts_with(&folder))
    };
    let names: BTreeSet<&ModuleName> = before.keys().chain(after.keys()).collect();
    let none = BTreeSet::new();
    names
        .into_iter()
        .filter(touched)
        .map(|name| {
            let (before, after) = (before.get(name), after.get(name));
            let asked = |summary: Option<&ModuleSummary>| {
                summary.map_or(none.clone(), |module| module.permissions.clone())
            };
            let (old, new) = (asked(before), asked(after));
            ModuleChange {
                module: name.to_string(),
                before: before.map(|module| module.version.clone()),
                after: after.map(|module| module.version.clone()),
                asks_more: new.difference(&old).cloned().collect(),
                asks_less: old.difference(&new).filter(|_| after.is_some()).cloned().collect(),
            }
        })
        .collect()
}

/// How many must sign what, given who has.
pub(crate) fn needs(
    trust: &TrustFile,
    changes: &[Change],
    signed: &BTreeSet<SignerName>,
) -> Vec<Need> {
    let rules = trust.releases();
    let need = |path: Option<&str>, threshold: usize, allowed: &BTreeSet<SignerName>| Need {
        path: path.map(str::to_owned),
        threshold,
        signed: allowed.intersection(signed).map(ToString::to_string).collect(),
        others: allowed.difference(signed).map(ToString::to_string).collect(),
    };
    let touched =
        |rule: &&wachter_trust::PathRule| changes.iter().any(|(path, _)| rule.covers(path));
    let by_path = rules.paths.iter().filter(touched);
    std::iter::once(need(None, rules.threshold, &rules.signers))
        .chain(by_path.map(|rule| need(Some(&rule.path), rule.threshold, &rule.signers)))
        .collect()
}
