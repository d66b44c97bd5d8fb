use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Serialize;
use wachter_model::{ModuleName, SecretName};

use super::{ListArguments, store};
use crate::configuration::Tree;
use crate::failure::CommandResult;
use crate::output::{self, Format};
use crate::repository::Repository;

#[derive(Serialize)]
struct Row {
    name: SecretName,
    /// None where modules ask for it and the tree lacks it.
    file: Option<String>,
    /// For how many it is encrypted; none where it is no file of age.
    recipients: Option<usize>,
    /// How many the trust file names.
    trusted: usize,
    asked_by: BTreeSet<ModuleName>,
}

pub(super) fn carry_out(arguments: &ListArguments, format: Format) -> CommandResult {
    let repository = Repository::open(&arguments.repository)?;
    let trusted = repository.trust()?.recipients().len();
    let files = store::files(&repository)?;
    let mut asked: BTreeMap<SecretName, BTreeSet<ModuleName>> =
        Tree::of_work_tree(&repository)?.asked_secrets();
    let names: BTreeSet<SecretName> = files.keys().chain(asked.keys()).cloned().collect();
    let mut rows = Vec::new();
    for name in names {
        let recipients = match files.get(&name) {
            Some(path) => wachter_secret::recipients(&fs::read(path)?),
            None => None,
        };
        let file = files.contains_key(&name).then(|| store::file_of(&name));
        let asked_by = asked.remove(&name).unwrap_or_default();
        rows.push(Row { name, file, recipients, trusted, asked_by });
    }
    if format == Format::Json {
        return output::json(&rows);
    }
    if rows.is_empty() {
        output::talk("there are no secrets; `wachter secret set NAME` makes one");
        return Ok(());
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let modules: Vec<&str> = row.asked_by.iter().map(ModuleName::as_str).collect();
            vec![row.name.to_string(), state(row), modules.join(" ")]
        })
        .collect();
    output::table(&["SECRET", "STATE", "ASKED FOR BY"], &cells)?;
    if rows.iter().any(|row| row.recipients.is_some_and(|count| count != trusted)) {
        output::talk("next: `wachter secret rotate` encrypts to the present recipients");
    }
    Ok(())
}

fn state(row: &Row) -> String {
    let of = |count: usize| format!("for {count} recipient{}", if count == 1 { "" } else { "s" });
    match (&row.file, row.recipients) {
        (None, _) => "missing".to_owned(),
        (Some(_), None) => "damaged".to_owned(),
        (Some(_), Some(count)) if count == row.trusted => of(count),
        (Some(_), Some(count)) => {
            format!("{}, the trust file has {}", of(count), row.trusted)
        }
    }
}
