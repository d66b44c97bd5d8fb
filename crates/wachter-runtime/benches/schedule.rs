//! What time costs a node: 10,000 agents, half on cron expressions in two zones with jitter, half on
//! intervals. `cargo bench -p wachter-runtime --bench schedule`.
#![allow(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use wachter_config::{AgentRole, Overlap, Schedule, Spread};
use wachter_model::AgentName;
use wachter_runtime::schedule::{
    Admission, AdmissionLimits, AgentTimes, Offered, Priority, Times, Timetable, Work,
};

const AGENTS: u32 = 10_000;

const SCHEDULES: [&str; 4] = [
    r#"{"cron": "*/15 * * * *", "timezone": "Europe/Amsterdam", "jitter": "5m"}"#,
    r#"{"cron": "30 2 * * *", "timezone": "America/New_York", "jitter": "1h"}"#,
    r#"{"every": "30s"}"#,
    r#"{"every": "5m", "jitter": "1m"}"#,
];

fn main() {
    let start: Timestamp = "2026-11-22T00:00:00Z".parse().expect("is a time");
    let agents: Vec<(AgentName, Times)> = (0..AGENTS).map(agent).collect();
    let mut timetable = Timetable::new(100);
    let took = time(|| declare(&mut timetable, &agents, None, start));
    report("declare one agent", took, AGENTS);
    let took = time(|| drain(&mut timetable, start));
    report("hand out a first tick", took, AGENTS);

    let (mut now, mut wakes, mut ticks) = (start, 0, 0);
    let end = start + SignedDuration::from_mins(10);
    let took = time(|| {
        while let Some(next) = timetable.next_wake(now).filter(|next| *next < end) {
            now = next;
            ticks += timetable.due(now).ticks.len();
            wakes += 1;
        }
    });
    println!("ten minutes of {AGENTS} agents: {ticks} ticks in {wakes} wakes");
    report("hand out one tick, wake included", took, u32::try_from(ticks).unwrap_or(u32::MAX));
    let calls = 100_000;
    let took = time(|| (0..calls).for_each(|_| _ = black_box(timetable.next_wake(now))));
    report("next_wake", took, calls);
    let took = time(|| (0..calls).for_each(|_| _ = black_box(timetable.due(now))));
    report("due, with nothing due", took, calls);

    let back = now - SignedDuration::from_secs(1);
    let took = time(|| timetable.next_wake(back));
    report("look again at one agent after the clock went back", took, AGENTS);
    let kept: Vec<_> = agents.iter().map(|(name, _)| timetable.kept(name)).collect();
    let later = now + SignedDuration::from_hours(24 * 365);
    let mut restarted = Timetable::new(100);
    let took = time(|| declare(&mut restarted, &agents, Some(&kept), later));
    report("declare one agent after a year away", took, AGENTS);
    let took = time(|| drain(&mut restarted, later));
    report("make up for a year of one agent", took, AGENTS);

    admission();
}

fn admission() {
    let limits =
        AdmissionLimits { running: 16, running_per_agent: 8, queued: 1_024, queued_per_agent: 64 };
    let mut admission = Admission::new(limits);
    let works: Vec<Work> = (0..1_000).map(work).collect();
    let mut running = Vec::new();
    let took = time(|| {
        for work in &works {
            if admission.offer(work.clone()) == Offered::Start {
                running.push(work.run);
            }
        }
    });
    report("offer, of a thousand, with a key each", took, 1_000);
    let took = time(|| {
        while let Some(run) = running.pop() {
            running.extend(admission.finished(run).iter().map(|work| work.run));
        }
    });
    report("finish one of these and start another", took, 1_000);
}

fn agent(number: u32) -> (AgentName, Times) {
    let name: AgentName = format!("agent-{number}").parse().expect("is a name");
    let text = SCHEDULES[number as usize % SCHEDULES.len()];
    let schedule: Schedule = serde_json::from_str(text).expect("is a schedule");
    let spread = Spread::of_node(&"web-1".parse().expect("is a name"), &name);
    (name, Times::new(schedule, None, spread))
}

fn work(number: u32) -> Work {
    let run = format!("00000000-0000-7000-8000-{number:012}");
    Work {
        run: run.parse().expect("is an identifier"),
        agent: format!("agent-{}", number % 50).parse().expect("is a name"),
        role: AgentRole::Scanner,
        key: Some(format!("repository-{number}")),
        limit: NonZeroU32::MIN,
        overlap: Overlap::Queue,
        priority: Priority::Normal,
    }
}

fn declare(
    timetable: &mut Timetable,
    agents: &[(AgentName, Times)],
    kept: Option<&[Option<AgentTimes>]>,
    now: Timestamp,
) {
    for (number, (name, times)) in agents.iter().enumerate() {
        let kept = kept.and_then(|kept| kept[number].clone());
        timetable.declare(name.clone(), times.clone(), kept, now);
    }
}

fn drain(timetable: &mut Timetable, now: Timestamp) {
    while timetable.next_wake(now) == Some(now) {
        black_box(timetable.due(now));
    }
}

fn time<T>(run: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(run());
    begun.elapsed()
}

fn report(what: &str, took: Duration, times: u32) {
    println!("{:>12?}  {what}", took / times.max(1));
}
