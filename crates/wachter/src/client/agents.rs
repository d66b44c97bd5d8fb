use clap::{Args, Subcommand};
use serde_json::{Value, json};
use wachter_api::shapes::{
    Agent, AgentState, ExplainRoutes, Pause, Request, RouteExplanation, RunsQuery,
};
use wachter_api::{
    ExplainEventRoutes, ListAgents, ListRuns, Nothing, PauseAgent, ResumeAgent, RunAgent,
};
use wachter_document::nearest;

use super::node::Node;
use super::words::{count, time_if_any};
use super::{document, runs};
use crate::exec::read_input;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Cell, Column, Format, Frame, Page, Table, Tone, View, keep_showing};

#[derive(Args, Debug)]
pub(crate) struct AgentsArguments {
    #[command(subcommand)]
    command: Option<AgentsCommand>,
    /// Show them each second anew, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

#[derive(Subcommand, Debug)]
enum AgentsCommand {
    /// Show one agent and its last runs
    Show {
        /// The agent's name
        name: String,
    },
    /// Run an agent now
    Run(RunArguments),
    /// Make an agent wait; runs under way go on
    Pause {
        /// The agent's name
        name: String,
        /// Why, for whoever finds it paused
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let an agent go on
    Resume {
        /// The agent's name
        name: String,
    },
    /// Explain which agents an event reaches, and why; without one, what each listens to
    Routes {
        /// A file with a CloudEvent in JSON, or `-` for stdin
        #[arg(long, value_name = "FILE")]
        event: Option<String>,
    },
}

#[derive(Args, Debug)]
struct RunArguments {
    /// The agent's name
    name: String,
    /// Laid over the agent's own input: NAME=VALUE, where VALUE is JSON or text, or @FILE with YAML
    /// or JSON
    #[arg(long, short, value_name = "NAME=VALUE|@FILE")]
    input: Vec<String>,
    /// Withhold everything that has effects, and ask the module to say what it would do
    #[arg(long)]
    dry_run: bool,
    /// Wait until the run is over, and show what came of it
    #[arg(long)]
    wait: bool,
}

pub(super) async fn carry_out(
    arguments: AgentsArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    match arguments.command {
        None => list(node, arguments.watch, format).await,
        Some(_) if arguments.watch => {
            Err(CommandError::usage("--watch is for the list of agents alone; leave it out"))
        }
        Some(AgentsCommand::Show { name }) => show(&name, node, format).await,
        Some(AgentsCommand::Run(arguments)) => run(arguments, node, format).await,
        Some(AgentsCommand::Pause { name, reason }) => {
            let pause = Pause { reason };
            let agent = node.call_at::<PauseAgent>(&name, &Nothing {}, &pause).await?;
            output::result(format, &agent, format_args!("agent {} waits", agent.name))
        }
        Some(AgentsCommand::Resume { name }) => {
            let agent = node.call_at::<ResumeAgent>(&name, &Nothing {}, &Nothing {}).await?;
            output::result(format, &agent, format_args!("agent {} goes on", agent.name))
        }
        Some(AgentsCommand::Routes { event }) => routes(event.as_deref(), node, format).await,
    }
}

async fn list(node: &Node, watch: bool, format: Format) -> CommandResult {
    let look = async || {
        let agents = node.get::<ListAgents>().await?;
        let mut page = Page::new(View::of_stdout());
        page.table(&table(&agents));
        Ok(Frame { value: json!(agents), page })
    };
    if watch {
        return keep_showing(format, look).await;
    }
    let Frame { value, page } = look().await?;
    match format {
        Format::Json => output::json(&value),
        Format::Human => page.print(),
    }
}

fn table(agents: &[Agent]) -> Table {
    let mut table = Table::new([
        Column::whole("AGENT"),
        Column::whole("STATE"),
        Column::whole("RUNNING").spare(2),
        Column::whole("QUEUED").spare(1),
        Column::whole("RUNS").spare(4),
        Column::whole("FAILED").spare(5),
        Column::whole("LAST (UTC)").spare(3),
        Column::whole("NEXT (UTC)").spare(6),
        Column::cut("WHY, OR WHAT THE LAST RUN SAID"),
    ]);
    for agent in agents {
        let (word, tone) = state(agent.state);
        table.row([
            Cell::plain(agent.name.as_str()),
            Cell::toned(word, tone),
            agent.running.to_string().into(),
            agent.queued.to_string().into(),
            agent.runs.to_string().into(),
            Cell::toned(
                &agent.failures.to_string(),
                if agent.failures > 0 { Tone::Warning } else { Tone::Plain },
            ),
            time_if_any(agent.last_started).into(),
            time_if_any(agent.next).into(),
            agent.reason.as_deref().or(agent.last_message.as_deref()).unwrap_or_default().into(),
        ]);
    }
    table
}

/// The word for a state, and what it means.
pub(crate) const fn state(state: AgentState) -> (&'static str, Tone) {
    match state {
        AgentState::Idle => ("idle", Tone::Good),
        AgentState::Running => ("running", Tone::Busy),
        AgentState::Degraded => ("degraded", Tone::Bad),
        AgentState::Paused => ("paused", Tone::Warning),
        AgentState::Stopped => ("stopped", Tone::Bad),
    }
}

/// How many of an agent's runs are shown with it.
const LAST_RUNS: u32 = 5;

async fn show(name: &str, node: &Node, format: Format) -> CommandResult {
    let agents = node.get::<ListAgents>().await?;
    let Some(agent) = agents.iter().find(|agent| agent.name.as_str() == name) else {
        return Err(unknown(name, &agents));
    };
    let query = RunsQuery {
        agent: Some(agent.name.clone()),
        limit: Some(LAST_RUNS),
        ..RunsQuery::default()
    };
    let last = node.call::<ListRuns>(&query, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&json!({ "agent": agent, "last_runs": last }));
    }
    let mut page = Page::new(View::of_stdout());
    describe(agent, &mut page);
    page.section("Last runs", &runs::table(&last));
    page.print()
}

fn unknown(name: &str, agents: &[Agent]) -> CommandError {
    let names = agents.iter().map(|agent| agent.name.as_str());
    let hint = nearest(name, names).map(|name| format!("; did you mean `{name}`?"));
    let hint = hint.unwrap_or_else(|| "; `wachter agents` lists them".to_owned());
    CommandError::failed(format!("there is no agent `{name}`{hint}"))
}

fn describe(agent: &Agent, page: &mut Page) {
    page.field("agent", agent.name.as_str());
    page.field("role", &agent.role);
    page.field("module", agent.module.as_str());
    let (word, tone) = state(agent.state);
    page.toned_field("state", word, tone);
    if let Some(reason) = &agent.reason {
        page.field("reason", reason);
    }
    for wakes in &agent.wakes_on {
        page.field("wakes on", wakes);
    }
    if let Some(next) = agent.next {
        page.field("next", &time_if_any(Some(next)));
    }
    page.field("at work", &format!("{} running, {} queued", agent.running, agent.queued));
    let runs = count(agent.runs, "run", "runs");
    page.field("since start", &format!("{runs}, {} failed", agent.failures));
}

async fn run(arguments: RunArguments, node: &Node, format: Format) -> CommandResult {
    let RunArguments { name, input, dry_run, wait } = arguments;
    let request = Request { input: read_input(&input)?, dry_run };
    let sent = node.call_at::<RunAgent>(&name, &Nothing {}, &request).await?;
    if wait {
        let followed = runs::follow(&name, &sent, node).await?;
        return runs::finish(&followed, format);
    }
    output::result(
        format,
        &sent,
        format_args!(
            "agent {name} was asked to run; `wachter trace {}` shows what came of it",
            sent.id
        ),
    )
}

async fn routes(event: Option<&str>, node: &Node, format: Format) -> CommandResult {
    let event: Option<Value> = event.map(document::json_file).transpose()?;
    let routes = node.call::<ExplainEventRoutes>(&Nothing {}, &ExplainRoutes { event }).await?;
    if format == Format::Json {
        return output::json(&routes);
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&routes_table(&routes));
    page.print()
}

fn routes_table(routes: &[RouteExplanation]) -> Table {
    let mut table = Table::new([
        Column::whole("AGENT"),
        Column::whole("REACHED"),
        Column::cut("TOPICS"),
        Column::cut("WHERE"),
        Column::cut("REASON"),
    ]);
    for route in routes {
        let (reached, tone) = match route.reached {
            Some(true) => ("yes", Tone::Good),
            Some(false) => ("no", Tone::Quiet),
            None => ("", Tone::Plain),
        };
        table.row([
            Cell::plain(route.agent.as_str()),
            Cell::toned(reached, tone),
            route.topics.join(", ").into(),
            route.condition.as_deref().unwrap_or_default().into(),
            route.reason.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, state: AgentState) -> Agent {
        Agent {
            name: name.parse().unwrap(),
            role: "monitoring".to_owned(),
            module: "disk".parse().unwrap(),
            state,
            reason: None,
            next: Some("2026-11-22T10:00:30Z".parse().unwrap()),
            wakes_on: vec!["every 30s".to_owned(), "disk.full".to_owned()],
            running: 0,
            queued: 2,
            runs: 1,
            failures: 0,
            last_run: None,
            last_started: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            last_outcome: Some("succeeded".to_owned()),
            last_message: Some("3 disks".to_owned()),
        }
    }

    #[test]
    fn lists_and_describes() {
        let mut degraded = agent("web", AgentState::Degraded);
        degraded.reason = Some("3 runs failed\u{1b}[2J".to_owned());
        degraded.failures = 3;
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[agent("disk", AgentState::Idle), degraded]));
        assert_eq!(
            page.lines(),
            [
                "AGENT  STATE     RUNNING  QUEUED  RUNS  FAILED  LAST (UTC)           NEXT (UTC)           WHY, OR WHAT THE LAST RUN SAID",
                "disk   idle      0        2       1     0       2026-11-22 10:00:00  2026-11-22 10:00:30  3 disks",
                "web    degraded  0        2       1     3       2026-11-22 10:00:00  2026-11-22 10:00:30  3 runs failed\\u{1b}[2J",
            ]
        );
        let mut page = Page::new(View::plain(None));
        describe(&agent("disk", AgentState::Paused), &mut page);
        assert_eq!(
            page.lines(),
            [
                "agent        disk",
                "role         monitoring",
                "module       disk",
                "state        paused",
                "wakes on     every 30s",
                "wakes on     disk.full",
                "next         2026-11-22 10:00:30",
                "at work      0 running, 2 queued",
                "since start  1 run, 0 failed",
            ]
        );
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest() {
        let agents = [agent("disk-monitor", AgentState::Idle), agent("web", AgentState::Idle)];
        assert_eq!(
            unknown("disk-monitr", &agents).message,
            "there is no agent `disk-monitr`; did you mean `disk-monitor`?"
        );
        assert!(unknown("backup", &agents).message.ends_with("`wachter agents` lists them"));
    }

    #[test]
    fn explains_routes() {
        let route = |agent: &str, reached: Option<bool>, reason: &str| RouteExplanation {
            agent: agent.parse().unwrap(),
            topics: vec!["scan.*".to_owned(), "github.push".to_owned()],
            condition: None,
            reached,
            reason: reason.to_owned(),
        };
        let mut page = Page::new(View::plain(None));
        page.table(&routes_table(&[
            route("scan", Some(true), "scan.* matches"),
            route("web", Some(false), "no topic matches"),
            route("disk", None, ""),
        ]));
        assert_eq!(
            page.lines(),
            [
                "AGENT  REACHED  TOPICS               WHERE  REASON",
                "scan   yes      scan.*, github.push         scan.* matches",
                "web    no       scan.*, github.push         no topic matches",
                "disk            scan.*, github.push",
            ]
        );
    }
}
