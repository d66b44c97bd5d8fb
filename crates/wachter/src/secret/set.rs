use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use serde_json::json;
use wachter_secret::{MAX_VALUE_BYTES, MIN_REDACTED_BYTES};
use zeroize::Zeroizing;

use super::{SetArguments, store};
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::repository::Repository;

pub(super) fn carry_out(arguments: &SetArguments, format: Format) -> CommandResult {
    let SetArguments { name, file, repository } = arguments;
    let repository = Repository::open(repository)?;
    let recipients = store::recipients(&repository.trust()?)?;
    let value = read(file.as_deref())?;
    store::check_size(&value)?;
    let new = !repository.path(&store::file_of(name)).exists();
    store::put(&repository, name, &value, &recipients)?;
    if value.ends_with(b"\n") {
        output::talk(
            "note: the value ends with a line feed, which is kept; `printf %s` writes none",
        );
    }
    if value.trim_ascii().len() < MIN_REDACTED_BYTES {
        output::talk(format_args!(
            "note: the value has fewer than {MIN_REDACTED_BYTES} bytes, so it is not taken out of what modules write, \
             and can be guessed; use a longer one"
        ));
    }
    let names: Vec<String> = recipients.iter().map(|(name, _)| name.to_string()).collect();
    let path = store::file_of(name);
    output::result(
        format,
        &json!({ "secret": name, "file": path, "new": new, "recipients": names }),
        format_args!("wrote {path}, which {} can open", names.join(", ")),
    )?;
    output::talk("next: commit it, then `wachter release`");
    Ok(())
}

/// The value, of a file or of standard input, with a byte more than there may be.
fn read(file: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // Room at once: growing would leave copies behind that nobody wipes.
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 1));
    let most = MAX_VALUE_BYTES as u64 + 1;
    match file {
        Some(path) => {
            let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut value));
            read.map_err(|error| {
                CommandError::failed(format!("cannot read {}: {error}", path.display()))
            })?;
        }
        None if io::stdin().is_terminal() => {
            return Err(CommandError::usage(
                "the value comes on standard input, and what is typed here would show; name a file with --file, or \
                 write `read -rs V && printf %s \"$V\" | wachter secret set NAME`",
            ));
        }
        None => {
            let read = io::stdin().lock().take(most).read_to_end(&mut value);
            read.map_err(|error| {
                CommandError::failed(format!("cannot read standard input: {error}"))
            })?;
        }
    }
    Ok(value)
}
