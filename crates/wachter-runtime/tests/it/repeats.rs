//! What is done again is done under the same key, and what runs side by side loses no state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wachter_bus::{Bus, DeadLetterId, Options, SubscriptionOptions};
use wachter_runtime::dispatch::STATE_BUCKET;

use crate::support::{Act, Doing, Node, Setup, TestClock, events, succeed};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_kill_between_effect_and_acknowledgement_repeats_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }"), ("other", "on: { events: [a.b] }")];
    let never = Arc::new(Semaphore::new(0));
    let hang: Act = Arc::new(move |_| Doing::Until(Arc::clone(&never), None));
    let node = Node::start(folder.path(), &agents, hang);
    node.until_agents(2).await;
    let event = node.tell("a.b", json!(1)).await;
    node.until("both have begun", async |node| node.begun() == 2).await;
    let before = node.begun.lock().unwrap().clone();
    node.kill().await;
    let node = Node::start(folder.path(), &agents, Arc::new(|_| succeed()));
    node.until_finished(2).await;
    let after = node.begun.lock().unwrap().clone();
    let keys = |requests: &[wachter_runtime::RunRequest]| -> BTreeSet<String> {
        requests.iter().map(|request| request.idempotency_key.to_string()).collect()
    };
    let runs = |requests: &[wachter_runtime::RunRequest]| -> BTreeSet<String> {
        requests.iter().map(|request| request.run.to_string()).collect()
    };
    assert_eq!(keys(&before), keys(&after));
    assert_eq!(keys(&after).len(), 2, "one for each agent");
    assert!(runs(&before).is_disjoint(&runs(&after)));
    let records = node.events("run.finished").await;
    let kept: BTreeSet<String> = records
        .iter()
        .map(|record| {
            record.data().to_json().unwrap()["idempotency_key"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kept, keys(&after));
    assert!(records.iter().all(|record| record.causation_id() == Some(event.id().as_str())));
    node.tell("a.b", json!(1)).await;
    node.until_finished(4).await;
    assert!(keys(&node.begun.lock().unwrap()[2..]).is_disjoint(&keys(&after)));
    node.stop().await.unwrap();
}

#[tokio::test]
async fn runs_side_by_side_lose_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }\nconcurrency: { limit: 8 }")];
    // Each run adds one to what it was handed; all of the first ones are under way before one ends.
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let act: Act = Arc::new(move |request| {
        let seen = request.state.as_u64().unwrap_or(0);
        Doing::Until(Arc::clone(&waiting), Some(json!(seen + 1)))
    });
    let node = Node::start(folder.path(), &agents, act);
    node.until_agents(1).await;
    for number in 0..20 {
        node.tell("a.b", json!(number)).await;
    }
    node.until("eight are under way", async |node| node.begun() == 8).await;
    gate.add_permits(1_000);
    node.until_finished(20).await;
    let state = node.bus.key(STATE_BUCKET, "worker").await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<u64>(&state.value).unwrap(), 20);
    assert!(node.begun() <= 20 + 7, "only what overlapped is done again: {}", node.begun());
    let succeeded = node.events("run.finished").await;
    assert_eq!(succeeded.len(), 20);
    node.stop().await.unwrap();
}

#[tokio::test]
async fn runs_that_build_on_each_other_go_one_at_a_time_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }\nconcurrency: { overlap: allow }")];
    let under_way = Arc::new(AtomicU64::new(0));
    let act = || -> Act {
        let count = Arc::clone(&under_way);
        Arc::new(move |request| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            Doing::Succeed {
                output: Value::Null,
                state: Some(json!(request.state.as_u64().unwrap_or(0) + 1)),
                emit: if number == 0 { vec!["probe.done"] } else { Vec::new() },
            }
        })
    };
    let node = Node::start(folder.path(), &agents, act());
    node.until_agents(1).await;
    node.tell("a.b", Value::Null).await;
    node.until_finished(1).await;
    node.stop().await.unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let act: Act = Arc::new(move |_| Doing::Until(Arc::clone(&waiting), None));
    let node = Node::start(folder.path(), &agents, act);
    node.until_agents(1).await;
    for number in 0..3 {
        node.tell("a.b", json!(number)).await;
    }
    node.until("the others wait", async |node| {
        let report = node.report_of("worker").await;
        report.running == 1 && report.queued == 2
    })
    .await;
    gate.add_permits(3);
    node.until_finished(4).await;
    node.stop().await.unwrap();
}

#[tokio::test]
async fn failures_are_counted_over_kills_and_kills_are_no_failures() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [(
        "worker",
        "role: scanner\non: { events: [a.b] }\n\
         retry: { attempts: 3, backoff: constant, initial: 1h, max: 1h }",
    )];
    let never = Arc::new(Semaphore::new(0));
    let hang: Act = Arc::new(move |_| Doing::Until(Arc::clone(&never), None));
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let start = |act: Act| {
        let setup = Setup { clock: clock.clone(), bus_clock: true, ..Setup::default() };
        Node::start_as(setup, folder.path(), &agents, act)
    };
    let node = start(hang.clone());
    node.until_agents(1).await;
    node.tell("a.b", json!(1)).await;
    node.until("it hangs", async |node| node.begun() == 1).await;
    node.kill().await;
    for failures in 1..=3 {
        // What the last life was in the midst of comes at once.
        let node = start(hang.clone());
        node.until("it hangs", async |node| node.begun() == 1).await;
        node.kill().await;
        let node = start(Arc::new(|_| Doing::Fail("no")));
        node.until_finished(failures).await;
        node.kill().await;
        // What failed waits its hour, whoever was there meanwhile.
        clock.advance(HOUR / 2);
        let node = start(hang.clone());
        node.until_agents(1).await;
        let waiting = node.bus.subscriptions().iter().map(|one| one.retrying).sum::<usize>();
        assert_eq!((waiting, node.begun()), (usize::from(failures < 3), 0));
        node.kill().await;
        clock.advance(HOUR / 2);
    }
    let node = start(Arc::new(|_| succeed()));
    node.until_agents(1).await;
    let letters = node.bus.dead_letters(None, DeadLetterId::new(0), 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str(), node.begun()), (1, "no", 0));
    node.stop().await.unwrap();
}

/// A kill right after the record of a run that was ended by us finds its event put back.
#[tokio::test]
async fn the_record_of_a_cancelled_run_and_its_putting_back_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [("worker", "on: { events: [a.b] }\nconcurrency: { limit: 2 }")];
    // Nothing is written but what is asked for.
    let quiet = |folder: &std::path::Path| {
        Bus::open(Options { upkeep: 24 * HOUR, ..Options::new(folder) }).unwrap()
    };
    let act: Act = Arc::new(|request| match &request.event {
        Some(event) if event["data"] == json!(1) => Doing::Hang,
        _ => succeed(),
    });
    let node = Node::start_over(quiet(folder.path()), Setup::default(), &agents, act);
    node.until_agents(1).await;
    node.tell("a.b", json!(1)).await;
    node.until("it hangs", async |node| node.begun() == 1).await;
    // With this one it is written that the other is under way.
    node.tell("a.b", json!(2)).await;
    node.until_finished(1).await;
    let bus = node.stop_beside().await;
    let records = events(&bus, "run.finished").await;
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].data().to_json().unwrap()["outcome"], "cancelled");
    // The files as a kill leaves them.
    let after = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(folder.path().join(name), after.path().join(name)).unwrap();
    }
    bus.close();
    let bus = quiet(after.path());
    let name = "agents/worker".parse().unwrap();
    let subscription = bus.subscribe(SubscriptionOptions::new(name)).await.unwrap();
    let delivery = subscription.next().await.unwrap();
    assert_eq!((delivery.attempt(), delivery.failures()), (1, 0));
}
