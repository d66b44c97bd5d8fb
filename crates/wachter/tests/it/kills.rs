//! SIGKILL of the node or its launcher at random points, while publishers, consumers and agents are
//! at work: nothing that was acknowledged is lost, and nothing is done twice but what was under way.
//!
//! `WACHTER_KILL_ROUNDS` sets the number of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wachter_api::shapes::{EventsQuery, Send};
use wachter_api::{Client, ListEvents, ListSubscriptions, Nothing, SendEvent};
use wachter_bus::{Bus, EventFilter, Options, Query, Seq};

use crate::site::{Node, Site};

const ROUNDS: u32 = 50;
const PUBLISHERS: usize = 3;
/// Runs of the agent at one time: what can be under way at a kill.
const AT_ONCE: usize = 4;

const AGENT: &str = "name: probe
module: probe
on: { events: [probe.sent] }
concurrency: { limit: 4, overlap: allow }
";

/// Its effect is a line with the event and the key of what it does.
const SCRIPT: &str = r#"#!/bin/sh
set -u
. "${0%/*}/wachter.sh"
json_get /event/id || fail "woken without an event"
id=$json
json_get /idempotency_key || fail "the request has no key"
key=$json
json_get /input/file || fail "no file"
echo "$id $key" >>"$json" || fail "the effect could not be had"
succeed true "$id"
"#;

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let rounds = std::env::var("WACHTER_KILL_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut acknowledged = BTreeSet::new();
    // An agent hears of what comes after it was declared.
    let mut first = world.site.start();
    runtime.block_on(quiescence(world.socket())).unwrap();
    first.kill_after(Duration::ZERO);
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut node = world.site.start();
        let publishing = runtime.spawn(publish(world.socket(), round));
        // Sometimes in its start, sometimes in its work.
        std::thread::park_timeout(Duration::from_millis(random % 1_200));
        if random & (1 << 40) == 0 {
            kill_launcher_of(&node);
            std::thread::park_timeout(Duration::from_millis(random % 300));
        }
        node.kill_after(Duration::ZERO);
        acknowledged.extend(runtime.block_on(publishing).unwrap());
    }
    assert!(acknowledged.len() > rounds as usize, "hardly anything was published");
    let mut node = world.site.start();
    if let Err(standing) = runtime.block_on(quiescence(world.socket())) {
        let log = fs::read_to_string(world.site.path("node.log")).unwrap();
        let end: Vec<&str> =
            log.lines().rev().filter(|line| !line.contains("hello")).take(30).collect();
        panic!("the events were never all handled: {standing}\n{}", end.join("\n"));
    }
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    drop(node);
    runtime.block_on(world.judge(&acknowledged, rounds as usize));
}

/// Waits, where it is told to, for somebody to let it go on.
const WAITING_SCRIPT: &str = r#"#!/bin/sh
set -u
. "${0%/*}/wachter.sh"
json_get /input/file || fail "no file"
echo begun >>"$json"
until [ -e "${json%/*}/go" ]; do :; done
succeed true "went on"
"#;

#[test]
fn a_run_that_was_cut_off_with_its_launcher_is_no_failure() {
    let world = World::with(WAITING_SCRIPT);
    let mut node = world.site.start();
    node.hear("release 2 is in force");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(quiescence(world.socket())).unwrap();
    let done = world.effects.path().join("done");
    let begun = |times: usize| {
        let until = Instant::now() + Duration::from_secs(60);
        while fs::read_to_string(&done).unwrap().lines().count() < times {
            assert!(Instant::now() < until, "run {times} did not begin");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    };
    world.site.ok(&["send", "probe.sent"]);
    // With one attempt, a failure would be the end of it.
    for times in 1..=3 {
        begun(times);
        kill_launcher_of(&node);
    }
    begun(4);
    fs::write(world.effects.path().join("go"), "").unwrap();
    runtime.block_on(quiescence(world.socket())).unwrap();
    assert_eq!(world.site.json(&["dead-letters", "list"]), serde_json::json!([]));
    let runs = world.site.json(&["runs", "--agent", "probe"]);
    assert_eq!(runs[0]["message"], "went on", "{runs}");
}

struct World {
    site: Site,
    /// Elsewhere: nothing beside the node's own files can be granted.
    effects: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(SCRIPT)
    }

    fn with(script: &str) -> Self {
        let site = Site::new();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let done = folder.path().join("done");
        fs::write(&done, "").unwrap();
        fs::set_permissions(&done, fs::Permissions::from_mode(0o666)).unwrap();
        let effects = folder.path().display();
        site.ok(&["module", "new", "probe", "--language", "shell"]);
        site.write("modules/probe/main.sh", script);
        let manifest = site.path("infra/modules/probe/module.yaml");
        let asked = format!("permissions: {{ filesystem: {{ write: [{effects}] }} }} #");
        let text = fs::read_to_string(&manifest).unwrap().replace("permissions: {}", &asked);
        fs::write(&manifest, text).unwrap();
        site.write(
            "modules/probe/input.schema.json",
            r#"{"type":"object","properties":{"file":{"type":"string"}}}"#,
        );
        site.write(
            "config/agents/probe.yaml",
            &format!("{AGENT}with: {{ file: {effects}/done }}\n"),
        );
        let local = site.path("node.yaml");
        let text = fs::read_to_string(&local).unwrap();
        let grant = format!("  probe: {{ filesystem: {{ write: [{effects}] }} }}\n");
        fs::write(&local, format!("{}\n{grant}", text.trim_end())).unwrap();
        site.release();
        Self { site, effects: folder }
    }

    fn socket(&self) -> PathBuf {
        self.site.path("data/node.sock")
    }

    async fn judge(&self, acknowledged: &BTreeSet<String>, kills: usize) {
        let bus = Bus::open(Options::new(self.site.path("data/journal"))).unwrap();
        assert!(bus.opened().clean, "the node did not end properly");
        let report = bus.verify(Seq::new(1), Vec::new()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        let filter =
            EventFilter { topics: vec!["run.finished".parse().unwrap()], ..EventFilter::default() };
        let mut finished = bus.replay(Query { filter, ..Query::default() });
        let (mut done, mut counts) = (BTreeMap::<String, u32>::new(), Vec::new());
        while let Some(stored) = finished.next().await {
            let record = stored.unwrap().event.data().to_json().unwrap();
            if record["outcome"] != "succeeded" {
                continue;
            }
            if let Some(id) = record["cause"]["event"]["id"].as_str() {
                *done.entry(id.to_owned()).or_default() += 1;
            } else if let Some(count) = record["output"]["count"].as_u64() {
                counts.push(count);
            }
        }
        let lost: Vec<_> = acknowledged.iter().filter(|id| !done.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "done twice: {twice:?}");
        // A module's state is kept with the run's record or not at all.
        assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
        self.judge_effects(&done, kills);
    }

    fn judge_effects(&self, done: &BTreeMap<String, u32>, kills: usize) {
        let text = fs::read_to_string(self.effects.path().join("done")).unwrap();
        let mut keys = BTreeMap::<&str, (&str, usize)>::new();
        for line in text.lines() {
            let (id, key) = line.split_once(' ').unwrap();
            let entry = keys.entry(id).or_insert((key, 0));
            assert_eq!(entry.0, key, "another key for the same event");
            entry.1 += 1;
        }
        for id in done.keys() {
            assert!(keys.contains_key(id.as_str()), "{id} is said to be done and is not");
        }
        let again: usize = keys.values().map(|(_, times)| times - 1).sum();
        assert!(again <= kills * AT_ONCE, "{again} effects were repeated at {kills} kills");
        println!("{kills} kills: {} events done, {again} of their effects repeated", done.len());
    }
}

/// Sends events until the node is gone; gives the names of those that were acknowledged.
async fn publish(socket: PathBuf, round: u32) -> Vec<String> {
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let client = Client::new(&socket);
        publishers.spawn(async move {
            let (mut acknowledged, mut number, mut reached) = (Vec::new(), 0, false);
            let until = Instant::now() + Duration::from_secs(3);
            loop {
                let event = Send {
                    kind: "probe.sent".parse().unwrap(),
                    subject: None,
                    data: serde_json::Value::Null,
                    partition_key: None,
                    id: Some(format!("{round}-{publisher}-{number}")),
                };
                match client.call::<SendEvent>(&Nothing {}, &event).await {
                    Ok(sent) => {
                        acknowledged.push(sent.id);
                        (number, reached) = (number + 1, true);
                    }
                    Err(_) if reached || Instant::now() > until => return acknowledged,
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        });
    }
    publishers.join_all().await.into_iter().flatten().collect()
}

/// Waits until the agent has had all its events; or says how it stands, once it gets no further.
async fn quiescence(socket: PathBuf) -> Result<(), String> {
    let client = Client::new(&socket);
    let (mut furthest, mut since) = (0, Instant::now());
    loop {
        let all = client.call::<ListSubscriptions>(&Nothing {}, &Nothing {}).await;
        let probe = all.iter().flatten().find(|one| one.name == "agents/probe");
        if let Some(probe) = probe
            && probe.in_flight == 0
            && none_after(&client, probe.floor).await
        {
            return Ok(());
        }
        let floor = probe.map_or(0, |probe| probe.floor);
        if floor > furthest {
            (furthest, since) = (floor, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(60) {
            return Err(format!("{all:?}"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether no event for the agent stands after `floor`.
async fn none_after(client: &Client, floor: u64) -> bool {
    let query = EventsQuery {
        topic: Some("probe.sent".to_owned()),
        after: Some(floor),
        ..EventsQuery::default()
    };
    let rest = client.call::<ListEvents>(&query, &Nothing {}).await;
    rest.is_ok_and(|rest| rest.is_empty())
}

fn kill_launcher_of(node: &Node) {
    let node = node.child.id().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_launcher = fs::read_to_string(entry.path().join("comm"))
            .is_ok_and(|name| name.trim_end() == "wachter-launche");
        if is_launcher && parent_of(&entry.path()).as_deref() == Some(&node) {
            let process = entry.file_name();
            assert!(Command::new("kill").arg("-KILL").arg(process).status().is_ok());
        }
    }
}

fn parent_of(process: &Path) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(line.trim().to_owned())
}
