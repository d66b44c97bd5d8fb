//! SIGKILL of each process that a run depends on, at many moments: nothing of the run is left, and
//! the next launcher finds all in order.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wachter_model::RunId;
use wachter_protocol::Profile;
use wachter_sandbox::{Failure, Launcher, Verdict, carry_out};

use crate::bench::{Bench, carry_out_with, profiles};
use crate::processes::{descendants, launcher, marked, name, parent, wait_until};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Launcher,
    Monitor,
    /// Process 1 of the run.
    Init,
    Module,
    /// The node's side of the connection.
    Node,
    LauncherAndMonitor,
}

const VICTIMS: [Victim; 6] = [
    Victim::Launcher,
    Victim::Monitor,
    Victim::Init,
    Victim::Module,
    Victim::Node,
    Victim::LauncherAndMonitor,
];

/// A module that stays, with a child that hears nothing; its name is unlike any other.
fn bench(marker: &str) -> Bench {
    let script = r#"#!/bin/sh
case $1 in
child) trap '' TERM INT HUP; while :; do sleep 1; done ;;
esac
"$0" child &
echo ready >&2
wait
"#;
    Bench::with("permissions: { exec: [/usr/bin] }", marker, script.as_bytes())
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The chain of processes below a launcher, as far as it goes: monitor, process 1, module.
fn chain(launcher: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut last = launcher;
    while let Some(child) =
        crate::processes::all().into_iter().find(|pid| parent(*pid) == Some(last))
    {
        chain.push(child);
        last = child;
    }
    chain
}

/// Folders of control groups of launchers with this state folder.
fn groups(bench: &Bench) -> Vec<PathBuf> {
    let state = bench.path().join("state");
    let digest = wachter_model::Digest::of(state.as_os_str().as_encoded_bytes());
    let name = format!("wachter-{}", digest.short());
    let tops = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    tops.map(|top| top.path().join(&name)).filter(|path| path.exists()).collect()
}

async fn check(profile: Profile, victim: Victim, delay: Option<Duration>) {
    let what = format!("{profile}: {victim:?} after {delay:?}");
    let marker = format!("kill-{}", RunId::new());
    let bench = bench(&marker);
    let client = Launcher::open(&bench.options(profile)).await.unwrap();
    let own = launcher();
    let (cancel, (ready, mut began)) = (CancellationToken::new(), tokio::sync::mpsc::channel(1));
    let order = bench.order();
    let run = tokio::spawn({
        let (client, cancel) = (client.clone(), cancel.clone());
        async move {
            carry_out(&client, order, &cancel, move |_| {
                let _ = ready.try_send(());
            })
            .await
        }
    });
    match delay {
        // In the middle of the set-up, wherever that is.
        Some(delay) => tokio::time::sleep(delay).await,
        None => drop(began.recv().await),
    }
    let chain = chain(own);
    match victim {
        Victim::Launcher => kill(own),
        Victim::Monitor => chain.first().copied().into_iter().for_each(kill),
        Victim::Init => chain.get(1).copied().into_iter().for_each(kill),
        Victim::Module => chain.get(2).copied().into_iter().for_each(kill),
        Victim::LauncherAndMonitor => {
            [Some(own), chain.first().copied()].into_iter().flatten().for_each(kill);
        }
        Victim::Node => {
            run.abort();
        }
    }
    drop(client);
    // What was too early to hit anything ends by the node's leaving.
    if delay.is_some() && matches!(victim, Victim::Monitor | Victim::Init | Victim::Module) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        run.abort();
    }
    if let Ok(outcome) = run.await
        && let Ok(report) = outcome
    {
        let expected = matches!(
            report.verdict,
            Verdict::Failed(Failure::Lost | Failure::Signal(9) | Failure::Exit(137))
                | Verdict::NotBegun { .. }
                | Verdict::Cancelled
        );
        assert!(expected, "{what}: {:?}", report.verdict);
    }
    // Not every child of a launcher dies at once without namespaces when two of those that look
    // after it are killed together; that one case is what the profile cannot have.
    let unguarded = profile == Profile::NoNamespaces && victim == Victim::LauncherAndMonitor;
    if !unguarded {
        wait_until(&format!("{what}: nothing is left of the module"), || {
            marked(&marker).is_empty()
        })
        .await;
    }
    wait_until(&format!("{what}: the launcher is gone"), || {
        descendants(std::process::id())
            .into_iter()
            .all(|pid| pid != own || !name(pid).starts_with("wachter-launch") || zombie(pid))
    })
    .await;
    marked(&marker).into_iter().for_each(kill);
    // The same state serves the next launcher, and what the last one left is gone.
    let quick = Launcher::open(&bench.options(profile)).await.unwrap();
    let left = groups(&bench)
        .into_iter()
        .flat_map(|group| std::fs::read_dir(group).into_iter().flatten().flatten());
    let left: Vec<_> = left.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    assert!(left.is_empty(), "{what}: {left:?}");
    let scratch =
        std::fs::read_dir(bench.path().join("state/scratch")).into_iter().flatten().count();
    assert_eq!(scratch, 0, "{what}");
    let mut order = bench.order();
    order.digest = wachter_model::Digest::of(b"another");
    let (report, _) = carry_out_with(&quick, order).await;
    assert!(matches!(report.verdict, Verdict::NotBegun { .. }), "{what}: {report:?}");
    drop(quick);
    wait_until(&format!("{what}: groups are gone"), || groups(&bench).is_empty()).await;
    // Mounts are made in a namespace of the run's own, and gone with it.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bench.path().to_str().unwrap()), "{what}");
}

fn zombie(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}

#[tokio::test]
async fn nothing_is_left_when_a_part_is_killed() {
    for profile in profiles() {
        for victim in VICTIMS {
            check(profile, victim, None).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_left_when_a_part_is_killed_during_the_set_up() {
    for profile in profiles() {
        for victim in VICTIMS {
            for milliseconds in [0, 1, 2, 4, 7, 11, 16] {
                check(profile, victim, Some(Duration::from_millis(milliseconds))).await;
            }
        }
    }
}
