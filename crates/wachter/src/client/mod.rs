//! The commands that ask the node: thin over `wachter-api`, they call, and show what is answered.

mod agents;
mod audit;
mod configuration;
mod dead_letters;
mod document;
mod events;
mod freeze;
mod logs;
mod messages;
mod modules;
mod moment;
mod node;
mod replay;
mod runs;
mod trace;
mod words;

use clap::Subcommand;

pub(crate) use agents::state;
pub(crate) use configuration::{GetArguments, get as get_configuration, reload};
pub(crate) use node::Node;
pub(crate) use words::time;

use crate::failure::CommandResult;
use crate::output::Format;
use crate::place::HostOptions;
use crate::status;

#[derive(Subcommand, Debug)]
pub(crate) enum ClientCommand {
    /// Show what the node is doing, which release is in force, and what holds it there
    Status(status::StatusArguments),
    /// Show the modules of the present release
    Modules,
    /// Show agents, run them, and make them wait
    Agents(agents::AgentsArguments),
    /// Show what was run, newest first, or one run in full
    Runs(runs::RunsArguments),
    /// Show events, and go on as they come
    Events(events::EventsArguments),
    /// Show the node's log, and go on as it grows
    Logs(logs::LogsArguments),
    /// Put an event in
    Send(messages::SendArguments),
    /// Put a question in, and wait for the answer
    Request(messages::RequestArguments),
    /// Show what an event was caused by, and what it caused
    Trace(trace::TraceArguments),
    /// Show what was changed on this host
    Changes(audit::ChangesArguments),
    /// Show, repeat and forget events that were given up
    DeadLetters(dead_letters::DeadLettersArguments),
    /// Deliver events to an agent once more
    Replay(replay::ReplayArguments),
    /// Show how far each subscription is
    Subscriptions,
    /// Check and hand out the journal
    Audit(audit::AuditArguments),
    /// Stop effects; detection goes on
    Freeze(freeze::FreezeArguments),
    /// Let effects happen again
    Thaw,
}

pub(crate) async fn carry_out(
    command: ClientCommand,
    host: HostOptions,
    format: Format,
) -> CommandResult {
    let node = Node::new(&host);
    match command {
        ClientCommand::Status(arguments) => {
            status::carry_out(&arguments, &node, &host, format).await
        }
        ClientCommand::Modules => modules::carry_out(&node, &host, format).await,
        ClientCommand::Agents(arguments) => agents::carry_out(arguments, &node, format).await,
        ClientCommand::Runs(arguments) => runs::carry_out(arguments, &node, format).await,
        ClientCommand::Events(arguments) => events::carry_out(arguments, &node, format).await,
        ClientCommand::Logs(arguments) => logs::carry_out(arguments, &node, format).await,
        ClientCommand::Send(arguments) => messages::send(arguments, &node, format).await,
        ClientCommand::Request(arguments) => messages::request(arguments, &node, format).await,
        ClientCommand::Trace(arguments) => trace::carry_out(&arguments, &node, format).await,
        ClientCommand::Changes(arguments) => audit::changes(&arguments, &node, format).await,
        ClientCommand::DeadLetters(arguments) => {
            dead_letters::carry_out(arguments, &node, format).await
        }
        ClientCommand::Replay(arguments) => replay::replay(arguments, &node, format).await,
        ClientCommand::Subscriptions => replay::subscriptions(&node, format).await,
        ClientCommand::Audit(arguments) => audit::carry_out(&arguments, &node, format).await,
        ClientCommand::Freeze(arguments) => freeze::freeze(arguments, &node, &host, format).await,
        ClientCommand::Thaw => freeze::thaw(&node, &host, format).await,
    }
}
