use serde_json::json;
use wachter_config::{AgentRole, Catalogue, Overlap, Presence, Scope, Trigger};
use wachter_model::ModuleName;

use crate::{labels, load, sources};

const SCANNER: &str = r#"
name: dependency-scanner
role: scanner
module: dependency-scan
scope: fleet
on:
  schedule: { cron: "0 */6 * * *", timezone: Europe/Amsterdam, jitter: 5m, missed: run-once }
  events: [scan.requested, github.push]
  where: "event.data.ref == 'refs/heads/main'"
with: { path: /srv/app }
concurrency: { limit: 2, key: "event.data.repository", overlap: queue }
retry: { attempts: 5, backoff: exponential, initial: 1s, max: 5m }
nodes: "labels.role == 'web'"
window: { allow: "Mon-Fri 22:00-05:00", timezone: Europe/Amsterdam }
"#;

#[test]
fn every_key_is_read() {
    let catalogue = load(&sources(&[("config/agents/dependency-scanner.yaml", SCANNER)]));
    let agent = catalogue.agents().next().unwrap();
    assert_eq!((agent.role, agent.scope), (AgentRole::Scanner, Scope::Fleet));
    assert!(matches!(agent.on.schedule.as_ref().unwrap().trigger(), Trigger::Cron { .. }));
    assert_eq!(agent.on.events.len(), 2);
    assert_eq!(agent.on.condition.as_ref().unwrap().names().collect::<Vec<_>>(), ["event"]);
    assert_eq!(agent.with, json!({ "path": "/srv/app" }));
    assert_eq!((agent.concurrency.limit.get(), agent.concurrency.overlap), (2, Overlap::Queue));
    assert_eq!(agent.retry.attempts(), 5);
    assert!(agent.window.is_some());
}

#[test]
fn what_is_left_out_has_a_default() {
    let files = [
        ("config/agents/a.yaml", "name: a\nmodule: system-monitor\n"),
        ("config/agents/b.yaml", "name: b\nmodule: system-monitor\non: { every: 30s }\n"),
        ("config/agents/c.yaml", "name: c\nmodule: system-monitor\non: { events: [disk.full] }\n"),
    ];
    let catalogue = load(&sources(&files));
    let agents: Vec<_> = catalogue.agents().collect();
    assert_eq!(agents[0].scope, Scope::Node);
    assert!(agents[0].on.schedule.is_none() && agents[0].on.events.is_empty());
    assert_eq!(agents[1].every.as_millis(), 30_000);
    assert_eq!(agents[2].scope, Scope::Fleet, "an event is handled once");
    assert_eq!(agents[0].concurrency.limit.get(), 1);
    // The way in for who knows nothing but names.
    let names: Vec<ModuleName> = vec!["system-monitor".parse().unwrap()];
    assert_eq!(Catalogue::read(files, &names).unwrap().agents().len(), 3);
}

#[test]
fn agents_run_where_they_are_meant_to() {
    let files = [
        ("config/agents/a.yaml", "name: a\nmodule: system-monitor\nnodes: labels.role == 'web'\n"),
        (
            "config/agents/b.yaml",
            "name: b\nmodule: system-monitor\nnodes: node.startsWith('db-')\n",
        ),
        ("config/agents/c.yaml", "name: c\nmodule: system-monitor\n"),
        ("config/hosts/db-1.yaml", "agents: { c: { enabled: false } }\n"),
    ];
    let here = |host: &str, role: &str| {
        let mut sources = sources(&files);
        sources.host = Some(host.parse().unwrap());
        sources.labels = labels(&[("role", role)]);
        let catalogue = load(&sources);
        let agents: Vec<_> = catalogue.agents().map(|agent| agent.name.to_string()).collect();
        let absent: Vec<_> =
            catalogue.absent().map(|(name, why)| (name.to_string(), why)).collect();
        (agents, absent)
    };
    let absent = |name: &str, why| (name.to_owned(), why);
    assert_eq!(
        here("web-1", "web"),
        (vec!["a".to_owned(), "c".to_owned()], vec![absent("b", Presence::Elsewhere)])
    );
    assert_eq!(
        here("db-1", "db"),
        (
            vec!["b".to_owned()],
            vec![absent("a", Presence::Elsewhere), absent("c", Presence::Disabled)]
        )
    );
    // Without a host, all are there to be looked at.
    assert_eq!(load(&sources(&files)).agents().len(), 3);
}

#[test]
fn input_comes_from_module_agent_and_host() {
    let mut sources = sources(&[
        (
            "config/wachter.yaml",
            "modules: { dependency-scan: { with: { path: /, depth: 1, ignore: [a] }, limits: { timeout: 5m } } }",
        ),
        (
            "config/agents/s.yaml",
            "name: s\nmodule: dependency-scan\nwith: { path: /srv, ignore: [b] }\non: { every: 1h }\n",
        ),
        (
            "config/hosts/web-1.yaml",
            "agents: { s: { with: { depth: 3 }, schedule: { every: 2h } } }",
        ),
    ]);
    sources.host = Some("web-1".parse().unwrap());
    let catalogue = load(&sources);
    let agent = catalogue.agents().next().unwrap();
    assert_eq!(agent.with, json!({ "path": "/srv", "depth": 3, "ignore": ["b"] }));
    assert_eq!(agent.limits.timeout.unwrap().as_millis(), 300_000);
    assert_eq!(agent.every.as_millis(), 7_200_000);
}
