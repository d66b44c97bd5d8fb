//! `wachter run`: the node. Follows the repository in one task, keeps the agents going in another,
//! and starts the launcher again when it is gone.

mod ask;
mod deployed;
pub(crate) mod layout;
mod status;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wachter_runtime::{Agents, AgentsOptions, Deployment, NodeEvent, RunStore};
use wachter_sandbox::{Launcher, LauncherOptions};

pub(crate) use ask::look;
pub(crate) use deployed::Deployed;
pub(crate) use status::NodeStatus;
use supervisor::Supervisor;

use crate::data_lock::{self, Locked, NODE};
use crate::failure::{CommandError, CommandResult};
use crate::follow::Follower;
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
    // Before the lock says which process this is: whoever reads it may send a signal at once.
    let hang_up = signal(SignalKind::hangup())?;
    let _lock = data_lock::take(&host.data, NODE).map_err(|locked| match locked {
        Locked::Node(holder) => CommandError::failed(format!(
            "a node uses {} already (process {}); stop it first, or give this one a folder of its own with --data",
            host.data.display(),
            holder.process
        )),
        other => other.into_error(),
    })?;
    let supervisor = Supervisor::from_environment();
    layout::prepare(&host.data)?;
    let shutdown = CancellationToken::new();
    let store = RunStore::new(&host.data);
    store.complete()?;
    let launcher_options = launcher_options(&host, &options, "launcher")?;
    let status = NodeStatus::begin(&host)?;
    let (set_egress, egress) = watch::channel(host.local.egress.clone());
    let status = Arc::new(Mutex::new(status));
    let follower = Arc::new(Mutex::new(Follower::open(host)?));
    let (deploy, deployments) = watch::channel(None);
    let outlets = Outlets {
        deploy,
        egress: set_egress,
        status: Arc::clone(&status),
        supervisor: supervisor.clone(),
    };
    let following = follow(follower, outlets, hang_up, shutdown.clone());
    let agents =
        keep_agents(launcher_options, store, egress, deployments, status, shutdown.clone(), format);
    let stopped = stop_on_signal(shutdown.clone())?;
    output::talk("the node is running; end it with Ctrl-C");
    supervisor.ready();
    let ending = async {
        shutdown.cancelled().await;
        supervisor.stopping();
        std::future::pending::<std::convert::Infallible>().await
    };
    let (followed, kept) = tokio::select! {
        ended = async { tokio::join!(following, agents) } => ended,
        never = supervisor.watchdog(|| true) => match never {},
        never = ending => match never {},
    };
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

/// Where what was found out goes.
struct Outlets {
    deploy: watch::Sender<Option<Arc<Deployment>>>,
    egress: watch::Sender<wachter_protocol::Egress>,
    status: Arc<Mutex<NodeStatus>>,
    supervisor: Supervisor,
}

/// Looks for releases at intervals, when told to by SIGHUP, and more and more rarely while that fails.
async fn follow(
    follower: Arc<Mutex<Follower>>,
    outlets: Outlets,
    mut hang_up: Signal,
    shutdown: CancellationToken,
) -> CommandResult {
    let Outlets { deploy, egress, status, supervisor } = outlets;
    let (mut failures, mut said, mut reloading) = (0u32, Vec::new(), false);
    let mut interval = follower.lock().await.local().repository.interval.to_std();
    loop {
        let (began, looker) = (Timestamp::now(), Arc::clone(&follower));
        // Fetching waits for a process, judging hashes files: neither is for an asynchronous thread.
        let looking = tokio::task::spawn_blocking(move || look_once(&mut looker.blocking_lock()));
        let looked = tokio::select! {
            looked = looking => looked?,
            // A server that keeps a fetch waiting does not keep the node from ending: what is under way
            // ends with the process, as it would by a power cut.
            () = shutdown.cancelled() => return Ok(()),
        };
        let mut status = status.lock().await;
        match looked {
            Ok(mut looked) => {
                interval = looked.interval;
                egress.send_if_modified(|egress| {
                    let changed = *egress != looked.egress;
                    egress.clone_from(&looked.egress);
                    changed
                });
                failures = u32::from(looked.fetch_error.is_some()) * (failures + 1);
                // Each thing is said when it changes, not each time it is seen.
                let mut now = looked.refused.clone();
                now.extend(looked.fetch_error.iter().map(|error| format!("cannot fetch: {error}")));
                if !looked.restart_needed.is_empty() {
                    let keys = looked.restart_needed.join(", ");
                    now.push(format!("the local file has changed; restart needed for: {keys}"));
                }
                for sentence in now.iter().filter(|sentence| !said.contains(*sentence)) {
                    output::talk(sentence);
                }
                said = now;
                if let Some(deployment) = looked.deployment.take() {
                    output::talk(format_args!("release {} is in force", deployment.sequence));
                    supervisor.status(&format!("release {} is in force", deployment.sequence));
                    for (name, module) in &deployment.modules {
                        if let Some(reason) = module.reason() {
                            output::talk(format_args!("module {name} may not run: {reason}"));
                        }
                    }
                    deploy.send_replace(Some(Arc::new(deployment)));
                }
                status.looked(began, &looked);
            }
            Err(error) => {
                failures += 1;
                let sentence = format!("the release in force stays: {error}");
                if said.first() != Some(&sentence) {
                    output::talk(&sentence);
                }
                said = vec![sentence];
                status.failed(began, &error);
            }
        }
        write(status).await?;
        if std::mem::take(&mut reloading) {
            supervisor.ready();
        }
        tidy(&follower, &shutdown).await?;
        let pause = interval.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE.max(interval));
        tokio::select! {
            () = tokio::time::sleep(with_jitter(pause)) => {}
            _ = hang_up.recv() => {
                reloading = true;
                supervisor.reloading();
            }
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Puts the node's own repository in order, after what is new has taken effect.
async fn tidy(follower: &Arc<Mutex<Follower>>, shutdown: &CancellationToken) -> CommandResult {
    let follower = Arc::clone(follower);
    let tidying = tokio::task::spawn_blocking(move || follower.blocking_lock().tidy());
    tokio::select! {
        tidied = tidying => {
            if let Err(error) = tidied? {
                output::talk(format_args!("the node's own repository stays untidy: {error}"));
            }
        }
        () = shutdown.cancelled() => {}
    }
    Ok(())
}

/// Writes the status while it is held, so that an older one never replaces a newer one.
async fn write(status: MutexGuard<'_, NodeStatus>) -> CommandResult {
    let copy = status.clone();
    Ok(tokio::task::spawn_blocking(move || copy.write()).await?)
}

/// What came of a look, and what the local file says by now.
pub(crate) struct Looked {
    node: String,
    interval: Duration,
    egress: wachter_protocol::Egress,
    restart_needed: Vec<&'static str>,
    refused: Vec<String>,
    fetch_error: Option<String>,
    /// Where it differs from the one known.
    deployment: Option<Deployment>,
}

/// Fetches and judges. A server that does not answer changes nothing: what is known is judged, since
/// a pin may have ended or the owner of this host may have granted more.
fn look_once(follower: &mut Follower) -> Result<Looked, CommandError> {
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
    let local = follower.local();
    Ok(Looked {
        node: status::name(local),
        interval: local.repository.interval.to_std(),
        egress: local.egress.clone(),
        restart_needed: follower.restart_needed(),
        refused,
        fetch_error,
        deployment,
    })
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
    egress: watch::Receiver<wachter_protocol::Egress>,
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
            write(status).await?;
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
