//! `kill -9` of a process with publishers and consumers, at a random place of what it does, round
//! after round on one journal. Rounds are set by `WACHTER_BUS_ROUNDS`.
//!
//! The process is this test binary again. It says on its standard output what it was acknowledged,
//! one line each, and this test believes only lines that arrived whole.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::task::JoinSet;
use wachter_bus::{Bus, Options, Outputs, Query, SegmentLimits, Seq, SubscriptionOptions};

use crate::support::{event, options};

const FOLDER: &str = "WACHTER_BUS_KILLED";
const IN_FLIGHT: usize = 8;

fn journal(folder: &Path) -> Options {
    let mut options = Options::new(folder);
    options.segment = SegmentLimits { events: 100, ..SegmentLimits::default() };
    options.dedup.generation = 256;
    options
}

fn work() -> SubscriptionOptions {
    let mut work = SubscriptionOptions { in_flight: IN_FLIGHT, ..options("work") };
    work.filter.topics = vec!["work".parse().unwrap()];
    work.retry.attempts = 1_000;
    work
}

/// What the process that is killed does; nothing where it is not that process.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let bus = Bus::open(journal(Path::new(&folder))).unwrap();
        let subscription = bus.subscribe(work()).await.unwrap();
        let mut tasks = JoinSet::<Infallible>::new();
        for _ in 0..4 {
            let (bus, subscription) = (bus.clone(), subscription.clone());
            tasks.spawn(async move {
                loop {
                    let work = event("work").build().unwrap();
                    let id = work.id().clone();
                    let seq = bus.publish(vec![work]).await.unwrap()[0].seq;
                    say(&format!("published {seq} {id}"));
                }
            });
            tasks.spawn(async move {
                loop {
                    let mut delivery = subscription.next().await.unwrap();
                    let (seq, key) = (delivery.seq(), delivery.idempotency_key());
                    say(&format!("delivered {seq} {key}"));
                    let done = event("done").caused_by(delivery.event()).build().unwrap();
                    let outputs = Outputs { events: vec![done], keys: Vec::new() };
                    delivery.ack(outputs).await.unwrap();
                    say(&format!("settled {seq} {key}"));
                }
            });
        }
        panic!("a task ended: {:?}", tasks.join_next().await);
    });
}

/// One write for one line, so that none is torn.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// What the process said, over all rounds.
#[derive(Default)]
struct Said {
    published: BTreeMap<Seq, String>,
    delivered: BTreeMap<Seq, String>,
    settled: BTreeSet<Seq>,
}

impl Said {
    /// Takes one line. Returns the place of a delivery that was made before.
    fn take(&mut self, line: &str) -> Option<Seq> {
        let mut words = line.split_whitespace();
        let (verb, seq) = (words.next()?, words.next()?.parse().ok()?);
        let (seq, name) = (Seq::new(seq), words.next()?.to_owned());
        match verb {
            "published" => drop(self.published.insert(seq, name)),
            "settled" => drop(self.settled.insert(seq)),
            "delivered" => {
                assert!(!self.settled.contains(&seq), "{seq} came after it was settled");
                if let Some(before) = self.delivered.insert(seq, name.clone()) {
                    assert_eq!(before, name, "{seq} came with another key");
                    return Some(seq);
                }
            }
            _ => {}
        }
        None
    }
}

/// Runs the process until it has said `lines` lines, and kills it. Returns the places of events that
/// were delivered again.
fn round(folder: &Path, lines: usize, said: &mut Said) -> Vec<Seq> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut repeated, mut count) = (String::new(), Vec::new(), 0);
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if line.ends_with('\n') {
            repeated.extend(said.take(&line));
        }
        count += 1;
        if count == lines {
            child.kill().unwrap();
        }
    }
    assert!(count >= lines, "the process ended by itself after {count} lines");
    child.wait().unwrap();
    repeated
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_only_what_was_in_flight_comes_again() {
    let rounds: usize =
        std::env::var("WACHTER_BUS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    let mut repeats = 0;
    for number in 0..rounds {
        let lines = 40 + number * 7_919 % 901;
        let repeated = round(folder.path(), lines, &mut said);
        assert!(repeated.len() <= IN_FLIGHT, "{} repeats in one round", repeated.len());
        repeats += repeated.len();
        let bus = Bus::open(journal(folder.path())).unwrap();
        assert_eq!(bus.opened().damage, []);
        assert!(!bus.opened().clean);
        let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        let mut caused = BTreeMap::<String, usize>::new();
        let mut there = BTreeMap::new();
        let mut replay = bus.replay(Query::default());
        while let Some(stored) = replay.next().await {
            let stored = stored.unwrap();
            if let Some(cause) = stored.event.causation_id() {
                *caused.entry(cause.to_owned()).or_default() += 1;
            }
            there.insert(stored.seq, stored.event.id().to_string());
        }
        for (seq, id) in &said.published {
            assert_eq!(there.get(seq), Some(id), "{seq} was acknowledged and is not there");
        }
        for seq in &said.settled {
            assert_eq!(caused.get(&there[seq]), Some(&1), "the output of {seq}, once");
        }
        assert!(caused.values().all(|count| *count == 1), "an output was written twice");
        // As after a crash, so that the next round opens what the kill left.
        let (left, keep) = (folder.path(), tempfile::tempdir().unwrap());
        for name in ["journal.db", "journal.db-wal"] {
            std::fs::copy(left.join(name), keep.path().join(name)).unwrap();
        }
        bus.close();
        for name in ["journal.db", "journal.db-wal"] {
            std::fs::copy(keep.path().join(name), left.join(name)).unwrap();
        }
        let _ = std::fs::remove_file(left.join("journal.db-shm"));
    }
    println!(
        "{rounds} kills: {} published, {} settled, {repeats} delivered again",
        said.published.len(),
        said.settled.len()
    );
    assert!(
        said.settled.len() > rounds && repeats > 0,
        "the rounds were too short to tell anything"
    );
}
