//! Who can read the secrets of the repository.

use serde_json::json;
use wachter_trust::Recipient;

use super::change::write;
use super::{AddRecipientArguments, Place, RemoveRecipientArguments};
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::Repository;

pub(super) fn add(
    arguments: &AddRecipientArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let Place { roots, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let mut draft = repository.trust()?.next_draft();
    let AddRecipientArguments { name, recipient, .. } = arguments;
    let key = recipient.to_string();
    if let Some(other) = draft.recipients.iter().find(|known| known.key == key) {
        let known = &other.name;
        return Err(CommandError::usage(format!(
            "`{known}` has this key already; nothing was changed"
        )));
    }
    // One that is there gets the new key.
    draft.recipients.retain(|known| known.name != *name);
    draft.recipients.push(Recipient { name: name.clone(), key: key.clone() });
    draft.recipients.sort_by(|a, b| a.name.cmp(&b.name));
    write(repository, &draft, &arguments.key, roots, host)?;
    output::result(
        format,
        &json!({ "recipient": name.to_string(), "key": key }),
        format_args!("`{name}` can read what is encrypted from now on"),
    )?;
    next(repository);
    Ok(())
}

pub(super) fn remove(
    arguments: &RemoveRecipientArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let Place { roots, repository } = &arguments.place;
    let repository = &Repository::open(repository)?;
    let mut draft = repository.trust()?.next_draft();
    let name = &arguments.name;
    let before = draft.recipients.len();
    draft.recipients.retain(|known| known.name != *name);
    if draft.recipients.len() == before {
        return Err(CommandError::usage(format!(
            "no recipient is called `{name}`; `wachter trust show` lists them"
        )));
    }
    write(repository, &draft, &arguments.key, roots, host)?;
    output::result(
        format,
        &json!({ "removed": name.to_string() }),
        format_args!("`{name}` cannot read what is encrypted from now on"),
    )?;
    next(repository);
    Ok(())
}

fn next(repository: &Repository) {
    let some = repository.path("config/secrets").is_dir();
    let rotate = if some { "`wachter secret rotate`, " } else { "" };
    output::talk(format_args!("next: {rotate}commit, then `wachter release`"));
}
