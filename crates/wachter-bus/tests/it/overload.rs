//! Too much, too slow, and members that do not work: memory stays bounded, and others go on.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wachter_bus::{
    Bus, DeadLetterId, Options, Outputs, PublishReason, Retry, Seq, Subscription,
    SubscriptionOptions,
};
use wachter_testkit::Recorder;

use crate::support::{Fixture, event, name, next, number_of, numbered, options, publish};

const FOLDER: &str = "WACHTER_BUS_LOADED";
const LENGTH: &str = "WACHTER_BUS_BACKLOG";
/// Events that go to somebody else meanwhile, one each ten milliseconds.
const BESIDE: u64 = 50;

fn length() -> u64 {
    std::env::var(LENGTH).ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// The process whose memory is measured; nothing where it is not that process.
#[test]
fn process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(work_off(Path::new(&folder), length()));
}

async fn work_off(folder: &Path, count: u64) {
    let bus = Bus::open(Options::new(folder)).unwrap();
    let late = SubscriptionOptions {
        filter: topic("test.number"),
        ack_within: Duration::from_secs(600),
        ..options("late")
    };
    drop(bus.subscribe(late.clone()).await.unwrap());
    let beside = SubscriptionOptions { filter: topic("beside"), ..options("beside") };
    let beside = bus.subscribe(beside).await.unwrap();
    for start in (0..count).step_by(500) {
        let filler = "x".repeat(800);
        let batch = (start..start + 500)
            .map(|number| numbered(number).into_builder().subject(filler.clone()).build().unwrap());
        bus.publish(batch.collect()).await.unwrap();
    }
    say("filled");
    let late = bus.subscribe(late).await.unwrap();
    let sum = Arc::new(AtomicU64::new(0));
    let left = Arc::new(AtomicU64::new(count));
    let mut members = JoinSet::new();
    for _ in 0..32 {
        members.spawn(settle(late.clone(), Arc::clone(&sum), Arc::clone(&left)));
    }
    let mut longest = Duration::ZERO;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..BESIDE {
        ticks.tick().await;
        let begun = Instant::now();
        bus.publish(vec![event("beside").build().unwrap()]).await.unwrap();
        next(&beside).await.ack(Outputs::default()).await.unwrap();
        longest = longest.max(begun.elapsed());
    }
    while members.join_next().await.is_some_and(|ended| ended.is_ok()) {}
    assert_eq!(sum.load(Ordering::Relaxed), count * (count - 1) / 2, "each once");
    say(&format!("settled {}", longest.as_millis()));
    // Until the other has looked at the memory of this one.
    let _ = std::io::stdin().read_line(&mut String::new());
}

async fn settle(member: Subscription, sum: Arc<AtomicU64>, left: Arc<AtomicU64>) {
    while left.load(Ordering::Relaxed) > 0 {
        let Ok(Ok(mut delivery)) =
            tokio::time::timeout(Duration::from_secs(1), member.next()).await
        else {
            continue;
        };
        assert_eq!(delivery.attempt(), 1);
        sum.fetch_add(number_of(delivery.event()), Ordering::Relaxed);
        delivery.ack(Outputs::default()).await.unwrap();
        left.fetch_sub(1, Ordering::Relaxed);
    }
}

fn topic(text: &str) -> wachter_bus::EventFilter {
    wachter_bus::EventFilter { topics: vec![text.parse().unwrap()], ..Default::default() }
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// What follows `word` on the line that begins with it.
fn told(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the process ended before `{word}`");
        if let Some(rest) = line.strip_prefix(word) {
            return rest.trim().to_owned();
        }
    }
}

/// Memory of a process in KiB, by its name in `/proc/PID/status`.
fn memory(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A backlog is read in pages, so what is held does not grow with it; and a subscription that keeps up
/// does not wait for one that is behind. The length is set by `WACHTER_BUS_BACKLOG`.
#[test]
fn a_backlog_takes_no_memory_and_harms_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "overload::process", "--nocapture"])
        .env(FOLDER, folder.path())
        .env(LENGTH, length().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    told(&mut output, "filled");
    let (filled, before) = (begun.elapsed(), memory(child.id(), "VmRSS:"));
    let longest: u64 = told(&mut output, "settled").parse().unwrap();
    let (settled, most) = (begun.elapsed() - filled, memory(child.id(), "VmHWM:"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    println!(
        "{} events published in {:.1} s and settled in {:.1} s: {before} KiB before, {most} KiB at \
         most; beside it {longest} ms at most",
        length(),
        filled.as_secs_f64(),
        settled.as_secs_f64()
    );
    assert!(most < 96 * 1_024, "{most} KiB");
    assert!(longest < 5_000, "{longest} ms from publishing to the end for somebody else");
}

/// An event that fails each time, and a member that never answers.
#[tokio::test]
async fn one_bad_member_harms_nobody_else() {
    const POISON: u64 = 3;
    const ALL: u64 = 300;
    let fixture = Fixture::new();
    let bus = fixture.open();
    let declare = |text: &str| {
        let retry = Retry { initial: Duration::ZERO, ..options(text).retry };
        bus.subscribe(SubscriptionOptions { in_flight: 4, window: 16, retry, ..options(text) })
    };
    let (poisoned, hanging, sound) = (
        declare("poisoned").await.unwrap(),
        declare("hanging").await.unwrap(),
        declare("sound").await.unwrap(),
    );
    publish(&bus, 0..ALL).await;
    let mut hung = Vec::new();
    for _ in 0..4 {
        hung.push(next(&hanging).await);
    }
    let (mut settled, mut failed) = (BTreeSet::new(), 0);
    for _ in 0..ALL + 2 {
        let mut delivery = next(&poisoned).await;
        match number_of(delivery.event()) {
            POISON => {
                failed += 1;
                delivery.nak(None, "it fails each time");
            }
            number => {
                delivery.ack(Outputs::default()).await.unwrap();
                settled.insert(number);
            }
        }
    }
    assert_eq!((settled.len() as u64, failed), (ALL - 1, 3));
    for number in 0..ALL {
        let mut delivery = next(&sound).await;
        assert_eq!(number_of(delivery.event()), number);
        delivery.ack(Outputs::default()).await.unwrap();
    }
    bus.look_after().await.unwrap();
    let dead = bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].seq, &dead[0].subscription), (Seq::new(POISON + 1), &name("poisoned")));
    let floors: Vec<_> = bus.subscriptions().iter().map(|status| status.floor.get()).collect();
    assert_eq!(floors, [0, ALL, ALL], "hanging, poisoned, sound");
    // What hung too long is given to whoever answers.
    fixture.clock.advance(Duration::from_secs(30));
    let mut delivery = next(&hanging).await;
    assert_eq!((delivery.seq(), delivery.failures()), (Seq::new(1), 1));
    delivery.ack(Outputs::default()).await.unwrap();
    assert!(hung[0].ack(Outputs::default()).await.is_err());
}

/// Lets the disk go on, however a test ends: the writer is waited for.
struct Released<'a>(&'a Recorder);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.hold_syncs(false);
    }
}

/// While the disk is slow, what is published comes back to whoever publishes it, and nothing grows;
/// once it is not, all goes on by itself.
#[tokio::test]
async fn a_slow_disk_holds_publishers_back() {
    const ROOM: usize = 32 << 10;
    // Many times what fits: the writer may have taken a whole queue before it meets the disk.
    const EVENTS: u64 = 600;
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::register("bus-slow-disk", folder.path()).unwrap();
    let mut opened = Options::new(folder.path());
    opened.vfs = Some(recorder.name().to_owned());
    opened.queue_bytes = u32::try_from(ROOM).unwrap();
    opened.patience = Duration::from_millis(20);
    let bus = Bus::open(opened).unwrap();
    let subscription = bus.subscribe(options("one")).await.unwrap();
    publish(&bus, 0..10).await;
    recorder.hold_syncs(true);
    let _released = Released(&recorder);
    let (mut accepted, mut refused) = (JoinSet::new(), Vec::new());
    for number in 10..EVENTS {
        match bus.try_publish(vec![numbered(number)]) {
            Ok(written) => drop(accepted.spawn(written)),
            Err(error) => {
                assert!(matches!(error.reason, PublishReason::Full), "{}", error.reason);
                refused.extend(error.batch);
            }
        }
        assert!(bus.status().queued_bytes <= ROOM);
    }
    assert!(refused.len() > 100, "{} are refused", refused.len());
    let waited = bus.publish(vec![numbered(EVENTS)]).await.unwrap_err();
    assert!(matches!(waited.reason, PublishReason::Full), "{}", waited.reason);
    // A delivery is settled nevertheless: that takes as long as the disk takes.
    let mut delivery = next(&subscription).await;
    let settled = tokio::spawn(async move { delivery.ack(Outputs::default()).await });
    recorder.hold_syncs(false);
    settled.await.unwrap().unwrap();
    while let Some(written) = accepted.join_next().await {
        written.unwrap().unwrap();
    }
    refused.extend(waited.batch);
    for event in refused {
        bus.publish(vec![event]).await.unwrap();
    }
    assert_eq!((bus.status().last, bus.status().failing), (Seq::new(EVENTS + 1), None));
    let mut numbers = BTreeSet::from([0]);
    while numbers.len() as u64 <= EVENTS {
        let mut delivery = next(&subscription).await;
        assert!(numbers.insert(number_of(delivery.event())), "one comes twice");
        delivery.ack(Outputs::default()).await.unwrap();
    }
    let report = bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
}
