//! `wachter join`: a host follows a managed repository that somebody else set up.
//!
//! What decides over a host (address, identity, roots) comes through the command line, by a person who
//! copied it from a host that they trust, and never from the repository.

use std::fmt::Write as _;

use clap::Args;
use wachter_protocol::LocalFile;
use wachter_trust::{RepositoryId, Ring, Roots};

use super::local_file::{self, Decisions};
use crate::configuration::label;
use crate::failure::{CommandError, CommandResult, chain};
use crate::output;
use crate::place::{HostOptions, is_root};

/// Let this host follow a managed repository that exists: write its local file.
#[derive(Args, Debug)]
pub(crate) struct JoinArguments {
    /// Where this host fetches the repository
    #[arg(value_name = "URL|PATH", required_unless_present = "print")]
    url: Option<String>,
    /// The repository's identity, which every release names
    #[arg(long, required_unless_present = "print")]
    id: Option<RepositoryId>,
    /// A key that signs trust/trust.yaml, as in an OpenSSH .pub file; may be given again
    #[arg(long = "root", value_name = "KEY", required_unless_present = "print")]
    roots: Vec<String>,
    /// How many of the roots must have signed
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: u32,
    /// A label of this host, by which configuration is chosen: role=web; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Take releases of this ring alone; may be given again
    #[arg(long = "ring", value_name = "RING")]
    rings: Vec<Ring>,
    /// Print the command with which other hosts join the repository of this one
    #[arg(long, conflicts_with_all = ["url", "id", "roots", "labels", "rings"])]
    print: bool,
}

pub(crate) fn join(arguments: JoinArguments, host: &HostOptions) -> CommandResult {
    if arguments.print {
        return print(&host.host()?.local);
    }
    let JoinArguments { url: Some(url), id: Some(id), roots, threshold, labels, rings, .. } =
        arguments
    else {
        return Err(CommandError::usage("the address and --id are missing"));
    };
    Roots::of_local_file(threshold, &roots, id)
        .map_err(|error| CommandError::usage(chain(&error)))?;
    let path = host.local_file();
    if path.symlink_metadata().is_ok() {
        return Err(CommandError::refused(format!(
            "{} exists, so this host belongs to somebody already; edit that file, or remove it first",
            path.display()
        )));
    }
    let decisions = Decisions { id, url, roots, threshold, labels, rings };
    local_file::write(host, &decisions)?;
    output::talk("\nNext:");
    output::talk(format_args!(
        "  a credential, if the server asks for one, under `repository` in {}",
        path.display()
    ));
    output::talk("  wachter verify, to see what this host would accept");
    output::talk(if is_root() {
        "  systemctl enable --now wachter-launcher wachter"
    } else {
        "  wachter run"
    });
    Ok(())
}

fn print(local: &LocalFile) -> CommandResult {
    let (repository, roots) = (&local.repository, &local.roots);
    let mut command = format!("wachter join {} --id {}", quoted(&repository.url), repository.id);
    for key in &roots.keys {
        // Writing to a string does not fail.
        let _ = write!(command, " --root {}", quoted(key));
    }
    if roots.threshold != 1 {
        let _ = write!(command, " --threshold {}", roots.threshold);
    }
    output::data(command)?;
    if repository.url.starts_with('/') {
        output::talk(format_args!(
            "note: {} is a folder of this host; give others an address that they reach",
            repository.url
        ));
    }
    Ok(())
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./:@+=".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one() {
        for (text, word) in [
            ("https://git.example.com/infra.git", "https://git.example.com/infra.git"),
            ("ssh-ed25519 AAAA ann", "'ssh-ed25519 AAAA ann'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
