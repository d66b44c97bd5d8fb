//! `wachter trust`: shows and changes who is trusted.

mod change;
mod recipients;
mod roots;
mod show;
mod write;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use wachter_secret::Recipient;
use wachter_trust::{Purpose, SignerName};

pub(crate) use roots::{KnownRoots, RootOptions, assume as assume_roots, find as find_roots};

use crate::failure::CommandResult;
use crate::keys::KeyOptions;
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::release::Validity;
use crate::repository::{Repository, RepositoryOptions};

/// Show and change who is trusted.
#[derive(Args, Debug)]
pub(crate) struct TrustArguments {
    #[command(subcommand)]
    command: TrustCommand,
}

/// Where the trust file is, and who signs it.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    roots: RootOptions,
    #[command(flatten)]
    repository: RepositoryOptions,
}

#[derive(Subcommand, Debug)]
enum TrustCommand {
    /// Show who may do what, and whether the signatures hold
    Show(Place),
    /// Sign trust/trust.yaml as a root; signatures of other roots that hold are kept
    Sign(SignTrustArguments),
    /// Add a person or a key
    AddSigner(AddArguments),
    /// Put a new key in the place of a signer's old one
    Rotate(RotateArguments),
    /// Take all power from a key, for good
    Revoke(RevokeArguments),
    /// Let a host or a person read the secrets of the repository
    AddRecipient(AddRecipientArguments),
    /// Keep a host or a person from reading secrets that are encrypted from now on
    RemoveRecipient(RemoveRecipientArguments),
    /// Print the keys as an OpenSSH allowed_signers file, for ssh-keygen and `git verify-tag`
    AllowedSigners {
        /// What the keys are to verify
        purpose: PurposeName,
        #[command(flatten)]
        repository: RepositoryOptions,
    },
}

/// Sign the trust file as it is.
#[derive(Args, Debug)]
struct SignTrustArguments {
    /// Set the last day on which a node that is new takes it: 365d, 2027-01-31 or a time; raises the serial
    #[arg(long, value_name = "DATE")]
    not_after: Option<Validity>,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

/// Add a person or a key.
#[derive(Args, Debug)]
struct AddArguments {
    /// A new name, or one that is to have another key or more power
    name: SignerName,
    /// The public key
    #[arg(value_name = "KEY.pub")]
    public_key: PathBuf,
    /// May sign releases
    #[arg(long)]
    release: bool,
    /// May publish a module: its name, a beginning as in web-*, or * for all; may be given several times
    #[arg(long, value_name = "PATTERN")]
    publish: Vec<String>,
    /// May approve actions
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

/// Replace a key.
#[derive(Args, Debug)]
struct RotateArguments {
    /// The signer's name, or the old key's fingerprint where there are several
    #[arg(long, value_name = "NAME|FINGERPRINT")]
    old: String,
    /// The new public key
    #[arg(long, value_name = "FILE")]
    new_key: PathBuf,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

/// Revoke a key.
#[derive(Args, Debug)]
struct RevokeArguments {
    /// A `.pub` file, a fingerprint (SHA256:...), or a signer's name for all of their keys
    #[arg(value_name = "KEY|FINGERPRINT|NAME")]
    target: String,
    /// Why, for those who read it later
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

/// Add a recipient of secrets, or give one another key.
#[derive(Args, Debug)]
struct AddRecipientArguments {
    /// Whose it is: a node's or a person's name
    name: SignerName,
    /// The age recipient, which `wachter secret identity` prints on that host
    #[arg(value_name = "age1...")]
    recipient: Recipient,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

/// Remove a recipient of secrets.
#[derive(Args, Debug)]
struct RemoveRecipientArguments {
    /// Whose
    name: SignerName,
    #[command(flatten)]
    key: KeyOptions,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PurposeName {
    /// Tags that are releases
    Release,
    /// The digests of modules
    Module,
}

pub(crate) fn carry_out(
    arguments: &TrustArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    match &arguments.command {
        TrustCommand::Show(place) => {
            let repository = Repository::open(&place.repository)?;
            show::carry_out(&repository, &place.roots, host, format)
        }
        TrustCommand::Sign(arguments) => change::sign(arguments, host, format),
        TrustCommand::AddSigner(arguments) => change::add(arguments, host, format),
        TrustCommand::Rotate(arguments) => change::rotate(arguments, host, format),
        TrustCommand::Revoke(arguments) => change::revoke(arguments, host, format),
        TrustCommand::AddRecipient(arguments) => recipients::add(arguments, host, format),
        TrustCommand::RemoveRecipient(arguments) => recipients::remove(arguments, host, format),
        TrustCommand::AllowedSigners { purpose, repository } => {
            let purpose = match purpose {
                PurposeName::Release => Purpose::Release,
                PurposeName::Module => Purpose::Module,
            };
            let text = Repository::open(repository)?.trust()?.allowed_signers(purpose);
            output::data(text.trim_end())
        }
    }
}
