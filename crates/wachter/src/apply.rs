//! `wachter apply`: a release without a server.

use std::path::PathBuf;

use clap::Args;

use crate::failure::CommandResult;
use crate::output::Format;
use crate::place::HostOptions;
use crate::sync;

#[derive(Args, Debug)]
pub(crate) struct ApplyArguments {
    /// A file made by `git bundle create FILE main --tags`
    bundle: PathBuf,
}

pub(crate) fn carry_out(
    arguments: ApplyArguments,
    options: &HostOptions,
    format: Format,
) -> CommandResult {
    let (mut follower, _lock) = sync::open(options, "apply")?;
    follower.take_bundle(std::path::absolute(arguments.bundle)?)?;
    sync::judge_and_deploy(&mut follower, format)
}
