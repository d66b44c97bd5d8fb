use wachter_config::{Catalogue, LayerKind, difference};
use wachter_model::{Duration, Level};

use crate::{labels, load, sources};

const FILES: [(&str, &str); 5] = [
    ("config/wachter.yaml", "log: { level: debug, total: 64MiB }\nsync: { interval: 2m }\n"),
    (
        "config/groups/a-web.yaml",
        "when: labels.role == 'web'\nlog: { level: warn }\nsync: { backoff: { max: 1h } }\n",
    ),
    ("config/groups/office.yaml", "log: { level: trace }\n"),
    ("config/hosts/web-1.yaml", "sync: { interval: 5s }\n"),
    ("config/hosts/web-2.yaml", "sync: { interval: 9s }\n"),
];

const LOCAL: &str = "version: 1
node: web-1
settings:
  log: { format: json }
  api: { roles: { viewers: { groups: [staff] } } }
";

#[test]
fn later_layers_win_key_by_key() {
    let mut sources = sources(&FILES);
    sources.host = Some("web-1".parse().unwrap());
    sources.labels = labels(&[("role", "web")]);
    let level = |catalogue: &Catalogue| catalogue.settings().log.level;
    let catalogue = load(&sources);
    assert_eq!(level(&catalogue), Level::Warn, "the group over all nodes'");
    assert_eq!(catalogue.settings().sync.interval, Duration::from_secs(5), "the host over both");
    assert_eq!(catalogue.settings().sync.backoff.max, Duration::from_secs(3_600));
    assert_eq!(catalogue.settings().sync.backoff.initial, Duration::from_secs(5), "the default");
    sources.local = Some(("/etc/wachter/node.yaml", LOCAL));
    sources.environment = vec![
        ("WACHTER_LOG_LEVEL", "error"),
        ("WACHTER_JOURNAL_RETENTION_AGE", "7d"),
        ("WACHTER_LOG_MAX_SIZE", "1MiB"),
        ("WACHTER_DATA", "/srv/wachter"),
        ("PATH", "/bin"),
    ];
    let catalogue = load(&sources);
    assert_eq!(level(&catalogue), Level::Error);
    assert_eq!(catalogue.settings().journal.retention.age, Duration::from_secs(7 * 86_400));
    assert_eq!(catalogue.settings().api.roles.viewers.groups.len(), 1);
    sources.flags = vec![("log.level", "critical")];
    let catalogue = load(&sources);
    assert_eq!(level(&catalogue), Level::Critical);
    // What is not for this host is passed over.
    sources.labels = labels(&[("group", "office")]);
    sources.host = Some("other".parse().unwrap());
    sources.environment.clear();
    sources.flags.clear();
    let catalogue = load(&sources);
    assert_eq!(level(&catalogue), Level::Trace);
    assert_eq!(catalogue.settings().sync.interval, Duration::from_secs(120));
}

#[test]
fn every_value_knows_where_it_was_set() {
    let mut sources = sources(&FILES);
    sources.host = Some("web-1".parse().unwrap());
    sources.labels = labels(&[("role", "web")]);
    sources.flags = vec![("log.level", "critical")];
    sources.local = Some(("/etc/wachter/node.yaml", LOCAL));
    let catalogue = load(&sources);
    let origins = catalogue.origins("log.level");
    let seen: Vec<_> = origins
        .iter()
        .map(|origin| (origin.layer.to_string(), origin.path.as_str(), origin.line))
        .collect();
    assert_eq!(
        seen,
        [
            ("defaults".to_owned(), "defaults", 13),
            ("repository".to_owned(), "config/wachter.yaml", 1),
            ("group a-web".to_owned(), "config/groups/a-web.yaml", 2),
            ("flags".to_owned(), "--set log.level=critical", 0),
        ]
    );
    assert_eq!(catalogue.origins("log.format").last().unwrap().layer, LayerKind::Local);
    assert_eq!(catalogue.origins("log.format").last().unwrap().line, 4);
    assert_eq!(catalogue.origins("log.none"), []);
    let values = catalogue.values();
    assert!(values.len() > 30);
    for value in &values {
        assert!(!value.origins.is_empty(), "{value:?}");
    }
}

#[test]
fn json_and_yaml_come_to_the_same() {
    let yaml = sources(&[
        ("config/wachter.yaml", "log: { level: debug }\nscheduler: { concurrency: 3 }\n"),
        ("config/agents/a.yaml", "name: a\nmodule: system-monitor\non: { every: 1m }\n"),
    ]);
    let json = sources(&[
        ("config/wachter.json", r#"{"scheduler": {"concurrency": 3}, "log": {"level": "debug"}}"#),
        (
            "config/agents/a.json",
            r#"{"on": {"schedule": {"every": "60s"}}, "name": "a", "module": "system-monitor"}"#,
        ),
    ]);
    let (yaml, json) = (load(&yaml), load(&json));
    assert_eq!(yaml.settings(), json.settings());
    assert_eq!(yaml.agents().collect::<Vec<_>>(), json.agents().collect::<Vec<_>>());
    assert!(difference(&yaml, &yaml).is_empty());
}

#[test]
fn a_difference_names_every_value() {
    let before = load(&sources(&[
        ("config/wachter.yaml", "log: { level: debug }"),
        ("config/agents/a.yaml", "name: a\nmodule: system-monitor\non: { every: 1m }\n"),
        ("config/agents/b.yaml", "name: b\nmodule: system-monitor\n"),
    ]));
    let after = load(&sources(&[
        ("config/wachter.yaml", "# nothing\n"),
        (
            "config/agents/a.yaml",
            "name: a\nmodule: system-monitor\non: { every: 2m }\nrole: scanner\n",
        ),
    ]));
    let shown: Vec<_> = difference(&before, &after)
        .into_iter()
        .map(|change| {
            let text = |value: Option<serde_json::Value>| {
                value.map_or_else(|| "-".to_owned(), |value| value.to_string())
            };
            format!("{}: {} -> {}", change.path, text(change.before), text(change.after))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "agent.a.on.every: \"1m\" -> \"2m\"",
            "agent.a.role: - -> \"scanner\"",
            "agent.b.module: \"system-monitor\" -> -",
            "agent.b.name: \"b\" -> -",
            "log.level: \"debug\" -> \"info\"",
        ]
    );
    assert_ne!(before, after);
}

#[test]
fn files_of_others_are_passed_over() {
    let catalogue = load(&sources(&[
        ("config/agents/README.md", "# Agents"),
        ("config/policies/a.yaml", "policies: []"),
        ("modules/a/module.yaml", "::"),
        ("README.md", "::"),
    ]));
    assert_eq!(catalogue.agents().len(), 0);
    assert!(catalogue.warnings().0.is_empty());
}
