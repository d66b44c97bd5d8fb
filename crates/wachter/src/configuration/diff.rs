use clap::Args;
use serde_json::Value;
use wachter_config::{Catalogue, difference};
use wachter_gitops::{LocalRepository, ObjectId};
use wachter_model::chain;

use super::check::refused;
use super::{HostChoice, Tree};
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::repository::{Repository, RepositoryOptions};

#[derive(Args, Debug)]
pub(crate) struct DiffArguments {
    /// Two commits or releases, such as wachter/3..HEAD; without the second, HEAD
    #[arg(value_name = "A..B")]
    range: String,
    #[command(flatten)]
    host: HostChoice,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// Shows what a host would get. Files may change without a difference to a host, and one line of a
/// file may change many hosts.
pub(crate) fn diff(arguments: &DiffArguments, format: Format) -> CommandResult {
    let repository = Repository::open(&arguments.repository)?;
    let (before, after) = arguments.range.split_once("..").unwrap_or((&arguments.range, ""));
    let after = if after.is_empty() { "HEAD" } else { after };
    let mut objects = repository.objects()?;
    let mut of = |revision: &str| catalogue(&repository, &mut objects, revision, &arguments.host);
    let changes = difference(&of(before)?, &of(after)?);
    if format == Format::Json {
        return output::json(&changes);
    }
    if changes.is_empty() {
        output::talk("nothing would change");
    }
    let text =
        |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| vec![change.path.clone(), text(&change.before), text(&change.after)])
        .collect();
    if rows.is_empty() { Ok(()) } else { output::table(&["PATH", "BEFORE", "AFTER"], &rows) }
}

fn catalogue(
    repository: &Repository,
    objects: &mut LocalRepository,
    revision: &str,
    host: &HostChoice,
) -> Result<Catalogue, CommandError> {
    let commit = format!("{revision}^{{commit}}");
    let commit = repository
        .git()
        .text(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit])
        .map_err(|_| {
            CommandError::failed(format!("`{revision}` is no commit of this repository"))
        })?;
    let commit: ObjectId = commit.parse().map_err(|error| {
        CommandError::failed(format!("`{revision}` is {commit}: {}", chain(&error)))
    })?;
    let snapshot = objects.snapshot(commit)?;
    let mut problems = Vec::new();
    let tree = Tree::of_snapshot(&snapshot, &mut problems)?;
    tree.catalogue(host.host.clone(), host.labels()).map_err(|problems| {
        output::talk(format_args!("of `{revision}`:\n{problems}"));
        refused(&problems)
    })
}
