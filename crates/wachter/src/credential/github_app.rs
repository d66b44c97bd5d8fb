use wachter_github::{
    ApiAddress, ApiAddressError, App, AppKey, ClientId, ClientIdError, InstallationId,
    RepositoryName,
};
use wachter_protocol::GithubAppCredential;

use super::secret_file;
use crate::failure::{CommandError, chain};

/// Reads the private key of an App, and what the local file says of it. Its tokens are for the
/// repository at `url` alone.
///
/// # Errors
/// A key that cannot be read, that others can read, or that is none; an identifier or an address
/// that cannot be one.
pub(super) fn app(source: &GithubAppCredential, url: &str) -> Result<App, CommandError> {
    let GithubAppCredential { client, installation, private_key, api } = source;
    let wrong = |key: &str, error: &dyn std::error::Error| {
        let reason = chain(error);
        CommandError::failed(format!("`repository.credential.github_app.{key}`: {reason}"))
    };
    let client: ClientId =
        client.parse().map_err(|error: ClientIdError| wrong("client", &error))?;
    let api: ApiAddress = match api {
        None => ApiAddress::default(),
        Some(text) => text.parse().map_err(|error: ApiAddressError| wrong("api", &error))?,
    };
    let repository = repository(url).ok_or_else(|| {
        CommandError::failed(
            "`repository.url` does not end with the name of a repository of GitHub, as in \
             https://github.com/OWNER/NAME.git; a token of a GitHub App is for one repository",
        )
    })?;
    let text = secret_file::read_private(private_key.as_path(), "private key")?;
    let key = AppKey::from_pem(&text).map_err(|error| {
        CommandError::failed(format!("{}: {}", private_key.as_path().display(), chain(&error)))
    })?;
    Ok(App::new(client, InstallationId(*installation), repository, key, api))
}

/// The name that a repository's address ends with. Whose it is, the installation says.
fn repository(url: &str) -> Option<RepositoryName> {
    let path = url.split_once("://")?.1.trim_end_matches('/').split_once('/')?.1;
    let name = path.rsplit('/').next()?;
    name.strip_suffix(".git").unwrap_or(name).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_with_the_name() {
        for (url, expected) in [
            ("https://github.com/example/infra.git", Some("infra")),
            ("https://github.com/example/infra", Some("infra")),
            ("https://git.example.com/example/in.fra_1-2.git/", Some("in.fra_1-2")),
            ("http://127.0.0.1:80/infra.git", Some("infra")),
            ("https://github.com", None),
            ("https://github.com/", None),
            ("https://github.com/example/.git", None),
            ("https://github.com/example/in%20fra.git", None),
            ("/srv/git/infra.git", None),
        ] {
            let found = repository(url);
            assert_eq!(found.as_ref().map(RepositoryName::as_str), expected, "{url}");
        }
    }
}
