use std::path::PathBuf;

use serde_json::json;
use wachter_model::SecretName;

use super::{RotateArguments, store};
use crate::credential::read_identities;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::repository::Repository;

pub(super) fn carry_out(
    arguments: &RotateArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let repository = Repository::open(&arguments.repository)?;
    let recipients = store::recipients(&repository.trust()?)?;
    let names: Vec<SecretName> = match arguments.names.as_slice() {
        [] => store::files(&repository)?.into_keys().collect(),
        names => names.to_vec(),
    };
    let identities = read_identities(&identity(arguments, host)?)?;
    // All are opened before one is written: half of them for other recipients would be found out late.
    let opened = names.iter().map(|name| store::open(&repository, name, &identities));
    let opened = opened.collect::<Result<Vec<_>, _>>()?;
    for (name, value) in names.iter().zip(&opened) {
        store::put(&repository, name, value, &recipients)?;
    }
    let to: Vec<String> = recipients.iter().map(|(name, _)| name.to_string()).collect();
    let count = names.len();
    let s = if count == 1 { "" } else { "s" };
    output::result(
        format,
        &json!({ "rotated": names, "recipients": to }),
        format_args!("encrypted {count} secret{s} again, to {}", to.join(", ")),
    )?;
    if count > 0 {
        output::talk(
            "note: who could open the files from before still can, in the history; where somebody is not to know \
             a value any more, change it where it is used, and set it anew",
        );
        output::talk("next: commit config/secrets/, then `wachter release`");
    }
    Ok(())
}

fn identity(arguments: &RotateArguments, host: &HostOptions) -> Result<PathBuf, CommandError> {
    if let Some(path) = &arguments.identity {
        return Ok(path.clone());
    }
    let named = host.host().ok().and_then(|host| host.local.secrets.identity);
    named.map(|path| path.as_path().to_owned()).ok_or_else(|| {
        CommandError::usage(
            "no identity is known that opens the secrets; name its file with --identity, or in the local file \
             under `secrets.identity`",
        )
    })
}
