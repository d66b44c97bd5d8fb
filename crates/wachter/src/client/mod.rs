//! The commands that ask the node: thin over `wachter-api`, they call, and show what is answered.

mod agents;
mod audit;
mod configuration;
mod dead_letters;
mod document;
mod events;
mod findings;
mod freeze;
mod logs;
mod messages;
mod modules;
mod moment;
mod node;
mod record;
mod replay;
mod runs;
mod trace;
mod words;

use clap::Subcommand;

pub(crate) use agents::state;
pub(crate) use configuration::{GetArguments, get as get_configuration, reload};
pub(crate) use node::Node;
pub(crate) use record::record;
pub(crate) use words::{count, time};

use crate::failure::CommandResult;
use crate::node::Offline;
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
    /// Show what is wrong now, the worst first
    Findings(findings::FindingsArguments),
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
    // Who may not read the local file asks the node, or hears that there is none.
    if command.looks_back()
        && let Ok(data) = host.host()
    {
        return Offline::around(data, false, ask(command, host, format)).await?;
    }
    ask(command, host, format).await
}

impl ClientCommand {
    /// Whether it is about what was journalled, which is there without a node too.
    fn looks_back(&self) -> bool {
        match self {
            Self::Events(arguments) => !arguments.follow,
            Self::Logs(arguments) => !arguments.follow,
            Self::Findings(_)
            | Self::Runs(_)
            | Self::Trace(_)
            | Self::Changes(_)
            | Self::DeadLetters(_)
            | Self::Subscriptions
            | Self::Audit(_) => true,
            _ => false,
        }
    }
}

async fn ask(command: ClientCommand, host: HostOptions, format: Format) -> CommandResult {
    let node = Node::new(&host);
    match command {
        ClientCommand::Status(arguments) => {
            status::carry_out(&arguments, &node, &host, format).await
        }
        ClientCommand::Modules => modules::carry_out(&node, &host, format).await,
        ClientCommand::Agents(arguments) => agents::carry_out(arguments, &node, format).await,
        ClientCommand::Findings(arguments) => findings::carry_out(arguments, &node, format).await,
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::Arguments;

    /// Each command with all that it takes: what is declared has to be what is read.
    #[test]
    fn every_command_line_is_read() {
        let right = [
            "status --watch",
            "modules --data /data",
            "agents --watch",
            "agents show hello",
            "agents run hello --input a=1 -i @file --dry-run --wait",
            "agents pause hello --reason drill",
            "agents resume hello",
            "agents routes --event -",
            "runs --agent a --module b --outcome failed --since 2d --limit 5",
            "runs 0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55",
            "events --topic a.*,b.> --topic c --since 1h -n 5 -f",
            "logs --level warn --since 2026-11-22 --limit 5 --follow",
            "send a.b {} --subject s --key k --id i --data /data",
            "send a.b -1",
            "request a.b - --subject s --timeout 5s",
            "trace 7",
            "changes --since 1h",
            "dead-letters list --subscription a -n 5",
            "dead-letters show 1",
            "dead-letters retry 1",
            "dead-letters drop 1",
            "findings --agent a --severity high --all",
            "findings show 0f1e",
            "findings judge 0f1e false-positive --reason drill",
            "findings drop 0f1e",
            "replay a --from 1 --to 2",
            "replay a --since 1h --until 30m",
            "subscriptions",
            "audit verify --checkpoint file --key node-key.pub --from 1 --to 2",
            "audit export --from 1 --to 2",
            "freeze --reason drill",
            "thaw",
            "config get log.level",
            "config reload",
            "sync",
            "rollback --to 1",
            "pin 1 --for 1h",
            "pin --for 1h",
            "unpin",
            "apply file",
        ];
        let read = |line: &str| {
            let words = ["wachter"].into_iter().chain(line.split(' '));
            Arguments::try_parse_from(words.chain(["--output", "json"]))
        };
        for line in right {
            assert!(read(line).is_ok(), "{line}: {:?}", read(line).err());
        }
        let wrong = [
            ("runs 7", "a run is named by a UUID"),
            ("runs 0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55 --agent a", "cannot be used with"),
            ("events --topic .a", "invalid value"),
            ("events --since yesterday", "write how long ago"),
            ("logs --level loud", "possible values"),
            ("replay a", "--since"),
            ("replay a --from 1 --since 1h", "cannot be used with"),
            ("replay a --from 1 --to 2 --until 1h", "cannot be used with"),
            ("replay a --from 1 --effects", "unexpected argument"),
            ("freeze", "--reason"),
            ("audit verify --key node-key.pub", "--checkpoint"),
            ("request a.b --timeout 5", "is not a duration"),
        ];
        for (line, words) in wrong {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
