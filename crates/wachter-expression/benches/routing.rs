//! What it costs to find out who wants an event: a topic index, conditions on an event that is bound,
//! and both from the bytes of a 9 KB push. By the time that one core works for it, whoever else is
//! there; conditions beside the library `cel` in the same run.
//!
//! `cargo bench -p wachter-expression --bench routing`; `-- ROUNDS` sets how thorough it is (20).

#![allow(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::hint::black_box;
use std::time::Duration;

use serde_json::{Value as Json, json};
use wachter_expression::{Environment, EventBindings, Expression};
use wachter_model::{Digest, Event, TopicFilter, TopicIndex};

/// What ten agents ask of a push; all of it holds.
const CONDITIONS: [&str; 10] = [
    "event.data.ref == 'refs/heads/main'",
    "event.data.ref.startsWith('refs/heads/')",
    "event.data.repository.name == 'infra'",
    "event.data.repository.full_name == 'example/infra' && event.data.repository.private",
    "event.data.repository.name in ['web', 'infra'] && !event.data.deleted",
    "event.data.sender.login != 'dependabot[bot]'",
    "event.data.commits.exists(c, c.modified.exists(f, f.endsWith('.lock')))",
    "size(event.data.commits) > 0 && event.data.forced == false",
    "event.data.head_commit.author.email.endsWith('@example.com')",
    "has(event.data.installation) && event.data.installation.id == 4242",
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let rounds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20_u32).max(1);
    topics(rounds);
    let body = push();
    println!("a push of {} bytes", body.len());
    bound(rounds, &body);
    pushes(rounds, &body);
}

/// Events of which one in a hundred filters means each.
fn topics(rounds: u32) {
    const FILTERS: usize = 500;
    let mut index = TopicIndex::new();
    let mut filters = Vec::<TopicFilter>::new();
    // Five filters for each of a hundred first words, of every kind.
    for number in 0..FILTERS {
        let word = number % 100;
        let text = match number / 100 {
            0 => format!("word{word}.>"),
            1 => format!("word{word}.*.end"),
            2 => format!("*.of{word}.end"),
            3 => format!("word{word}.of{word}.end"),
            _ => format!("word{word}.of{word}.*"),
        };
        let filter: TopicFilter = text.parse().expect("a filter");
        index.insert(&filter, number);
        filters.push(filter);
    }
    let topics: Vec<_> = (0..1_000).map(|n| format!("word{0}.of{0}.end", n % 100)).collect();
    let (mut matched, mut each) = (0_usize, 0_usize);
    for topic in &topics {
        index.find(topic, |_| matched += 1);
        each += filters.iter().filter(|filter| filter.matches_text(topic)).count();
    }
    assert_eq!(matched, each, "both find the same");
    let mut next = topics.iter().cycle();
    let ours = rate(rounds, || {
        index.find(next.next().expect("it goes round"), |place| {
            black_box(place);
        });
    });
    let theirs = rate(rounds, || {
        let topic = next.next().expect("it goes round");
        black_box(filters.iter().filter(|filter| filter.matches_text(topic)).count());
    });
    say("topic index, 500 filters of which 5 match", "events", ours, 1e6);
    println!("{:>14}  asking each filter; {:.0} times slower", amount(theirs), ours / theirs);
}

/// Conditions on an event that was bound before.
fn bound(rounds: u32, body: &[u8]) {
    let event = Event::from_json(body).expect("an event");
    let bindings = EventBindings::new(&event);
    let whole: Json = serde_json::from_slice(body).expect("is JSON");
    let mut context = cel::Context::default();
    context.add_variable("event", whole).expect("is a value");
    for text in [CONDITIONS[0], CONDITIONS[4]] {
        let condition = compile(text);
        let ours = rate(rounds, || assert!(holds(&condition, &bindings), "{text}"));
        let program = cel::Program::compile(text).expect("is an expression");
        let theirs = rate(rounds, || {
            assert!(matches!(program.execute(&context), Ok(cel::Value::Bool(true))), "{text}");
        });
        say(&format!("bound: {text}"), "evaluations", ours, 1e6);
        println!("{:>14}  library `cel`; {:.1} times slower", amount(theirs), ours / theirs);
    }
}

/// From the bytes that the journal keeps to ten conditions judged, each by whoever asks for itself.
fn pushes(rounds: u32, body: &[u8]) {
    let conditions = CONDITIONS.map(compile);
    let topic: TopicFilter = "github.push".parse().expect("a filter");
    let digest = Digest::of(body);
    let ours = rate(rounds, || {
        assert_eq!(Digest::of(body), digest, "as a reader of the journal looks first");
        let event = Event::from_json(body).expect("an event");
        for condition in &conditions {
            let wanted = topic.matches_text(event.event_type())
                && holds(condition, &EventBindings::new(&event));
            assert!(wanted, "{}", condition.text());
        }
    });
    let programs = CONDITIONS.map(|text| cel::Program::compile(text).expect("is an expression"));
    let theirs = rate(rounds, || {
        assert_eq!(Digest::of(body), digest, "as a reader of the journal looks first");
        let event: Json = serde_json::from_slice(body).expect("is JSON");
        let mut context = cel::Context::default();
        context.add_variable("event", event).expect("is a value");
        for program in &programs {
            assert!(matches!(program.execute(&context), Ok(cel::Value::Bool(true))), "it holds");
        }
    });
    say("pushes, each judged by 10 conditions that match", "events", ours, 20_000.0);
    println!(
        "{:>14}  library `cel`, bound once; {:.1} times slower",
        amount(theirs),
        ours / theirs
    );
    let part = |name: &str, rate: f64| println!("{:>11.1} µs  of that {name}", 1e6 / rate);
    part("its digest", rate(rounds, || Digest::of(black_box(body))));
    part("its envelope", rate(rounds, || Event::from_json(black_box(body))));
    let event = Event::from_json(body).expect("an event");
    part(
        "where its values stand",
        rate(rounds, || black_box(event.clone()).data().document().is_some()),
    );
    let all = rate(rounds, || {
        for condition in &conditions {
            assert!(holds(condition, &EventBindings::new(&event)), "{}", condition.text());
        }
    });
    part("ten conditions on what was found before", all);
}

fn compile(text: &str) -> Expression {
    Expression::condition(text, Environment::of_events()).expect("is a condition")
}

fn holds(condition: &Expression, bindings: &EventBindings<'_>) -> bool {
    condition.is_true(bindings) == Ok(true)
}

/// How often a second, by the median of the rounds, a round being a fiftieth of a second.
fn rate<T>(rounds: u32, mut run: impl FnMut() -> T) -> f64 {
    let mut rates: Vec<_> = (0..rounds)
        .map(|_| {
            let begun = worked();
            let mut calls = 0_u32;
            loop {
                for _ in 0..16 {
                    black_box(run());
                }
                calls += 16;
                let seconds = (worked() - begun).as_secs_f64();
                if seconds > 0.02 {
                    return f64::from(calls) / seconds;
                }
            }
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// How long this thread has worked.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().expect("it began at nothing")
}

fn say(name: &str, what: &str, rate: f64, goal: f64) {
    let missed = if rate < goal { " MISSED" } else { "" };
    println!("{:>14}  {name} ({what} a second; goal {}{missed})", amount(rate), amount(goal));
}

fn amount(rate: f64) -> String {
    if rate < 1e6 { format!("{rate:.0}/s") } else { format!("{:.2} M/s", rate / 1e6) }
}

/// An event about a push, its data as long as GitHub's and of the same make.
fn push() -> Vec<u8> {
    let api = "https://api.github.com/repos/example/infra";
    let person =
        json!({ "name": "Someone", "email": "someone@example.com", "username": "someone" });
    let account = json!({
        "login": "someone", "id": 583_231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "type": "User",
        "avatar_url": "https://avatars.githubusercontent.com/u/583231?v=4", "site_admin": false,
        "html_url": "https://github.com/someone", "url": "https://api.github.com/users/someone",
        "repos_url": "https://api.github.com/users/someone/repos",
        "events_url": "https://api.github.com/users/someone/events{/privacy}",
    });
    let commit = |number: usize| {
        json!({
            "id": format!("{number:040x}"), "tree_id": format!("{:040x}", number + 1),
            "distinct": true, "message": "Say what changed\n\nand why it did",
            "timestamp": "2026-06-01T12:00:00+02:00",
            "url": format!("https://github.com/example/infra/commit/{number:040x}"),
            "author": person, "committer": person,
            "added": ["src/new.rs"], "removed": [], "modified": ["src/lib.rs", "Cargo.lock"],
        })
    };
    let mut repository = json!({
        "id": 1_296_269, "node_id": "MDEwOlJlcG9zaXRvcnkxMjk2MjY5", "name": "infra",
        "full_name": "example/infra", "private": true, "owner": account, "fork": false,
        "description": null, "language": "Rust", "default_branch": "main", "size": 1080,
        "stargazers_count": 80, "topics": ["automation", "security"], "visibility": "private",
    });
    let urls = [
        "forks",
        "keys",
        "collaborators",
        "teams",
        "hooks",
        "issue_events",
        "events",
        "assignees",
        "branches",
        "tags",
        "git_tags",
        "git_refs",
        "trees",
        "statuses",
        "languages",
        "compare",
        "stargazers",
        "contributors",
        "subscribers",
        "commits",
        "git_commits",
        "comments",
        "merges",
        "contents",
        "archive",
        "downloads",
        "issues",
        "pulls",
        "milestones",
        "notifications",
    ];
    for name in urls {
        repository[format!("{name}_url")] = format!("{api}/{name}{{/of}}").into();
    }
    let data = json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": "1".repeat(40),
        "created": false, "deleted": false, "forced": false, "base_ref": null,
        "compare": "https://github.com/example/infra/compare/000000000000...111111111111",
        "repository": repository, "pusher": { "name": "someone", "email": "someone@example.com" },
        "sender": account, "installation": { "id": 4242 },
        "commits": (0..9).map(commit).collect::<Vec<_>>(), "head_commit": commit(9),
    });
    Event::builder(
        "https://github.com/example/infra".parse().expect("a source"),
        &"github.push".parse().expect("a topic"),
    )
    .json(&data)
    .build()
    .expect("it keeps the rules")
    .to_json()
}
