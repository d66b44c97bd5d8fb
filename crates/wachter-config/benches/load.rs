//! What it costs to read the configuration of a fleet: 200 agents, 100 hosts, 10 groups.
//! `cargo bench -p wachter-config`.
#![allow(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use wachter_config::{Catalogue, Module, Sources, difference};
use wachter_protocol::Manifest;

const MANIFEST: &str = "name: dependency-scan
version: 1.0.0
runtime: { kind: process, entrypoint: main }
input: { $ref: input.schema.json }
emits: [vulnerability.dependency]
";

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": { "path": { "type": "string", "pattern": "^/" }, "depth": { "type": "integer" } },
  "required": ["path"], "additionalProperties": false
}"#;

fn main() {
    for agents in [200, 500] {
        let files = files(agents);
        let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
        let module = Module {
            manifest: Some(Manifest::read(MANIFEST).expect("is a manifest")),
            input_schema: Some(SCHEMA.to_owned()),
        };
        let sources = Sources {
            files: files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect(),
            host: Some("host-7".parse().expect("is a name")),
            labels: [("role".to_owned(), "role-3".to_owned())].into(),
            modules: [("dependency-scan".parse().expect("is a name"), module)].into(),
            ..Sources::default()
        };
        let load = || Catalogue::load(&sources).expect("is right");
        let catalogue = load();
        println!("{agents} agents, {} files, {bytes} bytes", sources.files.len());
        println!("{:>12?}  load for one host", median(|| drop(black_box(load()))));
        println!(
            "{:>12?}  difference of two",
            median(|| {
                black_box(difference(&catalogue, &catalogue));
            })
        );
        println!(
            "{:>12?}  all values with origins",
            median(|| {
                black_box(catalogue.values());
            })
        );
    }
}

fn files(agents: usize) -> Vec<(String, String)> {
    let mut files = vec![("config/wachter.yaml".to_owned(), "log: { level: debug }\n".to_owned())];
    files.extend((0..10).map(|number| {
        let text =
            format!("when: labels.role == 'role-{number}'\nsync: {{ interval: {number}1s }}\n");
        (format!("config/groups/group-{number}.yaml"), text)
    }));
    files.extend((0..100).map(|number| {
        let text = format!(
            "log: {{ level: info }}\nagents:\n  agent-{number}: {{ with: {{ depth: {number} }} }}\n"
        );
        (format!("config/hosts/host-{number}.yaml"), text)
    }));
    files.extend((0..agents).map(|number| {
        let text = format!(
            "name: agent-{number}
role: scanner
module: dependency-scan
on:
  schedule: {{ cron: \"{} */6 * * *\", timezone: Europe/Amsterdam, jitter: 5m }}
  events: [scan.requested, github.push]
  where: \"event.data.ref == 'refs/heads/main' && event.data.repository.name == 'app-{number}'\"
with: {{ path: /srv/app-{number} }}
concurrency: {{ limit: 2, key: event.data.repository, overlap: queue }}
retry: {{ attempts: 5, backoff: exponential, initial: 1s, max: 5m }}
nodes: \"labels.role == 'role-{}'\"
window: {{ allow: \"Mon-Fri 22:00-05:00\", timezone: Europe/Amsterdam }}
",
            number % 60,
            number % 10
        );
        (format!("config/agents/agent-{number}.yaml"), text)
    }));
    files
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut rounds: Vec<_> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
