//! Where the token for the Git server comes from. It is read anew for each fetch, so that a rotated
//! one counts at once, and it goes nowhere but into the worker's pipe.

use wachter_gitops::Credential;
use wachter_protocol::Credential as Source;

use crate::failure::CommandError;

/// The username that GitHub, GitLab and Gitea take with any token.
const USERNAME: &str = "x-access-token";

/// Reads the token, if the local file names one.
pub(crate) fn read(source: &Source) -> Result<Option<Credential>, CommandError> {
    let Source { file, environment, systemd, age, github_app } = source;
    let token = if let Some(path) = file {
        read_file(path.as_path())?
    } else if let Some(name) = environment {
        std::env::var(name).map_err(|_| {
            CommandError::failed(format!(
                "the environment variable `{name}`, which `repository.credential` names, is not set"
            ))
        })?
    } else if let Some(name) = systemd {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
            CommandError::failed(format!(
                "there are no systemd credentials; add `LoadCredential={name}:FILE` to the unit"
            ))
        })?;
        read_file(&std::path::Path::new(&folder).join(name))?
    } else if age.is_some() || github_app.is_some() {
        return Err(CommandError::failed(
            "this version takes `repository.credential` from `file`, `environment` or `systemd`",
        ));
    } else {
        return Ok(None);
    };
    let token = token.lines().next().unwrap_or_default().trim();
    if token.is_empty() {
        return Err(CommandError::failed("the token that `repository.credential` names is empty"));
    }
    Ok(Some(Credential::new(USERNAME, token.to_owned())))
}

fn read_file(path: &std::path::Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|error| {
        CommandError::failed(format!("cannot read the token in {}: {error}", path.display()))
    })
}
