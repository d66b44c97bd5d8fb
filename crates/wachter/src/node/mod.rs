//! `wachter run`: the node. One task follows the repository, one keeps the agents going, one serves
//! the interface; all that they do is in the journal.

mod announce;
mod context;
mod deployed;
mod environments;
mod followed;
mod following;
mod freeze;
mod interface;
pub(crate) mod journal;
pub(crate) mod layout;
pub(crate) mod log;
mod offline;
mod orders;
mod pulse;
mod supervisor;
mod working;

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use wachter_runtime::dispatch::Sources;
use wachter_sandbox::LauncherOptions;

pub(crate) use announce::is_own;
pub(crate) use deployed::{Deployed, DeployedModule, folder_of};
pub(crate) use followed::held;
pub(crate) use freeze::{read_frozen, remove_frozen, write_frozen};
pub(crate) use offline::Offline;

use self::announce::Announcer;
use self::context::Node;
use self::followed::Followed;
use self::following::Outlets;
use self::freeze::Freezer;
use self::supervisor::Supervisor;
use crate::data_lock::{self, Locked};
use crate::failure::{CommandError, CommandResult};
use crate::follow::Follower;
use crate::output::{self, Format};
use crate::place::{Host, HostOptions};
use crate::python;

#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    /// A setting of this start, over all others: log.level=debug
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Orders that may wait; who gives more waits.
const ORDERS: usize = 16;

pub(crate) async fn carry_out(
    arguments: RunArguments,
    options: HostOptions,
    format: Format,
) -> CommandResult {
    let host = Host { flags: arguments.settings, ..options.host()? };
    // Before the lock says which process this is: whoever reads it may send a signal at once.
    let hang_up = signal(SignalKind::hangup())?;
    let _lock = data_lock::take_for_node(&host.data).await.map_err(|locked| match locked {
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
    let stopped = stop_on_signal(shutdown.clone())?;
    let name = host.node().ok_or_else(|| unnamed(&host))?;
    let launcher_options = launcher_options(&host, &options, "launcher")?;
    let (data, socket) = (host.data.clone(), host.socket());
    let local = Arc::new(host.local.clone());
    let mut follower = Box::new(Follower::open(host)?);
    let settings = Arc::new(follower.settings()?);
    let logging = Arc::new(log::start(&data, &settings.log)?);
    let bus = journal::open(&data, &settings.journal)?;
    let notices = tokio::spawn(journal::watch(bus.clone()));
    let sources = Sources::new(name.clone());
    let announcer = Announcer::new(bus.clone(), sources.clone());
    let freezer = Freezer::open(&data)?;
    if let Some(frozen) = freezer.frozen() {
        tracing::warn!(target: "agents", "effects are stopped by {}: {}; `wachter thaw`", frozen.by, frozen.reason);
    }
    // What the repository says, and what of it can run: modules wait for their environments.
    let (deployment, found) = watch::channel(None);
    let (set_deployment, deployments) = watch::channel(None);
    let (set_retained, retained) = watch::channel(None);
    let (set_runner, runner) = watch::channel(None);
    let missing = Arc::new(Notify::new());
    let (set_settings, settings) = watch::channel(settings);
    let (set_local, local) = watch::channel(local);
    let (set_followed, followed) = watch::channel(Followed::default());
    let (set_launcher, launcher) = watch::channel(None);
    let (set_agents, agents) = watch::channel(None);
    let (give, orders) = mpsc::channel(ORDERS);
    announcer
        .tell(
            announce::NODE_STARTED,
            name.as_str(),
            &json!({ "version": env!("CARGO_PKG_VERSION") }),
        )
        .await;

    let node = Arc::new(Node {
        name: name.clone(),
        since: Timestamp::now(),
        data,
        local: local.clone(),
        bus: bus.clone(),
        sources,
        announcer: announcer.clone(),
        orders: give,
        followed,
        deployment: deployments.clone(),
        launcher,
        agents,
        freezer: freezer.clone(),
    });
    let (limits, roles) = interface::rules(&settings.borrow().api);
    let service = interface::service(&node, limits, roles)?;
    let listener = interface::listen(&socket).map_err(|error| {
        CommandError::failed(format!("cannot listen at {}: {error}", socket.display()))
    })?;
    let rules = interface::follow_settings(settings.clone(), service.control());
    let rules = tokio::spawn(rules);
    let journal_follows = tokio::spawn(journal::follow(bus.clone(), settings.clone()));
    let serving = service.serve(listener, shutdown.clone().cancelled_owned());
    let logging_follows = log::follow(Arc::clone(&logging), settings.clone(), shutdown.clone());
    let outlets = Outlets {
        deployment,
        retained: set_retained,
        settings: set_settings,
        local: set_local,
        followed: set_followed,
        announcer: announcer.clone(),
        supervisor: supervisor.clone(),
    };
    let following = following::follow(follower, outlets, orders, hang_up, shutdown.clone());
    let environments = environments::Environments {
        found,
        standing: set_deployment,
        launcher: runner,
        local: local.clone(),
        retained,
        missing: Arc::clone(&missing),
        announcer: announcer.clone(),
    };
    let building = environments::keep(environments, shutdown.clone());
    let work = working::Work {
        node: name.clone(),
        bus: bus.clone(),
        options: launcher_options,
        local,
        deployments,
        settings,
        freezer,
        launcher: set_launcher,
        runner: set_runner,
        missing,
        agents: set_agents,
        format,
    };
    let working = working::work(work, shutdown.clone());
    output::talk("the node is running; end it with Ctrl-C");
    supervisor.ready();
    let pulse = pulse::Pulse::default();
    let watching = async {
        tokio::select! {
            never = supervisor.watchdog(|| pulse.beats()) => match never {},
            never = pulse.take(node.agents.clone()) => match never {},
            () = shutdown.cancelled() => supervisor.stopping(),
        }
    };
    // What fails ends the others too.
    let ending = |outcome: CommandResult| {
        shutdown.cancel();
        outcome
    };
    let following = async { ending(following.await) };
    let working = async { ending(working.await) };
    let (followed, worked, ..) =
        tokio::join!(following, working, logging_follows, serving, watching, building);
    stopped.abort();
    rules.abort();
    journal_follows.abort();
    // Who asks now is told that no node is here.
    let _ = std::fs::remove_file(&socket);
    announcer.tell(announce::NODE_STOPPED, name.as_str(), &json!({})).await;
    drop((announcer, node));
    notices.abort();
    // Waits for the disk: the last thing that is done.
    tokio::task::spawn_blocking(move || bus.close()).await?;
    followed.and(worked)
}

/// The host has no name that a node could have.
fn unnamed(host: &Host) -> CommandError {
    CommandError::failed(format!(
        "the name of this host cannot be that of a node; give it one by `node: NAME` in {}",
        host.local_file.display()
    ))
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
    let arguments =
        arguments.into_iter().flat_map(|(name, value)| [name.into(), value.into_os_string()]);
    // All launchers of this host share environments of Python modules.
    let python = python::launcher_arguments(Some(&host.local), host.data.join("python"));
    Ok(LauncherOptions::Spawn {
        program: options.launcher()?,
        arguments: arguments.chain(python).collect(),
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
