//! `wachter check`, `config show` and `diff`: what configuration comes to for a host, before a release.

mod check;
mod diff;
mod show;
mod tree;

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use wachter_model::NodeName;

pub(crate) use check::{CheckArguments, check};
pub(crate) use diff::{DiffArguments, diff};
pub(crate) use tree::Tree;

use crate::client::{self, Node};
use crate::failure::{CommandError, CommandResult};
use crate::output::Format;
use crate::place::HostOptions;
use crate::repository::RepositoryOptions;
use show::ShowArguments;

/// For whom configuration is laid together.
#[derive(Args, Debug)]
pub(crate) struct HostChoice {
    /// The host, with its file below `config/hosts/` [default: none in particular]
    #[arg(long, value_name = "NAME")]
    host: Option<NodeName>,
    /// A label of the host, which its owner gives it in the local file; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// Reads a label as an option gives it.
///
/// # Errors
/// It has no `=`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl HostChoice {
    fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }
}

#[derive(Args, Debug)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Show every value that the work tree comes to, for a host
    Show(ShowArguments),
    /// Show every value that is in force on the node of this host, and who set it
    Get(client::GetArguments),
    /// Have the node read its local file again
    Reload,
}

pub(crate) fn config(
    arguments: ConfigArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    match arguments.command {
        ConfigCommand::Show(arguments) => show::show(&arguments, format),
        ConfigCommand::Get(arguments) => {
            crate::block_on(client::get_configuration(arguments, &Node::new(host), format))
        }
        ConfigCommand::Reload => crate::block_on(client::reload(&Node::new(host), format)),
    }
}

/// The configuration of the work tree, for a host, or what is wrong with it.
fn of_work_tree(
    repository: &RepositoryOptions,
    host: &HostChoice,
) -> Result<Result<wachter_config::Catalogue, wachter_config::Problems>, CommandError> {
    let repository = crate::repository::Repository::open(repository)?;
    let tree = Tree::of_work_tree(&repository)?;
    Ok(tree.catalogue(host.host.clone(), host.labels()))
}
