use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use wachter_api::shapes::{Agent, AgentName, AgentState, Sent};
use wachter_api::{
    Call, ListAgents, PauseAgent, Problem, ProblemKind, ResumeAgent, RunAgent, Server,
};
use wachter_config::Trigger;
use wachter_runtime::dispatch::{
    AgentReport, Handle, HandleError, RunRequested, allow_request, request_event,
};
use wachter_runtime::{Deployment, schedule};

use super::dead_letters::subscription;
use super::events::publish;
use super::problems::{self, no_release, unhandled, unknown};
use super::status::number;
use super::with;
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<ListAgents, _, _>(with(node, list))
        .answer::<RunAgent, _, _>(with(node, run))
        .answer::<PauseAgent, _, _>(with(node, pause))
        .answer::<ResumeAgent, _, _>(with(node, resume))
}

async fn list(node: Arc<Node>, _: Call<ListAgents>) -> Result<Vec<Agent>, Problem> {
    let handle = node.agents.borrow().clone();
    if let Some(handle) = handle {
        match handle.report().await {
            Ok(reports) => return Ok(reports.iter().map(reported).collect()),
            // It went away in between.
            Err(HandleError::Away | HandleError::Unknown(_) | HandleError::NotKept(_)) => {}
        }
    }
    let deployment = node.deployment.borrow().clone();
    let agents = deployment.iter().flat_map(|deployment| deployment.catalogue.agents());
    Ok(agents.map(stopped).collect())
}

async fn run(node: Arc<Node>, call: Call<RunAgent>) -> Result<Sent, Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let agent = known(&call.parameter::<String>()?, &deployment)?;
    let (request, caller) = (call.body, call.caller);
    let request = RunRequested { input: request.input, dry_run: request.dry_run, by: caller.name };
    let allowed = allow_request(agent, &deployment.catalogue, &request);
    allowed.map_err(|refused| Problem::invalid(refused.to_string()))?;
    let module = deployment.modules.get(&agent.module);
    if let Some(reason) = module.and_then(|module| module.reason()) {
        return Err(Problem::new(
            ProblemKind::Refused,
            format!("`{}` may not run: {reason}", agent.module),
        ));
    }
    // An agent that never was at work has no place in the journal yet: nobody would hear of it.
    let listens = subscription(agent.name.as_str())?;
    if !node.bus.subscriptions().iter().any(|status| status.name == listens) {
        return Err(unhandled(&HandleError::Away));
    }
    let event = request_event(&node.sources, &agent.name, &request, Timestamp::now());
    publish(&node.bus, event.map_err(|error| Problem::invalid(error.to_string()))?).await
}

async fn pause(node: Arc<Node>, call: Call<PauseAgent>) -> Result<Agent, Problem> {
    let by = call.caller.name.clone();
    // Who it was is said beside the reason.
    let reason = problems::reason(call.body.reason.as_deref().unwrap_or_default())?;
    let (handle, name) = at_work(&node, &call.parameter::<String>()?)?;
    handle.pause_by(name.clone(), reason, by).await.map_err(|error| unhandled(&error))?;
    one(&handle, name).await
}

async fn resume(node: Arc<Node>, call: Call<ResumeAgent>) -> Result<Agent, Problem> {
    let (handle, name) = at_work(&node, &call.parameter::<String>()?)?;
    handle.resume_by(name.clone(), call.caller.name).await.map_err(|error| unhandled(&error))?;
    one(&handle, name).await
}

/// Who runs an agent, and the agent's name.
fn at_work(node: &Node, name: &str) -> Result<(Handle, AgentName), Problem> {
    let deployment = node.deployment.borrow().clone().ok_or_else(no_release)?;
    let name = known(name, &deployment)?.name.clone();
    let handle = node.agents.borrow().clone().ok_or_else(|| unhandled(&HandleError::Away))?;
    Ok((handle, name))
}

fn known<'d>(name: &str, deployment: &'d Deployment) -> Result<&'d wachter_config::Agent, Problem> {
    let agents = || deployment.catalogue.agents();
    agents().find(|agent| agent.name.as_str() == name).ok_or_else(|| {
        unknown("agent", name, agents().map(|agent| agent.name.as_str()), "wachter agents")
    })
}

async fn one(handle: &Handle, name: AgentName) -> Result<Agent, Problem> {
    let reports = handle.report().await.map_err(|error| unhandled(&error))?;
    let report = reports.iter().find(|report| report.agent.name == name);
    report.map(reported).ok_or_else(|| unhandled(&HandleError::Unknown(name)))
}

fn reported(report: &AgentReport) -> Agent {
    let last = report.last.as_ref();
    Agent {
        state: match report.state {
            schedule::AgentState::Idle => AgentState::Idle,
            schedule::AgentState::Running => AgentState::Running,
            schedule::AgentState::Degraded => AgentState::Degraded,
            schedule::AgentState::Paused => AgentState::Paused,
            schedule::AgentState::Stopped => AgentState::Stopped,
        },
        reason: report
            .reason
            .clone()
            .or_else(|| report.waits_for.as_ref().map(ToString::to_string)),
        next: report.next,
        running: number(report.running),
        queued: number(report.queued),
        runs: report.runs,
        failures: report.failures,
        last_run: last.map(|record| record.run),
        last_started: last.map(|record| record.started),
        last_outcome: last.map(|record| record.outcome.clone()),
        last_message: last.and_then(|record| record.message.clone()),
        ..stopped(&report.agent)
    }
}

/// An agent that nobody runs.
fn stopped(agent: &wachter_config::Agent) -> Agent {
    Agent {
        name: agent.name.clone(),
        role: word(&agent.role),
        module: agent.module.clone(),
        state: AgentState::Stopped,
        reason: Some("there is no launcher; `wachter status` says more".to_owned()),
        next: None,
        wakes_on: wakes_on(agent),
        running: 0,
        queued: 0,
        runs: 0,
        failures: 0,
        last_run: None,
        last_started: None,
        last_outcome: None,
        last_message: None,
    }
}

/// What wakes an agent, in words.
fn wakes_on(agent: &wachter_config::Agent) -> Vec<String> {
    let schedule = agent.on.schedule.as_ref().map(|schedule| match schedule.trigger() {
        Trigger::Every(every) => format!("every {}", every.interval()),
        Trigger::Cron { cron, timezone } => format!("cron {cron} ({timezone})"),
    });
    let topics = agent.on.events.iter().map(ToString::to_string);
    schedule.into_iter().chain(topics).collect()
}

/// A word of a closed list, as configuration writes it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
