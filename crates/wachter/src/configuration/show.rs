use clap::Args;
use wachter_config::{Origin, OriginatedValue};

use super::check::refused;
use super::{HostChoice, of_work_tree};
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::repository::RepositoryOptions;

#[derive(Args, Debug)]
pub(crate) struct ShowArguments {
    /// Only values at or below this path, such as `log` or `agent.hello.on`
    path: Option<String>,
    /// Say which layer, file and line set each value
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    host: HostChoice,
    #[command(flatten)]
    repository: RepositoryOptions,
}

pub(super) fn show(arguments: &ShowArguments, format: Format) -> CommandResult {
    let catalogue = of_work_tree(&arguments.repository, &arguments.host)?.map_err(|problems| {
        output::talk(&problems);
        refused(&problems)
    })?;
    let wanted = |value: &OriginatedValue| match &arguments.path {
        Some(path) => value
            .path
            .strip_prefix(path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')),
        None => true,
    };
    let values: Vec<OriginatedValue> = catalogue.values().into_iter().filter(wanted).collect();
    if let (true, Some(path)) = (values.is_empty(), &arguments.path) {
        return Err(CommandError::failed(format!(
            "there is no value at or below `{path}`; `wachter config show` lists all"
        )));
    }
    if format == Format::Json {
        return output::json(&values);
    }
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|value| {
            let mut row = vec![value.path.clone(), value.value.to_string()];
            if arguments.origin {
                // The one in force first, then those that it overrules.
                let origins: Vec<String> = value.origins.iter().rev().map(place).collect();
                row.push(origins.join(", over "));
            }
            row
        })
        .collect();
    let head: &[&str] =
        if arguments.origin { &["PATH", "VALUE", "SET BY"] } else { &["PATH", "VALUE"] };
    output::table(head, &rows)
}

fn place(origin: &Origin) -> String {
    match origin.line {
        0 => origin.path.clone(),
        line => format!("{}:{line}", origin.path),
    }
}
