//! The process that is killed.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wachter_bus::{
    Bus, DeadLetterId, Delivery, Expect, KeyChange, Options, Outputs, Retention, Retry,
    SegmentLimits, SubscriptionOptions,
};
use wachter_model::Event;

use crate::support::{event, options as subscription_options};

pub(super) const FOLDER: &str = "WACHTER_BUS_KILLED";
pub(super) const IN_FLIGHT: usize = 8;
/// Failures after which an event is given up.
pub(super) const ATTEMPTS: u32 = 3;
/// The bucket in which each worker counts what it settled.
pub(super) const COUNTS: &str = "counts";
const WORKERS: usize = 4;
/// Events that wait to be settled.
const BACKLOG: usize = 16;

pub(super) fn options(folder: &Path) -> Options {
    let mut options = Options::new(folder);
    options.segment = SegmentLimits { events: 100, ..SegmentLimits::default() };
    options.retention = Retention { age: None, bytes: Some(200_000), step: 16 };
    options.dedup.generation = 256;
    options.upkeep = Duration::from_millis(20);
    options
}

pub(super) fn work() -> SubscriptionOptions {
    let mut work = SubscriptionOptions { in_flight: IN_FLIGHT, ..subscription_options("work") };
    work.filter.topics = vec!["work".parse().unwrap()];
    let initial = Duration::from_millis(1);
    work.retry =
        Retry { attempts: ATTEMPTS, interruptions: 1_000, initial, factor: 1.0, ..work.retry };
    work
}

/// What the process does; nothing where it is not that process.
#[test]
fn process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let bus = Bus::open(options(Path::new(&folder))).unwrap();
        // What was given up before is dropped, so that it does not grow for ever.
        for dead in bus.dead_letters(None, DeadLetterId::new(0), 1_000).await.unwrap() {
            bus.drop_dead_letter(dead.id).await.unwrap();
        }
        let subscription = bus.subscribe(work()).await.unwrap();
        // As many are published as are settled: what is not settled is not pruned either.
        let behind = usize::try_from(subscription.status().behind).unwrap();
        let room = Arc::new(Semaphore::new(BACKLOG.saturating_sub(behind)));
        let mut tasks = JoinSet::<Infallible>::new();
        for worker in 0..WORKERS {
            let (publisher, taken) = (bus.clone(), Arc::clone(&room));
            tasks.spawn(async move {
                loop {
                    taken.acquire().await.unwrap().forget();
                    let work = event("work").build().unwrap();
                    let id = work.id().clone();
                    let seq = publisher.publish(vec![work]).await.unwrap()[0].seq;
                    say(&format!("published {seq} {id} 0"));
                }
            });
            let (bus, subscription, room) = (bus.clone(), subscription.clone(), Arc::clone(&room));
            tasks.spawn(async move {
                let mut count = Count::of(&bus, worker).await;
                loop {
                    let mut delivery = subscription.next().await.unwrap();
                    if handle(&mut delivery, &mut count).await {
                        room.add_permits(1);
                    }
                }
            });
        }
        panic!("a task ended: {:?}", tasks.join_next().await);
    });
}

/// Fails some events some times, and settles the others. Returns whether it comes no more.
async fn handle(delivery: &mut Delivery, count: &mut Count) -> bool {
    let (seq, key, failures) = (delivery.seq(), delivery.idempotency_key(), delivery.failures());
    say(&format!("delivered {seq} {key} {failures}"));
    let fails = match seq.get() {
        seq if seq % 29 == 0 => ATTEMPTS,
        seq if seq % 7 == 0 => 2,
        _ => 0,
    };
    if failures < fails {
        let number = failures + 1;
        let outputs =
            Outputs { events: vec![record(delivery, "failed", number)], keys: Vec::new() };
        delivery.nak_with(outputs, None, "on purpose").await.unwrap();
        say(&format!("failed {seq} {key} {number}"));
        number == ATTEMPTS
    } else {
        let done = record(delivery, "done", failures);
        let outputs = Outputs { events: vec![done], keys: vec![count.next()] };
        let settled = delivery.ack(outputs).await.unwrap();
        count.value += 1;
        count.expect = Expect::Revision(settled.revisions[0]);
        say(&format!("settled {seq} {key} {failures}"));
        say(&format!("counted {} {} 0", count.value, count.worker));
        true
    }
}

fn record(delivery: &Delivery, topic: &str, number: u32) -> Event {
    event(topic).caused_by(delivery.event()).json(&number.into()).build().unwrap()
}

/// What one worker settled, ever; counted by compare-and-set in the transaction that settles.
struct Count {
    worker: usize,
    value: u64,
    expect: Expect,
}

impl Count {
    async fn of(bus: &Bus, worker: usize) -> Self {
        match bus.key(COUNTS, &worker.to_string()).await.unwrap() {
            Some(entry) => {
                let value = u64::from_be_bytes(entry.value.try_into().unwrap());
                Self { worker, value, expect: Expect::Revision(entry.revision) }
            }
            None => Self { worker, value: 0, expect: Expect::Absent },
        }
    }

    fn next(&self) -> KeyChange {
        KeyChange {
            bucket: COUNTS.into(),
            key: self.worker.to_string(),
            value: Some((self.value + 1).to_be_bytes().to_vec()),
            expect: self.expect,
            lasts: None,
        }
    }
}

/// One write for one line, so that none is torn.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}
