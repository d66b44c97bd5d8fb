//! `wachter`: the node and its commands. Wiring, words and exit codes; what is decided is decided in
//! the libraries.

mod client;
mod completions;
mod configuration;
mod credential;
mod data_lock;
mod doctor;
mod exec;
mod failure;
mod follow;
mod git;
mod init;
mod keys;
mod man;
mod module;
mod node;
mod output;
mod place;
mod python;
#[cfg(test)]
mod reference;
mod release;
mod repository;
mod schema;
mod secret;
mod sign;
mod status;
mod support_bundle;
mod sync;
mod trust;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use failure::{CommandError, CommandResult};
use output::Format;
use place::HostOptions;

/// Keeps machines in order from Git: accepts only signed releases, and runs their modules confined.
#[derive(Parser, Debug)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    host: HostOptions,
    /// How data is written
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Format,
}

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  it could not be done: a file, the network, the launcher
  2  the command line is wrong
  3  it was refused: a signature, a grant, a check did not hold
  4  a run was begun and did not succeed
  5  no node answers: none runs here, or it went away in the middle";

#[derive(Subcommand, Debug)]
enum Command {
    /// Set up a managed repository, with a key and a local file for this host
    Init(init::InitArguments),
    /// Let this host follow a managed repository that exists: write its local file
    Join(init::JoinArguments),
    /// Sign modules
    Sign(sign::SignArguments),
    /// Check the configuration of the work tree, as nodes will
    Check(configuration::CheckArguments),
    /// Show what configuration comes to
    Config(configuration::ConfigArguments),
    /// Show what would change for a host between two commits
    Diff(configuration::DiffArguments),
    /// Make a signed release of the present commit
    Release(release::ReleaseArguments),
    /// Say what a node would say to a release, and why
    Verify(verify::VerifyArguments),
    /// Show and change who is trusted
    Trust(trust::TrustArguments),
    /// Keep secrets in the managed repository, encrypted
    Secret(secret::SecretArguments),
    /// Run the node: follow the repository and keep its agents going
    Run(node::RunArguments),
    /// Look for a new release now, or have the node that runs do it, and say what came of it
    Sync(sync::SyncArguments),
    /// Go back to an earlier accepted release
    Rollback(sync::RollbackArguments),
    /// Stay on a release for a while
    Pin(sync::PinArguments),
    /// Follow new releases again
    Unpin,
    /// Take a release from a Git bundle, through the same checks
    Apply(sync::ApplyArguments),
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Run a module once, by its name or from its folder
    Exec(exec::ExecArguments),
    /// Make and try modules
    Module(module::ModuleArguments),
    /// Print the JSON Schemas of the files that people write
    Schema(schema::SchemaArguments),
    /// Show what this host can enforce, and how to get more
    Doctor(doctor::DoctorArguments),
    /// Collect what helps to find out what is wrong, without secrets, into one file
    SupportBundle(support_bundle::BundleArguments),
    /// Print what makes a shell complete these commands
    Completions(completions::CompletionsArguments),
    /// Write the manual pages of these commands
    Man(man::ManArguments),
    /// Fetch in a confined process of its own; started by the node
    #[command(hide = true)]
    FetchWorker,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if matches!(arguments.command, Command::FetchWorker) {
        return sync::fetch_worker();
    }
    match carry_out(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError { kind, message }) => {
            output::talk(format_args!("wachter: {message}"));
            ExitCode::from(kind as u8)
        }
    }
}

fn carry_out(arguments: Arguments) -> CommandResult {
    let Arguments { command, host, output } = arguments;
    match command {
        Command::Init(arguments) => init::carry_out(&arguments, &host),
        Command::Join(arguments) => init::join(arguments, &host),
        Command::Sign(arguments) => sign::carry_out(&arguments, output),
        Command::Check(arguments) => configuration::check(&arguments, output),
        Command::Config(arguments) => configuration::config(arguments, &host, output),
        Command::Diff(arguments) => configuration::diff(&arguments, output),
        Command::Release(arguments) => release::carry_out(&arguments, &host, output),
        Command::Verify(arguments) => verify::carry_out(arguments, &host, output),
        Command::Trust(arguments) => trust::carry_out(&arguments, &host, output),
        Command::Secret(arguments) => secret::carry_out(&arguments, &host, output),
        Command::Run(arguments) => block_on(node::carry_out(arguments, host, output)),
        Command::Sync(arguments) => sync::sync(arguments, &host, output),
        Command::Rollback(arguments) => sync::rollback(&arguments, &host, output),
        Command::Pin(arguments) => sync::pin(&arguments, &host, output),
        Command::Unpin => sync::unpin(&host, output),
        Command::Apply(arguments) => sync::apply(arguments, &host, output),
        Command::Client(command) => block_on(client::carry_out(command, host, output)),
        Command::Exec(arguments) => block_on(exec::carry_out(arguments, host, output)),
        Command::Module(arguments) => module::carry_out(arguments, host, output),
        Command::Schema(arguments) => schema::carry_out(&arguments, output),
        Command::Doctor(arguments) => block_on(doctor::carry_out(arguments, host, output)),
        Command::SupportBundle(arguments) => {
            block_on(support_bundle::carry_out(arguments, host, output))
        }
        Command::Completions(arguments) => completions::carry_out(&arguments),
        Command::Man(arguments) => man::carry_out(&arguments, output),
        Command::FetchWorker => Ok(()),
    }
}

/// Two threads: what a node does is waiting, mostly.
fn block_on(work: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(work);
    // What still waits for a server is not waited for.
    runtime.shutdown_background();
    result
}
