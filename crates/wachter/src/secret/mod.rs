//! `wachter secret`: the secrets of the managed repository, for who writes it.
//!
//! # Invariants
//! - A value comes from a file or from standard input, never from the command line, and goes nowhere but
//!   into an encrypted file.
//! - No error and no output holds a value or an identity.

mod identity;
mod list;
mod rotate;
mod set;
mod store;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wachter_model::SecretName;

use crate::failure::CommandResult;
use crate::output::Format;
use crate::place::HostOptions;
use crate::repository::RepositoryOptions;

/// Keep secrets in the managed repository, encrypted.
#[derive(Args, Debug)]
pub(crate) struct SecretArguments {
    #[command(subcommand)]
    command: SecretCommand,
}

#[derive(Subcommand, Debug)]
enum SecretCommand {
    /// Encrypt a value to the recipients of the trust file, and put it into config/secrets/
    Set(SetArguments),
    /// List secrets, and the modules that ask for them
    List(ListArguments),
    /// Encrypt secrets again, to the present recipients of the trust file
    Rotate(RotateArguments),
    /// Make the identity by which this host opens secrets, and print its recipient
    Identity(IdentityArguments),
}

/// Encrypt a value. It is read from standard input, or from a file.
#[derive(Args, Debug)]
struct SetArguments {
    /// What modules ask for it by, under `permissions.secrets`
    name: SecretName,
    /// Read the value from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// List secrets.
#[derive(Args, Debug)]
struct ListArguments {
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// Encrypt again.
#[derive(Args, Debug)]
struct RotateArguments {
    /// Which [default: all]
    names: Vec<SecretName>,
    /// The identity that opens them [default: `secrets.identity` of the local file]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    repository: RepositoryOptions,
}

/// Make an identity. One that is there is left as it is, and its recipient printed.
#[derive(Args, Debug)]
struct IdentityArguments {
    /// Where [default: `secrets.identity` of the local file, or `identity` beside that file]
    file: Option<PathBuf>,
}

pub(crate) fn carry_out(
    arguments: &SecretArguments,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    match &arguments.command {
        SecretCommand::Set(arguments) => set::carry_out(arguments, format),
        SecretCommand::List(arguments) => list::carry_out(arguments, format),
        SecretCommand::Rotate(arguments) => rotate::carry_out(arguments, host, format),
        SecretCommand::Identity(arguments) => identity::carry_out(arguments, host, format),
    }
}
