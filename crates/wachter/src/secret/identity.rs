use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use wachter_protocol::LocalFile;
use wachter_secret::Identity;
use zeroize::Zeroizing;

use super::IdentityArguments;
use crate::credential::read_identities;
use crate::failure::{CommandError, CommandResult};
use crate::keys;
use crate::output::{self, Format};
use crate::place::{Host, HostOptions};

pub(super) fn carry_out(
    arguments: &IdentityArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let known = host.host().ok();
    let node = known.as_ref().and_then(Host::node).map(|node| node.to_string());
    let local = known.map(|known| known.local);
    let path = place(arguments, host, local.as_ref())?;
    let new = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        other => other.map(|_| false)?,
    };
    let identity = if new {
        let identity = Identity::generate()?;
        write(&path, &identity)?;
        identity
    } else {
        output::talk(format_args!("{} exists and was left as it is", path.display()));
        read_identities(&path)?.swap_remove(0)
    };
    let recipient = identity.recipient();
    output::result(
        format,
        &json!({ "recipient": recipient.to_string(), "file": path, "new": new }),
        recipient,
    )?;
    let named = local.as_ref().and_then(|local| local.secrets.identity.as_ref());
    if named.is_none_or(|named| named.as_path() != path) {
        output::talk(format_args!(
            "next: name it in {}, `secrets: {{ identity: {} }}`; the user that wachter-launcher runs as must own it",
            host.local_file().display(),
            path.display()
        ));
    }
    output::talk(format_args!(
        "next: in the managed repository, `wachter trust add-recipient {} {recipient}`, then `wachter secret rotate`",
        node.as_deref().unwrap_or("NAME")
    ));
    Ok(())
}

fn place(
    arguments: &IdentityArguments,
    host: &HostOptions,
    local: Option<&LocalFile>,
) -> Result<PathBuf, CommandError> {
    let named = local.and_then(|local| local.secrets.identity.as_ref());
    let path = match (&arguments.file, named) {
        (Some(path), _) => path.clone(),
        (None, Some(named)) => named.as_path().to_owned(),
        (None, None) => host.local_file().with_file_name("identity"),
    };
    Ok(std::path::absolute(path)?)
}

fn write(path: &Path, identity: &Identity) -> Result<(), CommandError> {
    let text = Zeroizing::new(format!(
        "# opens the secrets of this host; made by `wachter secret identity`\n# recipient: {}\n{}\n",
        identity.recipient(),
        *identity.secret_text()
    ));
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| CommandError::failed(format!("{}: {error}", folder.display())))?;
    }
    keys::create(path, text.as_bytes(), 0o600)
}
