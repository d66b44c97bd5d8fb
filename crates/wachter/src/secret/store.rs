use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use wachter_model::SecretName;
use wachter_secret::{Identity, MAX_VALUE_BYTES, Named, Recipient};
use wachter_trust::{SignerName, TrustFile};
use zeroize::Zeroizing;

use crate::failure::{CommandError, chain};
use crate::repository::{Repository, TRUST, replace};

/// Where secrets are in the managed repository.
pub(super) const FOLDER: &str = "config/secrets";

/// The file of a secret, from the repository's root.
pub(super) fn file_of(name: &SecretName) -> String {
    format!("{FOLDER}/{name}.age")
}

/// The secrets of the work tree.
///
/// # Errors
/// A folder that cannot be read, or a file that is named as no secret is.
pub(super) fn files(
    repository: &Repository,
) -> Result<BTreeMap<SecretName, PathBuf>, CommandError> {
    let entries = match fs::read_dir(repository.path(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        other => {
            other.map_err(|error| CommandError::failed(format!("cannot read {FOLDER}: {error}")))?
        }
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".age")) else { continue };
        let parsed = name.parse().map_err(|error| {
            CommandError::failed(format!(
                "{FOLDER}/{}.age: {}; rename it",
                name.escape_debug(),
                chain(&error)
            ))
        })?;
        found.insert(parsed, entry.path());
    }
    Ok(found)
}

/// Who the trust file lets read secrets.
///
/// # Errors
/// Nobody, or a key that is none.
pub(super) fn recipients(trust: &TrustFile) -> Result<Vec<(SignerName, Recipient)>, CommandError> {
    let read = |recipient: &wachter_trust::Recipient| {
        let name = recipient.name.clone();
        match recipient.key.parse() {
            Ok(key) => Ok((name, key)),
            Err(_) => Err(CommandError::refused(format!(
                "the key of the recipient `{name}` in {TRUST} is none; run `wachter trust remove-recipient {name}`, \
                 and add it again"
            ))),
        }
    };
    let found = trust.recipients().iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(CommandError::refused(format!(
            "{TRUST} names no recipient, so nobody could open a secret; make an identity on each host with \
             `wachter secret identity`, and add what it prints with `wachter trust add-recipient`"
        )));
    }
    Ok(found)
}

/// Encrypts a value and replaces its file.
///
/// # Errors
/// A value that no run could be given, or a folder that cannot be written.
pub(super) fn put(
    repository: &Repository,
    name: &SecretName,
    value: &[u8],
    recipients: &[(SignerName, Recipient)],
) -> Result<(), CommandError> {
    let keys: Vec<Recipient> = recipients.iter().map(|(_, key)| *key).collect();
    let sealed = wachter_secret::seal(&Named::text(name.as_str(), value), &keys)?;
    let path = repository.path(&file_of(name));
    fs::create_dir_all(repository.path(FOLDER))?;
    replace(&path, sealed.as_bytes())
}

/// Opens the file of a secret.
///
/// # Errors
/// It cannot be read, or not be opened by these identities, or is another secret's.
pub(super) fn open(
    repository: &Repository,
    name: &SecretName,
    identities: &[Identity],
) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let path = file_of(name);
    let file = match fs::read(repository.path(&path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CommandError::usage(format!(
                "there is no secret `{name}`; `wachter secret list` shows those that there are"
            )));
        }
        other => other.map_err(|error| CommandError::failed(format!("{path}: {error}")))?,
    };
    let opened = wachter_secret::open(&file, identities)
        .map_err(|error| CommandError::refused(format!("{path}: {error}")))?;
    let named = Named::of(&opened, name.as_str()).map_err(|error| {
        CommandError::refused(format!(
            "{path}: {error}; set `{name}` anew with `wachter secret set`"
        ))
    })?;
    Ok(named.value)
}

/// Refuses values that no run could be given.
pub(super) fn check_size(value: &[u8]) -> Result<(), CommandError> {
    if value.is_empty() {
        return Err(CommandError::usage(
            "the value is empty; give it on standard input or with --file",
        ));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(CommandError::usage(format!(
            "the value has more than {MAX_VALUE_BYTES} bytes, which is more than a run is given; keep large \
             things elsewhere, and the key to them here"
        )));
    }
    Ok(())
}
