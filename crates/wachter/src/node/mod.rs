//! `wachter run`: the node. Follows the repository in one task, keeps the agents going in another,
//! and starts the launcher again when it is gone.

mod deployed;
mod status;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wachter_runtime::{Agents, AgentsOptions, Deployment, NodeEvent, RunStore};
use wachter_sandbox::{Launcher, LauncherOptions};

pub(crate) use deployed::Deployed;
pub(crate) use status::NodeStatus;

use crate::failure::{CommandError, CommandResult};
use crate::follow::{DataLock, Follower, Locked};
use crate::output::{self, Format};
use crate::place::{Host, HostOptions};
use crate::sync::refusals;

#[derive(Args, Debug)]
pub(crate) struct RunArguments {}

/// The longest pause between two looks while the server does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

pub(crate) async fn carry_out(
    _: RunArguments,
    options: HostOptions,
    format: Format,
) -> CommandResult {
    let host = options.host()?;
    let _lock = DataLock::take(&host.data).map_err(|locked| match locked {
        Locked::By(process) => {
            let process =
                process.map(|process| format!(" (process {process})")).unwrap_or_default();
            CommandError::failed(format!("a node uses {} already{process}", host.data.display()))
        }
        Locked::Failed(error) => error,
    })?;
    let shutdown = CancellationToken::new();
    let interval = host.local.repository.interval.to_std();
    let store = RunStore::new(&host.data);
    let launcher_options = launcher_options(&host, &options, "launcher")?;
    let status = NodeStatus::begin(&host)?;
    let (egress, status) = (host.local.egress.clone(), Arc::new(Mutex::new(status)));
    let follower = Arc::new(Mutex::new(Follower::open(host)?));
    let (deploy, deployments) = watch::channel(None);
    let following = follow(follower, interval, deploy, Arc::clone(&status), shutdown.clone());
    let agents =
        keep_agents(launcher_options, store, egress, deployments, status, shutdown.clone(), format);
    let stopped = stop_on_signal(shutdown.clone())?;
    output::talk("the node is running; end it with Ctrl-C");
    let (followed, kept) = tokio::join!(following, agents);
    stopped.abort();
    followed.and(kept)
}

/// The launcher of this host, with a state folder of this name.
pub(crate) fn launcher_options(
    host: &Host,
    options: &HostOptions,
    state: &str,
) -> Result<LauncherOptions, CommandError> {
    if let Some(socket) = &options.launcher_socket {
        return Ok(LauncherOptions::Connect { socket: socket.clone() });
    }
    let arguments = [
        ("--local-file", host.local_file.clone()),
        ("--data", host.data.clone()),
        ("--state", host.data.join(state)),
    ];
    Ok(LauncherOptions::Spawn {
        program: options.launcher()?,
        arguments: arguments
            .into_iter()
            .flat_map(|(name, value)| [name.into(), value.into_os_string()])
            .collect(),
    })
}

fn stop_on_signal(
    shutdown: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, CommandError> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        shutdown.cancel();
    }))
}

/// Looks for releases at intervals, when told to by SIGHUP, and more and more rarely while that fails.
async fn follow(
    follower: Arc<Mutex<Follower>>,
    interval: Duration,
    deploy: watch::Sender<Option<Arc<Deployment>>>,
    status: Arc<Mutex<NodeStatus>>,
    shutdown: CancellationToken,
) -> CommandResult {
    let mut hang_up = signal(SignalKind::hangup())?;
    let (mut failures, mut said) = (0u32, Vec::new());
    loop {
        let follower = Arc::clone(&follower);
        // Fetching waits for a process, judging hashes files: neither is for an asynchronous thread.
        let looked =
            tokio::task::spawn_blocking(move || look(&mut follower.blocking_lock())).await?;
        let mut status = status.lock().await;
        match looked {
            Ok(looked) => {
                failures = u32::from(looked.fetch_error.is_some()) * (failures + 1);
                // Each thing is said when it changes, not each time it is seen.
                let mut now = looked.refused.clone();
                now.extend(looked.fetch_error.iter().map(|error| format!("cannot fetch: {error}")));
                for sentence in now.iter().filter(|sentence| !said.contains(*sentence)) {
                    output::talk(sentence);
                }
                said = now;
                if let Some(deployment) = looked.deployment {
                    output::talk(format_args!("release {} is in force", deployment.sequence));
                    for (name, module) in &deployment.modules {
                        if let Some(reason) = module.reason() {
                            output::talk(format_args!("module {name} may not run: {reason}"));
                        }
                    }
                    deploy.send_replace(Some(Arc::new(deployment)));
                }
                status.looked(looked.refused, looked.fetch_error);
            }
            Err(error) => {
                failures += 1;
                let sentence = format!("the release in force stays: {error}");
                if said.first() != Some(&sentence) {
                    output::talk(&sentence);
                }
                said = vec![sentence];
                status.looked(Vec::new(), Some(error.to_string()));
            }
        }
        status.write();
        drop(status);
        let pause = interval.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE.max(interval));
        tokio::select! {
            () = tokio::time::sleep(with_jitter(pause)) => {}
            _ = hang_up.recv() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

struct Looked {
    refused: Vec<String>,
    fetch_error: Option<String>,
    /// Where it differs from the one known.
    deployment: Option<Deployment>,
}

/// Fetches and judges. A server that does not answer changes nothing: what is known is judged, since
/// a pin may have ended or the owner of this host may have granted more.
fn look(follower: &mut Follower) -> Result<Looked, CommandError> {
    let mut refused = Vec::new();
    if let Err(error) = follower.reread() {
        refused.push(error.to_string());
    }
    let fetch_error = follower.fetch().err().map(|error| error.to_string());
    let now = Timestamp::now();
    refused.extend(refusals(&follower.judge(now)?));
    let deployment = follower.deploy_changes(now)?.and_then(|deploying| {
        refused.extend(deploying.passed_over);
        deploying.deployment
    });
    Ok(Looked { refused, fetch_error, deployment })
}

/// Up to a tenth more, so that many nodes do not ask at one moment.
fn with_jitter(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    pause + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 10.0)
}

/// Keeps the agents going with whatever launcher there is.
async fn keep_agents(
    options: LauncherOptions,
    store: RunStore,
    egress: wachter_protocol::Egress,
    deployments: watch::Receiver<Option<Arc<Deployment>>>,
    status: Arc<Mutex<NodeStatus>>,
    shutdown: CancellationToken,
    format: Format,
) -> CommandResult {
    let (events, mut happened) = mpsc::unbounded_channel();
    let status_of_launcher = Arc::clone(&status);
    let telling = async {
        while let Some(event) = happened.recv().await {
            tell(&event, format)?;
            let mut status = status.lock().await;
            status.happened(&event);
            status.write();
        }
        Ok::<(), CommandError>(())
    };
    // Owns the sending end: when it is done, so is who listens.
    let working = async move {
        let mut pause = Duration::from_millis(100);
        while !shutdown.is_cancelled() {
            match Launcher::open(&options).await {
                Ok(launcher) => {
                    status_of_launcher.lock().await.launcher(launcher.hello());
                    let (launcher_options, events) = (
                        AgentsOptions { launcher, store: store.clone(), egress: egress.clone() },
                        events.clone(),
                    );
                    let began = tokio::time::Instant::now();
                    let agents = Agents::new(launcher_options);
                    let observe = move |event| drop(events.send(event));
                    if agents.run(deployments.clone(), shutdown.clone(), observe).await.is_ok() {
                        return;
                    }
                    output::talk("the launcher is gone; it is started again");
                    if began.elapsed() > Duration::from_secs(60) {
                        pause = Duration::from_millis(100);
                    }
                }
                Err(error) => output::talk(format_args!(
                    "modules cannot be run: {}",
                    crate::failure::chain(&error)
                )),
            }
            tokio::select! { () = tokio::time::sleep(pause) => {}, () = shutdown.cancelled() => {} }
            pause = (pause * 2).min(Duration::from_secs(60));
        }
    };
    let ((), told) = tokio::join!(working, telling);
    told
}

fn tell(event: &NodeEvent, format: Format) -> CommandResult {
    match event {
        NodeEvent::Finished(record) if format == Format::Json => {
            output::data(serde_json::to_string(record)?)
        }
        NodeEvent::Finished(record) => {
            let milliseconds = record.usage.wall_microseconds / 1_000;
            let message =
                record.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            output::data(format_args!(
                "{} {} {} in {milliseconds} ms{message}",
                record.started.strftime("%H:%M:%S"),
                record.module,
                record.outcome
            ))?;
            for finding in &record.findings {
                output::data(format_args!(
                    "  {} {} {}: {}",
                    finding.severity, finding.kind, finding.subject, finding.message
                ))?;
            }
            Ok(())
        }
        NodeEvent::Held { agent, reason } => {
            output::talk(format_args!("agent {agent} is held: {reason}"));
            Ok(())
        }
        NodeEvent::NotKept { agent, reason } => {
            output::talk(format_args!("a run of agent {agent} could not be recorded: {reason}"));
            Ok(())
        }
    }
}
