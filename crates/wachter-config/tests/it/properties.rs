use proptest::prelude::*;
use wachter_config::{Catalogue, Sources};

use crate::sources;

/// Settings that a layer may say, one line each: a path and two values.
const SETTINGS: [(&str, [&str; 2]); 6] = [
    ("log.level", ["debug", "warn"]),
    ("log.format", ["json", "logfmt"]),
    ("sync.interval", ["1m", "2m"]),
    ("sync.backoff.max", ["1h", "2h"]),
    ("journal.dedup", ["{ ids: 5, age: 1d }", "{ ids: 7 }"]),
    ("agents", ["{ a: { with: { x: 1 } } }", "{ a: { with: { y: [2] } } }"]),
];

/// A layer as a document: some of the settings.
fn layer() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let some = prop::sample::subsequence(&SETTINGS[..], 0..=SETTINGS.len());
    (some, any::<u8>()).prop_map(|(some, bits)| {
        let pick = |(index, (path, values)): (usize, (&'static str, [&'static str; 2]))| {
            (path, values[usize::from(bits >> index & 1)])
        };
        some.into_iter().enumerate().map(pick).collect()
    })
}

fn text(settings: &[(&str, &str)]) -> String {
    let mut sections: std::collections::BTreeMap<&str, Vec<String>> = Default::default();
    for (path, value) in settings {
        let (section, rest) = path.split_once('.').unwrap_or((path, ""));
        let entry = match rest.split_once('.') {
            _ if rest.is_empty() => {
                value.trim_matches(['{', '}', ' ']).to_owned()
                    + if value.contains("} }") { " } }" } else { "" }
            }
            Some((key, below)) => format!("{key}: {{ {below}: {value} }}"),
            None => format!("{rest}: {value}"),
        };
        sections.entry(section).or_default().push(entry);
    }
    sections
        .iter()
        .map(|(section, entries)| format!("{section}: {{ {} }}\n", entries.join(", ")))
        .collect()
}

const AGENT: (&str, &str) = ("config/agents/a.yaml", "name: a\nmodule: system-monitor\n");

proptest! {
    #[test]
    fn the_last_layer_that_says_a_value_sets_it(
        repository in layer(), group in layer(), host in layer(), flags in layer(),
    ) {
        let (of_all, of_group, of_host) = (text(&repository), text(&group), text(&host));
        let mut sources = sources(&[
            ("config/wachter.yaml", &of_all),
            ("config/groups/g.yaml", &of_group),
            ("config/hosts/h.yaml", &of_host),
            AGENT,
        ]);
        sources.labels = crate::labels(&[("group", "g")]);
        sources.host = Some("h".parse().unwrap());
        sources.flags = flags.clone();
        let catalogue = Catalogue::load(&sources).unwrap_or_else(|p| panic!("{p}\n{of_all}\n{of_group}\n{of_host}"));
        let settings = serde_json::to_value(catalogue.settings()).unwrap();
        for path in ["log.level", "log.format", "sync.interval", "sync.backoff.max"] {
            let said = [&repository, &group, &host, &flags].into_iter().rev().find_map(|layer| {
                layer.iter().find(|(known, _)| *known == path).map(|(_, value)| *value)
            });
            let found = settings.pointer(&format!("/{}", path.replace('.', "/"))).unwrap();
            let default = catalogue.origins(path)[0].path == "defaults";
            prop_assert!(default);
            if let Some(said) = said {
                prop_assert_eq!(found, said, "{}", path);
            }
        }
        // Maps join: what one layer says of an agent stays under what another says.
        let all = [&repository, &group, &host, &flags];
        let said = |part: &str| all.iter().any(|layer| layer.iter().any(|(_, value)| value.contains(part)));
        let with = &catalogue.agents().next().unwrap().with;
        prop_assert_eq!(said("x: 1"), with.get("x").is_some());
        prop_assert_eq!(said("y: [2]"), with.get("y").is_some());
    }

    #[test]
    fn an_unknown_key_is_always_named(
        depth in 0..3_usize,
        key in "[a-z]{1,12}".prop_filter("not a key", |key| !KEYS.contains(&key.as_str())),
    ) {
        let text = match depth {
            0 => format!("{key}: 1\n"),
            1 => format!("log: {{ level: debug, {key}: {{ a: 1 }} }}\n"),
            _ => format!("sync:\n  backoff:\n    {key}: 1\n"),
        };
        let problems = Catalogue::load(&sources(&[("config/wachter.yaml", &text)])).unwrap_err();
        let named = format!("`{key}`");
        prop_assert_eq!(problems.0.len(), 1, "{}", problems);
        prop_assert!(problems.0[0].message.contains(&named), "{}", problems);
        prop_assert!(problems.0[0].line > 0 && problems.0[0].column > 0);
    }

    #[test]
    fn any_text_is_read_or_refused(path in 0..5_usize, text in ".{0,200}") {
        attempt(path, &text);
    }

    #[test]
    fn any_document_is_read_or_refused(path in 0..5_usize, text in document()) {
        attempt(path, &text);
    }

    #[test]
    fn any_override_is_read_or_refused(name in "(WACHTER_)?[A-Z_]{0,20}", path in "[a-z.]{0,20}", value: String) {
        let mut sources: Sources<'_> = sources(&[]);
        sources.environment = vec![(&name, &value), ("WACHTER_LOG_LEVEL", &value)];
        sources.flags = vec![(&path, &value), ("sync", &value)];
        let _ = Catalogue::load(&sources);
    }
}

const PATHS: [&str; 5] = [
    "config/wachter.yaml",
    "config/groups/g.yaml",
    "config/hosts/h.json",
    "config/agents/a.yaml",
    "config/other.yaml",
];

const KEYS: &[&str] = &[
    "sync",
    "log",
    "journal",
    "scheduler",
    "agents",
    "modules",
    "api",
    "health",
    "level",
    "format",
    "total",
    "initial",
    "max",
    "confinement",
    "data",
    "egress",
    "grants",
    "labels",
    "node",
    "repository",
    "roots",
];

/// Documents made of keys that mean something, and values that may or may not.
fn document() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        &[
            "name",
            "module",
            "on",
            "with",
            "where",
            "events",
            "schedule",
            "every",
            "cron",
            "log",
            "level",
            "agents",
            "a",
            "modules",
            "system-monitor",
            "limits",
            "when",
            "nodes",
            "concurrency",
            "key",
            "api",
            "roles",
            "x",
            "window",
            "allow",
            "retry",
            "settings",
        ][..],
    );
    let value = prop::sample::select(
        &[
            "a",
            "1",
            "-1",
            "0.5",
            "null",
            "true",
            "30s",
            "5MiB",
            "system-monitor",
            "\"event.type == 'x'\"",
            "labels.role == 'web'",
            "[]",
            "[a, 1]",
            "0 * * * *",
            "\"\"",
            "'é'",
            "disk.full",
            "{}",
        ][..],
    );
    let leaf = (key.clone(), value).prop_map(|(key, value)| format!("{key}: {value}"));
    leaf.prop_recursive(4, 24, 5, move |inner| {
        (key.clone(), prop::collection::vec(inner, 1..5))
            .prop_map(|(key, entries)| format!("{key}: {{ {} }}", entries.join(", ")))
    })
    .prop_map(|entry| entry.replace(", ", ",\n  "))
}

fn attempt(path: usize, text: &str) {
    let mut sources = sources(&[(PATHS[path], text)]);
    sources.host = Some("h".parse().unwrap());
    sources.local = Some(("node.yaml", text));
    if let Err(problems) = Catalogue::load(&sources) {
        assert!(!problems.0.is_empty());
        for problem in problems.0 {
            assert!(!problem.message.is_empty() && !problem.path.is_empty());
        }
    }
}
