//! Two nodes over one bus: the schedule of an agent with `scope: fleet` is kept by one of them.

use std::sync::Arc;
use std::time::Duration;

use wachter_bus::{Bus, Options};

use crate::support::{Act, Node, Setup, TestClock, succeed};

const AGENTS: &[(&str, &str)] = &[(
    "worker",
    "role: monitoring\nscope: fleet\non: { schedule: { every: 10s, missed: run-all } }",
)];

fn well() -> Act {
    Arc::new(|_| succeed())
}

/// Lets time pass as it does: those who wait get their turn in between.
async fn pass(clock: &TestClock, seconds: u64, nodes: &[&Node]) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        for node in nodes {
            node.handle.report().await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_node_keeps_the_schedule_and_the_other_takes_it_over() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let mut options = Options::new(folder.path());
    options.clock = clock.clone();
    let bus = Bus::open(options).unwrap();
    let start = |node: &'static str| {
        let setup = Setup { node, clock: clock.clone(), bus_clock: true, ..Setup::default() };
        Node::start_over(bus.clone(), setup, AGENTS, well())
    };
    let one = start("one");
    one.until_agents(1).await;
    let two = start("two");
    two.until_agents(1).await;
    pass(&clock, 65, &[&one, &two]).await;
    one.until_finished(7).await;
    assert!(one.report_of("worker").await.next.is_some());
    assert_eq!(two.report_of("worker").await.next, None, "the schedule is the other's");

    one.kill_beside().await;
    // Longer than a lease lasts, and is asked for.
    pass(&clock, 85, &[&two]).await;
    assert!(two.report_of("worker").await.next.is_some());
    let three = start("one");
    three.until_agents(1).await;
    pass(&clock, 30, &[&two, &three]).await;
    assert_eq!(three.report_of("worker").await.next, None);

    let ticks = two.ticks("worker").await;
    two.until_finished(ticks.len()).await;
    let gaps: Vec<i64> =
        ticks.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect();
    assert!(ticks.len() >= 18 && gaps.iter().all(|gap| *gap == 10), "{ticks:?}");
    // A node that stops in order gives the lease back at once.
    let bus = two.bus.clone();
    assert_eq!(bus.keys("agent-leases", "").await.unwrap().len(), 1);
    three.kill_beside().await;
    two.stop().await.unwrap();
    let bus = Bus::open(Options::new(folder.path())).unwrap();
    assert_eq!(bus.keys("agent-leases", "").await.unwrap(), []);
}

#[tokio::test]
async fn on_one_node_the_lease_is_won_at_once_and_after_a_kill_again() {
    let folder = tempfile::tempdir().unwrap();
    for ticks in [1, 1, 1] {
        let node = Node::start(
            folder.path(),
            &[("worker", "scope: fleet\non: { schedule: { every: 100d } }")],
            well(),
        );
        node.until_finished(1).await;
        node.until("it has its schedule", async |node| {
            node.report_of("worker").await.next.is_some()
        })
        .await;
        assert_eq!(node.ticks("worker").await.len(), ticks);
        node.kill().await;
    }
}
