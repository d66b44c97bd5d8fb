//! Schedules as agents have them, over restarts and jumps of the clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use wachter_config::{Schedule, Spread};
use wachter_runtime::schedule::Times;

use crate::support::{Act, Node, Setup, TestClock, node_name, succeed};

fn well() -> Act {
    Arc::new(|_| succeed())
}

/// What happens to a node that has one agent.
enum Step {
    /// The clock goes on, while the node is at work.
    Advance(&'static str),
    /// The node is down for so long.
    Away(&'static str),
    /// The clock is set, and looked at a minute later.
    Set(&'static str),
}

fn time(text: &str) -> Timestamp {
    format!("2026-11-{text}Z").parse().unwrap()
}

fn length(text: &str) -> Duration {
    text.parse::<wachter_model::Duration>().unwrap().to_std()
}

/// Has the task look at the clock. It does so between one answer and the next; what was asked first may
/// have been answered before.
async fn look(node: &Node) {
    node.handle.report().await.unwrap();
    node.handle.report().await.unwrap();
}

/// Goes through `steps` from noon of the 22nd and sees which ticks there are, and that each is run once.
async fn check(rest: &str, steps: &[Step], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new("2026-11-22T12:00:00Z");
    let rest = format!("role: monitoring\n{rest}");
    let agents = [("worker", rest.as_str())];
    let start = || {
        Node::start_as(
            Setup { clock: clock.clone(), ..Setup::default() },
            folder.path(),
            &agents,
            well(),
        )
    };
    let mut node = start();
    node.until_agents(1).await;
    for step in steps {
        match step {
            Step::Advance(by) => {
                let (minute, mut left) = (Duration::from_secs(60), length(by));
                while left > Duration::ZERO {
                    clock.advance(left.min(minute));
                    left = left.saturating_sub(minute);
                    look(&node).await;
                }
            }
            Step::Away(by) => {
                node.kill().await;
                clock.advance(length(by));
                node = start();
                node.until_agents(1).await;
            }
            Step::Set(to) => {
                clock.set(&time(to).to_string());
                clock.advance(Duration::from_secs(60));
            }
        }
        look(&node).await;
    }
    let expected: Vec<Timestamp> = expected.iter().map(|text| time(text)).collect();
    node.until(&format!("ticks of {rest}"), async |node| {
        node.ticks("worker").await.len() >= expected.len()
    })
    .await;
    node.until_finished(expected.len()).await;
    assert_eq!(node.ticks("worker").await, expected, "{rest}");
    let causes: std::collections::BTreeSet<_> = node
        .events("run.finished")
        .await
        .iter()
        .map(|event| event.causation_id().unwrap().to_owned())
        .collect();
    assert_eq!(causes.len(), expected.len(), "{rest}: each is run once");
    node.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_missed_is_as_declared() {
    let away = [Step::Advance("10m"), Step::Away("3h"), Step::Advance("1h")];
    for (missed, expected) in [
        ("skip", vec!["22T12:05:00", "22T16:05:00"]),
        ("run-once", vec!["22T12:05:00", "22T15:05:00", "22T16:05:00"]),
        (
            "run-all",
            vec!["22T12:05:00", "22T13:05:00", "22T14:05:00", "22T15:05:00", "22T16:05:00"],
        ),
    ] {
        let rest = format!("on: {{ schedule: {{ cron: '5 * * * *', missed: {missed} }} }}");
        check(&rest, &away, &expected).await;
    }
}

#[tokio::test]
async fn a_jump_forward_is_like_having_been_away() {
    let rest = "on: { schedule: { cron: '5 * * * *', missed: run-all } }";
    let steps = [Step::Advance("10m"), Step::Set("22T14:10:00"), Step::Advance("1h")];
    check(rest, &steps, &["22T12:05:00", "22T13:05:00", "22T14:05:00", "22T15:05:00"]).await;
}

#[tokio::test]
async fn a_jump_back_doubles_nothing_and_loses_nothing() {
    let rest = "on: { schedule: { cron: '5 * * * *' } }";
    // Two hours back are waited for.
    let steps =
        [Step::Advance("10m"), Step::Set("22T10:10:00"), Step::Advance("2h"), Step::Advance("1h")];
    check(rest, &steps, &["22T12:05:00", "22T13:05:00"]).await;
    // A day back was a wrong clock: its times come again, and are others than those before.
    let steps = [
        Step::Advance("10m"),
        Step::Set("21T12:00:00"),
        Step::Advance("10m"),
        Step::Away("1420m"),
        Step::Advance("20m"),
    ];
    let expected = ["22T12:05:00", "21T12:05:00", "22T11:05:00", "22T12:05:00"];
    check(rest, &steps, &expected).await;
}

#[tokio::test]
async fn a_window_defers_and_makes_one_of_many() {
    let rest = "on: { schedule: { cron: '0 * * * *' } }\nwindow: { allow: '14:30-16:30' }";
    let steps = [Step::Advance("1h"), Step::Away("1h"), Step::Advance("45m"), Step::Advance("1h")];
    check(rest, &steps, &["22T14:00:00", "22T15:00:00"]).await;
}

#[tokio::test]
async fn jitter_is_late_by_what_it_always_is() {
    let json = r#"{"cron": "0 * * * *", "jitter": "30m"}"#;
    let schedule: Schedule = serde_json::from_str(json).unwrap();
    let spread = Spread::of_node(&node_name(), &"worker".parse().unwrap());
    let due = Times::new(schedule, None, spread).upcoming(time("22T12:00:00")).next().unwrap();
    assert!(due > time("22T13:00:00") && due < time("22T13:30:00"));
    let before = due.duration_since(time("22T12:00:00")).as_millis() - 1;
    let before: &'static str = Box::leak(format!("{before}ms").into_boxed_str());
    let rest = "on: { schedule: { cron: '0 * * * *', jitter: 30m } }";
    check(rest, &[Step::Advance(before)], &[]).await;
    check(rest, &[Step::Advance(before), Step::Advance("1ms")], &["22T13:00:00"]).await;
}

#[tokio::test]
async fn only_agents_of_this_node_run_here() {
    let folder = tempfile::tempdir().unwrap();
    let agents = [
        ("here", "nodes: \"labels.role == 'web'\"\non: { schedule: { every: 100d } }"),
        ("there", "nodes: \"labels.role == 'db'\"\non: { schedule: { every: 100d } }"),
        ("nowhere", "nodes: \"labels.rack == '1'\"\non: { schedule: { every: 100d } }"),
        ("by-name", "nodes: \"node == 'one'\"\non: { schedule: { every: 100d } }"),
    ];
    let node = Node::start(folder.path(), &agents, well());
    node.until_finished(2).await;
    let reports = node.handle.report().await.unwrap();
    let names: Vec<&str> = reports.iter().map(|report| report.agent.name.as_str()).collect();
    assert_eq!(names, ["by-name", "here"]);
    node.stop().await.unwrap();
}
