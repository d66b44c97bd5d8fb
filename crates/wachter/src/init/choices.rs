use std::path::{Path, PathBuf};

use wachter_trust::SignerName;

use super::{InitArguments, interview};
use crate::failure::{CommandError, CommandResult};
use crate::git::Git;
use crate::keys;
use crate::output;
use crate::repository::TRUST;

/// What was found out before anything is written.
pub(super) struct Choices {
    pub(super) name: SignerName,
    pub(super) key: PathBuf,
    /// Whether the key is to be made.
    pub(super) generate: bool,
}

/// Finds out what is to be done, by the options, by asking and by what is set already.
///
/// # Errors
/// A name that is none, or a key that would lie in the repository.
pub(super) fn choose(arguments: &InitArguments, git: &Git) -> Result<Choices, CommandError> {
    let ask = !arguments.yes && !git.folder().join(TRUST).exists();
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None if ask => {
            interview::ask("Your name in the trust file", default_name().as_str())?.parse()?
        }
        None => default_name(),
    };
    let named = arguments.key.key.clone().or_else(|| keys::configured(git).map(PathBuf::from));
    if let Some(key) = named.filter(|_| arguments.generate_key.is_none()) {
        // A key that stands in Git's configuration itself is no path.
        let key = if key.exists() { std::path::absolute(key)? } else { key };
        if key.extension().is_none_or(|ending| ending != "pub") {
            keep_out(&key, git)?;
        }
        return Ok(Choices { name, key, generate: false });
    }
    let default = arguments.generate_key.clone().unwrap_or_else(|| default_key(&name));
    let key = if ask && arguments.generate_key.is_none() {
        PathBuf::from(interview::ask(
            "Key to sign with; a file that does not exist is made",
            &default.display().to_string(),
        )?)
    } else {
        default
    };
    let key = std::path::absolute(key)?;
    keep_out(&key, git)?;
    let generate = !key.exists();
    Ok(Choices { name, key, generate })
}

/// A private key in the repository would be pushed sooner or later.
fn keep_out(key: &Path, git: &Git) -> CommandResult {
    let repository = git.folder().canonicalize()?;
    // The innermost folder that exists, so that neither links nor `..` lead past the check.
    let folder = key.ancestors().skip(1).find_map(|folder| folder.canonicalize().ok());
    if folder.is_some_and(|folder| folder.starts_with(repository)) {
        return Err(CommandError::refused(format!(
            "the private key {} must not lie in the repository; name another place with --key or --generate-key",
            key.display()
        )));
    }
    Ok(())
}

/// Makes the key where that was chosen, and gives what names it.
///
/// # Errors
/// A folder that cannot be written.
pub(super) fn make_key(choices: &Choices) -> Result<PathBuf, CommandError> {
    if choices.generate {
        let key = keys::generate(&choices.key, choices.name.as_str())?;
        output::talk(format_args!(
            "made the key {} in {}",
            key.fingerprint(),
            choices.key.display()
        ));
    }
    Ok(choices.key.clone())
}

/// The user's name, as far as it can be a signer's.
fn default_name() -> SignerName {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    user.and_then(|user| user.parse().ok())
        .unwrap_or_else(|| "owner".parse().expect("it is letters alone"))
}

fn default_key(name: &SignerName) -> PathBuf {
    let variable =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    config.unwrap_or_else(|| "/root/.config".into()).join("wachter/keys").join(name.as_str())
}
