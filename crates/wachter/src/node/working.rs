//! The task that keeps the agents going with whatever launcher there is.

#[cfg(test)]
pub(in crate::node) mod stand_in;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wachter_bus::Bus;
use wachter_model::{AgentName, Level, NodeName};
use wachter_protocol::launcher::{Hello, RefusalKind};
use wachter_protocol::module::{HostViews, LogLine};
use wachter_protocol::{Egress, LocalFile};
use wachter_runtime::dispatch::{Dispatcher, DispatcherOptions, Handle, Ran, Runner, RunnerGone};
use wachter_runtime::{Deployment, NodeEvent, RunRecord, RunRequest, order};
use wachter_sandbox::{
    Failure, HostRoot, Launcher, LauncherGone, LauncherOptions, Update, Verdict, carry_out, sample,
};

use self::views::Views;
use super::freeze::Freezer;
use crate::failure::{CommandResult, chain};
use crate::output::{self, Format};

/// What the agents need.
pub(crate) struct Work {
    pub(crate) node: NodeName,
    pub(crate) bus: Bus,
    pub(crate) options: LauncherOptions,
    pub(crate) local: watch::Receiver<Arc<LocalFile>>,
    pub(crate) deployments: watch::Receiver<Option<Arc<Deployment>>>,
    pub(crate) settings: watch::Receiver<Arc<wachter_config::Settings>>,
    pub(crate) freezer: Freezer,
    pub(crate) launcher: watch::Sender<Option<Hello>>,
    /// The launcher itself, for those who build.
    pub(crate) runner: watch::Sender<Option<Launcher>>,
    /// Told of a module whose environment is not there.
    pub(crate) missing: Arc<Notify>,
    pub(crate) agents: watch::Sender<Option<Handle>>,
    pub(crate) format: Format,
}

/// The first pause after a launcher that went away, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// How long a launcher may take to introduce itself.
const FIRST_WORDS: Duration = Duration::from_secs(30);

/// How long a launcher that lost a run may take to be seen to be gone.
const LAST_SIGN: Duration = Duration::from_millis(500);

/// Keeps the agents going until shutdown, with one launcher after the other.
pub(crate) async fn work(work: Work, shutdown: CancellationToken) -> CommandResult {
    let mut pause = PAUSES.0;
    // Of all launchers together: a look that hangs outlives them.
    let views = Views::start(views::LIMIT, |views| sample(views, &HostRoot::default()))?;
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let trouble = match open(&work.options, &shutdown).await {
            None => return Ok(()),
            Some(Ok(launcher)) => {
                work.launcher.send_replace(Some(launcher.hello().clone()));
                work.runner.send_replace(Some(launcher.clone()));
                let ended = with_launcher(&work, launcher, &views, &shutdown).await;
                work.agents.send_replace(None);
                work.launcher.send_replace(None);
                work.runner.send_replace(None);
                if ended.is_ok() {
                    return Ok(());
                }
                "the launcher is gone; it is started again".to_owned()
            }
            Some(Err(reason)) => format!("modules cannot be run: {reason}"),
        };
        // Whoever was there for a while has earned a quick start.
        if began.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        // Who ends both of them at once ends the launcher first, now and then.
        tokio::select! {
            () = tokio::time::sleep(PAUSES.0) => tracing::error!(target: "agents", "{trouble}"),
            () = shutdown.cancelled() => {}
        }
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = shutdown.cancelled() => {} }
        pause = (pause * 2).min(PAUSES.1);
    }
    Ok(())
}

/// Reaches a launcher, or says why not; none where the node ends.
async fn open(
    options: &LauncherOptions,
    shutdown: &CancellationToken,
) -> Option<Result<Launcher, String>> {
    tokio::select! {
        opened = tokio::time::timeout(FIRST_WORDS, Launcher::open(options)) => Some(match opened {
            Ok(opened) => opened.map_err(|error| chain(&error)),
            Err(_) => Err(format!(
                "the launcher has said nothing for {} s; see what it does, or restart it",
                FIRST_WORDS.as_secs()
            )),
        }),
        () = shutdown.cancelled() => None,
    }
}

async fn with_launcher(
    work: &Work,
    launcher: Launcher,
    views: &Views,
    shutdown: &CancellationToken,
) -> Result<(), RunnerGone> {
    let runner =
        runner(launcher.clone(), work.local.clone(), Arc::clone(&work.missing), views.clone());
    let scheduler = work.settings.borrow().scheduler.clone();
    let options = DispatcherOptions {
        frozen: work.freezer.frozen().is_some(),
        ..DispatcherOptions::new(work.node.clone(), work.bus.clone(), runner, scheduler)
    };
    let dispatcher = Dispatcher::new(options, shutdown.clone());
    let handle = dispatcher.handle();
    let (reloaded, deployments) = watch::channel(None);
    let format = work.format;
    let working = dispatcher.run(deployments, move |event| tell(&event, format));
    let reloading = async {
        work.agents.send_replace(Some(handle.clone()));
        // Who stopped effects, or let them go, just before that found nobody to tell.
        work.freezer.apply(&handle).await;
        reload(&launcher, work.deployments.clone(), &reloaded).await
    };
    tokio::select! {
        worked = working => worked,
        gone = reloading => Err(gone),
        () = launcher.gone() => Err(RunnerGone),
    }
}

/// Hands deployments on once the launcher has read the local file again: what a run is granted is
/// worked out on both sides, so both must have read the same. Ends with the launcher.
async fn reload(
    launcher: &Launcher,
    mut deployments: watch::Receiver<Option<Arc<Deployment>>>,
    reloaded: &watch::Sender<Option<Arc<Deployment>>>,
) -> RunnerGone {
    loop {
        let deployment = deployments.borrow_and_update().clone();
        if let Err(LauncherGone) = launcher.reload().await {
            return RunnerGone;
        }
        reloaded.send_replace(deployment);
        if deployments.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Carries runs out by a launcher.
fn runner(
    launcher: Launcher,
    local: watch::Receiver<Arc<LocalFile>>,
    missing: Arc<Notify>,
    views: Views,
) -> Runner {
    Arc::new(move |request: RunRequest, cancel: CancellationToken| {
        let (launcher, egress) = (launcher.clone(), local.borrow().egress.clone());
        let (missing, views) = (Arc::clone(&missing), views.clone());
        Box::pin(async move { run(&launcher, egress, request, &cancel, &missing, &views).await })
    })
}

async fn run(
    launcher: &Launcher,
    egress: Egress,
    request: RunRequest,
    cancel: &CancellationToken,
    missing: &Notify,
    views: &Views,
) -> Result<Ran, RunnerGone> {
    let agent = request.cause.agent().cloned();
    let granted = &request.grant.permissions().host;
    let host = if granted.is_empty() {
        HostViews::default()
    } else {
        tokio::select! {
            host = views.take(granted) => host,
            // It is not begun any more.
            () = cancel.cancelled() => HostViews::default(),
        }
    };
    // What waiting for views took is none of the run's time.
    let started = Timestamp::now();
    let order = order(&request, &egress, host, started);
    let observe = |update| {
        if let (Update::Log(line), Some(agent)) = (update, &agent) {
            log(agent, &line);
        }
    };
    let report =
        carry_out(launcher, order, cancel, observe).await.map_err(|LauncherGone| RunnerGone)?;
    // What was cut off with its launcher is no failure of the module; what was lost while the launcher
    // lives is one.
    if report.verdict == Verdict::Failed(Failure::Lost)
        && tokio::time::timeout(LAST_SIGN, launcher.gone()).await.is_ok()
    {
        return Err(RunnerGone);
    }
    if matches!(report.verdict, Verdict::NotBegun { kind: RefusalKind::Environment, .. }) {
        missing.notify_one();
    }
    let state = report.result.as_ref().and_then(|result| result.state.clone());
    Ok(Ran { record: RunRecord::new(&request, started, &report), state })
}

/// Puts a line that a module wrote into the log of the node.
fn log(agent: &AgentName, line: &LogLine) {
    let (agent, message) = (agent.as_str(), line.message.as_str());
    let fields = (!line.fields.is_empty()).then(|| serde_json::to_string(&line.fields));
    let fields = fields.and_then(Result::ok);
    let fields = fields.as_deref();
    match line.level {
        Level::Trace => tracing::trace!(target: MODULE, agent, fields, "{message}"),
        Level::Debug => tracing::debug!(target: MODULE, agent, fields, "{message}"),
        Level::Info => tracing::info!(target: MODULE, agent, fields, "{message}"),
        Level::Warn => tracing::warn!(target: MODULE, agent, fields, "{message}"),
        Level::Error => tracing::error!(target: MODULE, agent, fields, "{message}"),
        Level::Critical => {
            tracing::error!(target: MODULE, critical = true, agent, fields, "{message}");
        }
    }
}

/// What lines of modules are found by.
const MODULE: &str = "module";

/// Says what agents do: in the log, and as data where a program listens.
fn tell(event: &NodeEvent, format: Format) {
    match event {
        NodeEvent::Finished(record) => {
            if format == Format::Json
                && let Ok(json) = serde_json::to_string(record)
            {
                // Who reads no more has lost interest in runs, not in the node.
                let _ = output::data(json);
            }
            say(record);
        }
        NodeEvent::Held { agent, reason } => {
            tracing::warn!(target: "agents", "agent {agent} is held: {reason}");
        }
        NodeEvent::Untold { agent, reason } => {
            tracing::error!(target: "agents", "the journal does not take an event about agent {agent}, {reason}");
        }
        NodeEvent::NotKept { agent, reason } => {
            tracing::error!(target: "agents", "a run of agent {agent} could not be recorded: {reason}");
        }
    }
}

fn say(record: &RunRecord) {
    let milliseconds = record.usage.wall_microseconds / 1_000;
    let message = record.message.as_deref().map(|message| format!(": {message}"));
    let message = message.unwrap_or_default();
    let (module, outcome) = (&record.module, &record.outcome);
    let (run, agent) = (record.run.to_string(), record.cause.agent().map(AgentName::as_str));
    if record.succeeded() {
        tracing::info!(target: "agents", run, agent, "{module} {outcome} in {milliseconds} ms{message}");
    } else {
        tracing::warn!(target: "agents", run, agent, "{module} {outcome} in {milliseconds} ms{message}");
    }
    for finding in &record.findings {
        let (severity, kind) = (&finding.severity, &finding.kind);
        tracing::warn!(target: "agents", run, "{severity} {kind} {}: {}", finding.subject, finding.message);
    }
}
