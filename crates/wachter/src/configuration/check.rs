use clap::Args;
use serde_json::json;
use wachter_config::{ProblemSeverity, Problems};

use super::{HostChoice, Tree};
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::repository::{Repository, RepositoryOptions};

#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    host: HostChoice,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// Checks the work tree, so that a mistake is told before it is committed.
pub(crate) fn check(arguments: &CheckArguments, format: Format) -> CommandResult {
    let tree = Tree::of_work_tree(&Repository::open(&arguments.repository)?)?;
    let HostChoice { host, .. } = &arguments.host;
    let (mut problems, mut agents) = match tree.catalogue(host.clone(), arguments.host.labels()) {
        Ok(catalogue) => (catalogue.warnings().clone(), Some(catalogue.agents().len())),
        Err(problems) => (problems, None),
    };
    let missing = tree.missing_secrets();
    agents = agents.filter(|_| missing.is_empty());
    problems.0.extend(missing);
    match (format, agents) {
        (Format::Json, _) => {
            output::json(&json!({ "valid": agents.is_some(), "problems": problems }))?;
        }
        (Format::Human, agents) => {
            if !problems.0.is_empty() {
                output::data(&problems)?;
            }
            if let Some(agents) = agents {
                let s = if agents == 1 { "" } else { "s" };
                output::data(format_args!("the configuration is valid: {agents} agent{s}"))?;
            }
        }
    }
    if agents.is_some() { Ok(()) } else { Err(refused(&problems)) }
}

/// For commands that need a valid configuration.
pub(super) fn refused(problems: &Problems) -> CommandError {
    let errors =
        problems.0.iter().filter(|problem| problem.severity == ProblemSeverity::Error).count();
    CommandError::refused(format!("the configuration is invalid: {errors} to put right"))
}
