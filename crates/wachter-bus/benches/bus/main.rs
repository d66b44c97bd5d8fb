//! The bus against a raw writer on the same disk in the same run: a file that is appended to and
//! `fdatasync`ed in groups, which is the least that durability costs.
//!
//! `cargo bench -p wachter-bus` takes some minutes. `-- ROUNDS` sets how thorough it is (20): a tenth of
//! a second a round for one measurement, up to five turns, and below ten rounds 20,000 identities in
//! the window instead of 1,150,000. After it, `publish`, `nats`, `work`, `idle`, `latency` and `open` choose
//! what is measured. Both sides are measured in turns, and the median of the turns'
//! ratios is what is told.

#![expect(clippy::print_stdout, reason = "the numbers are what this program is for")]

mod idle;
mod nats;
mod opening;
mod rate;
mod raw;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use wachter_bus::{Bus, Options, Outputs, SegmentLimits, Start, Subscription, SubscriptionOptions};
use wachter_model::{Event, EventBuilder, EventId};

use rate::{Clients, median, percentile};
use raw::RawWriter;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let rounds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20_u32).max(1);
    let parts: Vec<_> = arguments.collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    let scale = Scale {
        turns: rounds.min(5),
        length: Duration::from_millis(100) * rounds.min(20),
        identities: if rounds < 10 { 20_000 } else { 1_150_000 },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started");
    // Not /tmp, which may be memory.
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    std::fs::create_dir_all(&target).expect("the target folder can be made");
    let folder = tempfile::tempdir_in(&target).expect("a folder can be made");
    let raw = RawWriter::start(&folder.path().join("raw"));
    let mut options = Options::new(folder.path().join("bus"));
    options.segment = SegmentLimits { events: 65_536, ..SegmentLimits::default() };
    let bus = Bus::open(options.clone()).expect("a new journal can be opened");
    fill(&runtime, &bus, scale.identities);
    if wanted("publish") {
        publish(&runtime, &bus, &raw, scale);
    }
    if wanted("nats") {
        nats::measure(folder.path(), &target, scale.length, &event(0).to_json());
    }
    if wanted("work") {
        work(&runtime, &bus, &raw, scale);
    }
    if wanted("idle") {
        idle::measure(&runtime, &bus, scale);
    }
    if wanted("latency") {
        latency(&runtime, &bus, scale.length);
    }
    let status = bus.status();
    println!(
        "identities {}, {:.1} MiB; {:.1} events a commit",
        status.identities,
        status.identity_bytes as f64 / 1_048_576.0,
        status.published as f64 / status.commits as f64
    );
    if wanted("open") {
        opening::measure(bus, options);
    }
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// How often both sides are measured, one after the other.
    turns: u32,
    /// How long one measurement takes.
    length: Duration,
    /// Identities in the window.
    identities: u64,
}

/// An event of about 1 KiB; every other id is random, the rest sort by time.
fn event(number: u64) -> Event {
    let id = if number.is_multiple_of(2) {
        uuid::Uuid::new_v4().to_string().parse().expect("a UUID is an id")
    } else {
        EventId::new()
    };
    builder("bench.publish").id(id).build().expect("it keeps the rules")
}

fn builder(topic: &str) -> EventBuilder {
    use std::sync::LazyLock;
    static DATA: LazyLock<wachter_model::EventData> =
        LazyLock::new(|| wachter_model::EventData::json(&"x".repeat(880).into()));
    Event::builder("/bench".parse().expect("a path"), &topic.parse().expect("a topic"))
        .data(DATA.clone())
}

/// Fills the window, so that pruning has begun.
fn fill(runtime: &Runtime, bus: &Bus, count: u64) {
    let begun = Instant::now();
    runtime.block_on(async {
        for _ in 0..count / 500 {
            let batch = (0..500)
                .map(|number| {
                    let event = event(number).into_builder();
                    event
                        .data(wachter_model::EventData::Absent)
                        .build()
                        .expect("it keeps the rules")
                })
                .collect();
            bus.publish(batch).await.expect("there is room");
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!("filled with {count} identities in {seconds:.1} s");
}

fn publish(runtime: &Runtime, bus: &Bus, raw: &RawWriter, scale: Scale) {
    let length = scale.length;
    for (publishers, goal) in [(1, 0.8), (8, 0.8), (64, 0.5)] {
        let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..scale.turns {
            let sink = raw.clone();
            let raw = Clients::run(runtime, publishers, length, move |number| {
                let sink = sink.clone();
                async move { sink.append(event(number).to_json()).await }
            });
            let bus_of_turn = bus.clone();
            let bus = Clients::run(runtime, publishers, length, move |number| {
                let bus = bus_of_turn.clone();
                async move {
                    bus.publish(vec![event(number)]).await.expect("the disk has room");
                }
            });
            ratios.push(bus.rate / raw.rate);
            ours.push(bus);
            theirs.push(raw);
        }
        let ratio = median(&ratios);
        println!(
            "publish, {publishers:2} at once: bus {}, raw {}: {ratio:.2} (goal {goal}){}",
            rate::summary(ours),
            rate::summary(theirs),
            if ratio < goal { " MISSED" } else { "" }
        );
    }
}

/// Publish, deliver, acknowledge with one output; against two appends, one after the other.
fn work(runtime: &Runtime, bus: &Bus, raw: &RawWriter, scale: Scale) {
    let length = scale.length;
    for jobs in [1_u64, 8, 64] {
        let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..scale.turns {
            let sink = raw.clone();
            let raw = Clients::run(runtime, jobs, length, move |number| {
                let sink = sink.clone();
                async move {
                    sink.append(event(number).to_json()).await;
                    sink.append(event(number).to_json()).await;
                }
            });
            let subscription = subscribe(runtime, bus, &format!("work-{jobs}-{turn}"), jobs);
            let bus_of_turn = bus.clone();
            let bus_after = bus.clone();
            let bus = Clients::run(runtime, jobs, length, move |_| {
                let (bus, subscription) = (bus_of_turn.clone(), subscription.clone());
                async move {
                    let work = builder("bench.work").build().expect("it keeps the rules");
                    bus.publish(vec![work]).await.expect("the disk has room");
                    let mut delivery = subscription.next().await.expect("the bus is open");
                    let output = builder("bench.done").caused_by(delivery.event()).build();
                    let events = vec![output.expect("it keeps the rules")];
                    delivery.ack(Outputs { events, keys: Vec::new() }).await.expect("it is held");
                }
            });
            let name = format!("work-{jobs}-{turn}").parse().expect("a name");
            runtime.block_on(bus_after.unsubscribe(name)).expect("it is there");
            ratios.push(bus.rate / raw.rate);
            ours.push(bus);
            theirs.push(raw);
        }
        println!(
            "work queue, {jobs:2} at once: bus {}, raw {}: {:.2}",
            rate::summary(ours),
            rate::summary(theirs),
            median(&ratios)
        );
    }
}

fn subscribe(runtime: &Runtime, bus: &Bus, name: &str, clients: u64) -> Subscription {
    let mut options = SubscriptionOptions::new(name.parse().expect("a name"));
    options.filter.topics = vec!["bench.work".parse().expect("a filter")];
    options.start = Start::Now;
    options.in_flight = usize::try_from(clients.max(64)).expect("a small number");
    runtime.block_on(bus.subscribe(options)).expect("the disk has room")
}

/// From `publish` to the handler, at 500 events a second.
fn latency(runtime: &Runtime, bus: &Bus, length: Duration) {
    let subscription = subscribe(runtime, bus, "latency", 64);
    let begun = Instant::now();
    let now = move || u64::try_from(begun.elapsed().as_micros()).expect("some seconds");
    let handled = Arc::new(AtomicU64::new(0));
    let took = runtime.block_on(async {
        let count = Arc::clone(&handled);
        let handler = tokio::spawn(async move {
            let mut took = Vec::new();
            while let Ok(mut delivery) = subscription.next().await {
                let sent = delivery.event().subject().and_then(|text| text.parse::<u64>().ok());
                took.push(now() - sent.expect("it was put there"));
                count.fetch_add(1, Ordering::Relaxed);
                let last = delivery.event().extension("last").is_some();
                // The next one does not wait for the disk.
                let settled = tokio::spawn(async move {
                    delivery.ack(Outputs::default()).await.expect("it is held");
                });
                if last {
                    settled.await.expect("it does not panic");
                    break;
                }
            }
            took
        });
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        let total = u64::try_from(length.as_millis() * 2).expect("some seconds");
        for number in 0..total {
            ticks.tick().await;
            let bus = bus.clone();
            let send = async move {
                let mut event = builder("bench.work").subject(now().to_string());
                if number + 1 == total {
                    event = event.extension("last", wachter_model::AttributeValue::Boolean(true));
                }
                let event = event.build().expect("it keeps the rules");
                bus.publish(vec![event]).await.expect("the disk has room");
            };
            if number + 1 == total {
                send.await;
            } else {
                drop(tokio::spawn(send));
            }
        }
        handler.await.expect("the handler does not panic")
    });
    let milliseconds: Vec<_> = took.into_iter().map(|micros| micros as f64 / 1e3).collect();
    println!(
        "publish to handler at 500/s: p50 {:.2} ms, p99 {:.2} ms over {}",
        percentile(&milliseconds, 0.5),
        percentile(&milliseconds, 0.99),
        milliseconds.len()
    );
}
