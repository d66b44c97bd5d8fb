use wachter_github::{
    ApiAddress, ApiAddressError, App, AppKey, ClientId, ClientIdError, InstallationId,
};
use wachter_protocol::GithubAppCredential;

use super::secret_file;
use crate::failure::{CommandError, chain};

/// Reads the private key of an App, and what the local file says of it.
///
/// # Errors
/// A key that cannot be read, that others can read, or that is none; an identifier or an address
/// that cannot be one.
pub(super) fn app(source: &GithubAppCredential) -> Result<App, CommandError> {
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
    let text = secret_file::read_private(private_key.as_path(), "private key")?;
    let key = AppKey::from_pem(&text).map_err(|error| {
        CommandError::failed(format!("{}: {}", private_key.as_path().display(), chain(&error)))
    })?;
    Ok(App::new(client, InstallationId(*installation), key, api))
}
