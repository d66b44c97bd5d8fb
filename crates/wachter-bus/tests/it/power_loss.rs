//! What was acknowledged survives a power cut at any operation on the disk, and what belongs
//! together is there together.
//!
//! One run under the recorder: publishers, workers that acknowledge with an event and a key,
//! segments, retention and checkpoints of the write-ahead log, closed and opened again in between.
//! Then the disk is made again as after cuts all along the run, and a bus is opened on each.

#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use wachter_bus::{
    Bus, DedupWindow, EventFilter, Expect, KeyChange, ManualClock, Options, Outputs, Query,
    Retention, SegmentLimits, Seq, Signer, Start, Subscription, SubscriptionOptions,
};
use wachter_model::Event;
use wachter_testkit::{CutPoint, Recorder};

const PUBLISHERS: u32 = 3;
const WORKERS: usize = 2;
/// Events of one publisher in one of the rounds, between which the bus is closed.
const EACH: u32 = 15;
const ROUNDS: u32 = 2;
/// A test that waits longer than this would wait for ever.
const LIMIT: Duration = Duration::from_secs(60);

/// What the bus has acknowledged, as the marks tell.
#[derive(Debug, Default)]
struct Promised {
    /// Numbers of work, and where they stand.
    published: BTreeMap<u32, Seq>,
    /// Numbers of work that was acknowledged, and where what came of it stands.
    done: BTreeMap<u32, Seq>,
}

#[derive(Debug)]
struct Seal;

impl Signer for Seal {
    fn sign(&self, text: &[u8]) -> Result<String, String> {
        Ok(format!("seal over {} bytes", text.len()))
    }
}

fn options(folder: &Path, vfs: Option<&str>) -> Options {
    Options {
        clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
        signer: Some(Arc::new(Seal)),
        vfs: vfs.map(str::to_owned),
        dedup: DedupWindow { ids: 1_000, generation: 16, ..DedupWindow::default() },
        segment: SegmentLimits { events: 20, ..SegmentLimits::default() },
        retention: Retention { age: None, bytes: Some(40_000), step: 4 },
        ..Options::new(folder)
    }
}

/// Event `number` of a topic: the same identity and content each time.
fn event(topic: &str, number: u32) -> Event {
    let text = "x".repeat(100 + number as usize * 61 % 1_500);
    Event::builder("/test/power-loss".parse().unwrap(), &topic.parse().unwrap())
        .id(format!("{topic}-{number}").parse().unwrap())
        .json(&json!({ "number": number, "text": text }))
        .build()
        .unwrap()
}

fn number(event: &Event) -> u32 {
    event.id().as_str().rsplit('-').next().unwrap().parse().unwrap()
}

/// What is committed along with the acknowledgement of a number. The key must not be there yet, so
/// doing the same work twice is a conflict.
fn outputs(number: u32) -> Outputs {
    let key = KeyChange {
        bucket: "done".into(),
        key: number.to_string(),
        value: Some(number.to_be_bytes().to_vec()),
        expect: Expect::Absent,
        lasts: None,
    };
    Outputs { events: vec![event("work.done", number)], keys: vec![key] }
}

async fn subscribe(bus: &Bus) -> Subscription {
    let filter =
        EventFilter { topics: vec!["work.item".parse().unwrap()], ..EventFilter::default() };
    let options = SubscriptionOptions {
        filter,
        start: Start::Beginning,
        ..SubscriptionOptions::new("workers".parse().unwrap())
    };
    bus.subscribe(options).await.unwrap()
}

/// Publishes its share of the numbers, one or two at a time.
async fn publish(bus: &Bus, recorder: &Recorder, numbers: impl Iterator<Item = u32>) {
    let numbers: Vec<_> = numbers.collect();
    for (at, batch) in numbers.chunks(2).enumerate() {
        // One of two batches in parts, so that the sizes of groups differ.
        for batch in batch.chunks(1 + at % 2) {
            let events = batch.iter().map(|number| event("work.item", *number)).collect();
            let published = bus.publish(events).await.unwrap();
            for (number, published) in batch.iter().zip(published) {
                recorder.mark(format!("published {number} {}", published.seq.get()));
            }
        }
    }
}

/// Acknowledges work until all of it is done.
async fn work(member: &Subscription, recorder: &Recorder, done: &AtomicU32, all: u32) {
    while done.load(Ordering::Acquire) < all {
        // The other worker may take the last one.
        let next = tokio::select! {
            next = member.next() => next.unwrap(),
            () = until(|| done.load(Ordering::Acquire) >= all) => break,
        };
        let mut delivery = next;
        let number = number(delivery.event());
        let acknowledged = delivery.ack(outputs(number)).await.unwrap();
        recorder.mark(format!("done {number} {}", acknowledged.events[0].seq.get()));
        done.fetch_add(1, Ordering::AcqRel);
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// The write-ahead log is written back to the database, by another connection, while the bus works.
fn write_back(folder: &Path, vfs: &str, kind: &str) {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let path = folder.join("journal.db");
    let connection = Connection::open_with_flags_and_vfs(path, flags, vfs).unwrap();
    // That it is busy is an answer.
    let answer = connection
        .query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |row| row.get::<_, i64>(0));
    assert!(answer.is_ok(), "{answer:?}");
}

/// The run. Returns the last event that retention dropped.
async fn run(recorder: &Recorder, folder: &Path) -> Seq {
    let done = AtomicU32::new(0);
    let mut dropped = Seq::ZERO;
    for round in 0..ROUNDS {
        let bus = Bus::open(options(folder, Some(recorder.name()))).unwrap();
        let members = [subscribe(&bus).await, subscribe(&bus).await];
        assert_eq!(members.len(), WORKERS);
        let share = |publisher: u32| {
            let first = (round * PUBLISHERS + publisher) * EACH;
            publish(&bus, recorder, first..first + EACH)
        };
        let all = (round + 1) * PUBLISHERS * EACH;
        let begun = round * PUBLISHERS * EACH;
        let keep = async {
            for (part, kind) in [(1, "PASSIVE"), (2, "RESTART"), (3, "TRUNCATE"), (4, "PASSIVE")] {
                let enough = begun + part * (all - begun) / 5;
                until(|| done.load(Ordering::Acquire) >= enough).await;
                bus.look_after().await.unwrap();
                write_back(folder, recorder.name(), kind);
            }
        };
        tokio::join!(
            share(0),
            share(1),
            share(2),
            work(&members[0], recorder, &done, all),
            work(&members[1], recorder, &done, all),
            keep
        );
        bus.look_after().await.unwrap();
        dropped = last_dropped(&bus).await;
        drop(members);
        bus.close();
    }
    dropped
}

async fn last_dropped(bus: &Bus) -> Seq {
    let checkpoints = bus.checkpoints().await.unwrap();
    let dropped = checkpoints.into_iter().filter(|one| one.dropped.is_some());
    dropped.map(|one| one.last).max().unwrap_or(Seq::ZERO)
}

impl Promised {
    fn before(recorder: &Recorder, point: CutPoint) -> Self {
        let mut promised = Self::default();
        for mark in recorder.marks_before(point) {
            let words: Vec<_> = mark.split(' ').collect();
            let list = match words[0] {
                "published" => &mut promised.published,
                _ => &mut promised.done,
            };
            list.insert(words[1].parse().unwrap(), Seq::new(words[2].parse().unwrap()));
        }
        promised
    }
}

/// Fails the examination of an image where the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}

/// Opens the bus on an image and looks for whatever was promised and is not so.
async fn examine(folder: &Path, promised: &Promised, dropped: Seq) -> Result<(), String> {
    let bus = Bus::open(options(folder, None)).map_err(|error| format!("{error:?}"))?;
    let opened = bus.opened();
    ensure!(opened.damage.is_empty(), "{opened:?}");
    ensure!(opened.salvage.is_none() && opened.cursors_reset.is_empty(), "{opened:?}");
    let report = bus.verify(Seq::new(1), Vec::new()).await.map_err(|error| format!("{error:?}"))?;
    ensure!(report.is_sound(), "{report:?}");

    let gone = last_dropped(&bus).await;
    ensure!(gone <= dropped, "dropped up to {gone:?}, and by the whole run only up to {dropped:?}");
    let kept = kept(&bus).await?;
    for (topic, list) in [("work.item", &promised.published), ("work.done", &promised.done)] {
        for (number, seq) in list {
            let found = kept.get(&format!("{topic}-{number}"));
            ensure!(found == Some(seq) || *seq <= gone, "{topic} {number}: {found:?}, not {seq:?}");
        }
    }
    examine_work(&bus, promised, &kept, gone).await?;

    // What was accepted is told from what is new, now as before.
    for (number, seq) in &promised.published {
        let again = bus.publish(vec![event("work.item", *number)]).await;
        let again = again.map_err(|error| format!("{error:?}"))?;
        ensure!(again[0].duplicate, "{number} was accepted a second time");
        ensure!(again[0].seq == *seq, "{number} stands at {:?}, not {seq:?}", again[0].seq);
    }
    bus.close();
    Ok(())
}

/// The events that are there, by their identifiers.
async fn kept(bus: &Bus) -> Result<BTreeMap<String, Seq>, String> {
    let mut kept = BTreeMap::new();
    let mut replay = bus.replay(Query::default());
    while let Some(stored) = replay.next().await {
        let stored = stored.map_err(|error| format!("{error:?}"))?;
        kept.insert(stored.event.id().as_str().to_owned(), stored.seq);
    }
    Ok(kept)
}

/// An acknowledgement, its event and its key are there together, or none of them is.
async fn examine_work(
    bus: &Bus,
    promised: &Promised,
    kept: &BTreeMap<String, Seq>,
    gone: Seq,
) -> Result<(), String> {
    let keys = bus.keys("done", "").await.map_err(|error| format!("{error:?}"))?;
    let keys: BTreeSet<u32> = keys.iter().map(|entry| entry.key.parse().unwrap()).collect();
    for number in promised.done.keys() {
        ensure!(keys.contains(number), "the key of {number} is lost");
    }
    for id in kept.keys().filter(|id| id.starts_with("work.done")) {
        let number = id.rsplit('-').next().unwrap().parse().unwrap();
        ensure!(keys.contains(&number), "{id} without its key");
    }
    for number in &keys {
        // An event that was never promised may have been dropped, if anything was.
        let place = promised.done.get(number).copied().unwrap_or(gone);
        let there = kept.contains_key(&format!("work.done-{number}"));
        ensure!(there || (place <= gone && gone > Seq::ZERO), "the key of {number} alone");
    }
    let delivered = drain(bus).await?;
    for number in promised.published.keys() {
        let (now, before) = (delivered.contains(number), keys.contains(number));
        ensure!(now || before, "{number} was never worked on and never will be");
        ensure!(!(now && before), "{number} is done, and was delivered again");
    }
    Ok(())
}

/// Works off what is open. Returns the numbers.
async fn drain(bus: &Bus) -> Result<BTreeSet<u32>, String> {
    const END: u32 = 1_000_000;
    let member = subscribe(bus).await;
    let end = bus.publish(vec![event("work.item", END)]).await;
    end.map_err(|error| format!("{error:?}"))?;
    let mut delivered = BTreeSet::new();
    let mut ended = false;
    // The end is the newest event; what was in flight at the cut may come behind it.
    while !ended || member.status().retrying > 0 {
        let mut delivery = member.next().await.map_err(|error| format!("{error:?}"))?;
        let number = number(delivery.event());
        let outputs = if number == END { Outputs::default() } else { outputs(number) };
        let acknowledged = match delivery.ack(outputs).await {
            Ok(acknowledged) => acknowledged,
            // A conflict: its key is there.
            Err(error) => return Err(format!("{number} was delivered again: {error:?}")),
        };
        if number == END {
            ended = true;
            continue;
        }
        ensure!(!acknowledged.events[0].duplicate, "{number} has an event and counts as open");
        ensure!(delivered.insert(number), "{number} was delivered twice");
    }
    Ok(delivered)
}

/// Examines what is left after cuts all along the run. Returns what is wrong.
async fn cut(
    recorder: &Recorder,
    images: usize,
    seed_of: impl Fn(usize) -> usize,
    dropped: Seq,
) -> Vec<String> {
    let points = recorder.cut_points();
    let mut harm = Vec::new();
    for number in 0..images {
        let point = points[number * (points.len() - 1) / (images - 1)];
        let seed = seed_of(number) as u64;
        let image = recorder.image(point, seed).unwrap();
        let promised = Promised::before(recorder, point);
        let examined = examine(image.path(), &promised, dropped);
        let result = tokio::time::timeout(LIMIT, examined)
            .await
            .unwrap_or_else(|_| Err("an event that is open is never delivered".into()));
        if let Err(why) = result {
            harm.push(format!("{}, seed {seed}: {why}", recorder.describe(point)));
        }
    }
    harm
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::register("bus-power-loss", folder.path()).unwrap();
    let dropped = tokio::time::timeout(LIMIT, run(&recorder, folder.path())).await.unwrap();
    assert!(dropped > Seq::ZERO, "retention dropped nothing, so it was not tried");
    let end = *recorder.cut_points().last().unwrap();
    let all = (PUBLISHERS * EACH * ROUNDS) as usize;
    assert_eq!(Promised::before(&recorder, end).done.len(), all);
    // Of four cuts in a row: nothing unsynced kept, all kept, and two mixtures.
    let seed_of = |number| if number % 4 < 2 { number % 4 } else { number };
    let harm = cut(&recorder, 600, seed_of, dropped).await;
    assert!(harm.is_empty(), "{} of 600: {:#?}", harm.len(), &harm[..harm.len().min(3)]);
}

/// The test above looks at the right things: on a disk that ignores syncs it finds that acknowledged
/// events are gone.
#[tokio::test]
async fn a_disk_that_ignores_syncs_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::register("bus-without-syncs", folder.path()).unwrap();
    recorder.ignore_syncs();
    let dropped = tokio::time::timeout(LIMIT, run(&recorder, folder.path())).await.unwrap();
    // Nothing of it kept, and all of it, in turn: a mixture of pages is another test's matter.
    let harm = cut(&recorder, 60, |number| number % 2, dropped).await;
    assert!((20..=30).contains(&harm.len()), "{} of 60: {harm:#?}", harm.len());
}
