use clap::Args;
use jiff::Timestamp;
use wachter_api::shapes::{Freeze, Frozen};
use wachter_api::{FreezeEffects, Nothing, ThawEffects};

use super::node::{Node, data_of};
use crate::data_lock;
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::node::{remove_frozen, write_frozen};
use crate::output::{self, Format};
use crate::place::{HostOptions, user_name};

#[derive(Args, Debug)]
pub(crate) struct FreezeArguments {
    /// Why, for whoever finds the node frozen
    #[arg(long)]
    reason: String,
}

/// Asks the node; where none runs, writes what it will find. A node that does not answer is no
/// reason not to freeze: it is frozen from its next start, and that is said.
pub(super) async fn freeze(
    arguments: FreezeArguments,
    node: &Node,
    host: &HostOptions,
    format: Format,
) -> CommandResult {
    let FreezeArguments { reason } = arguments;
    let asked = node.ask::<FreezeEffects>(&Nothing {}, &Freeze { reason: reason.clone() }).await;
    let (frozen, result) = match asked {
        Ok(Some(frozen)) => (frozen, Ok(())),
        Ok(None) => {
            let data = data_of(host)?;
            let _lock = data_lock::take(&data, "freeze").map_err(data_lock::Locked::into_error)?;
            (write(&data, reason)?, Ok(()))
        }
        Err(error) if error.kind == ExitKind::NoNode => {
            let frozen = write(&data_of(host)?, reason)?;
            (
                frozen,
                Err(CommandError::new(
                    error.kind,
                    format!(
                        "effects are stopped from the node's next start only: {}",
                        error.message
                    ),
                )),
            )
        }
        Err(error) => return Err(error),
    };
    output::result(
        format,
        &frozen,
        format_args!("effects are stopped, detection goes on; `wachter thaw` ends that"),
    )?;
    result
}

fn write(data: &std::path::Path, reason: String) -> Result<Frozen, CommandError> {
    data_lock::check_owner(data)?;
    let frozen = Frozen {
        reason,
        by: user_name(rustix::process::geteuid().as_raw()),
        since: Timestamp::now(),
    };
    write_frozen(data, &frozen).map_err(|error| {
        CommandError::failed(format!("cannot write to {}: {error}", data.display()))
    })?;
    Ok(frozen)
}

pub(super) async fn thaw(node: &Node, host: &HostOptions, format: Format) -> CommandResult {
    if node.ask::<ThawEffects>(&Nothing {}, &Nothing {}).await?.is_none() {
        let data = data_of(host)?;
        let _lock = data_lock::take(&data, "thaw").map_err(data_lock::Locked::into_error)?;
        remove_frozen(&data)?;
    }
    output::result(format, &Nothing {}, "effects are let happen again")
}
