use std::collections::BTreeMap;
use std::fmt::Write as _;

use wachter_config::{Catalogue, Sources};

use crate::sources;

/// What is said of the files, warnings included.
fn told(sources: &Sources<'_>) -> String {
    match Catalogue::load(sources) {
        Ok(catalogue) => format!("taken\n{}", catalogue.warnings()),
        Err(problems) => format!("refused\n{problems}"),
    }
}

#[test]
fn settings() {
    let mut all = String::new();
    for (path, text) in [
        ("config/wachter.yaml", "log:\n  levle: debug\nsnyc: {}\n"),
        (
            "config/wachter.yaml",
            "log: { level: verbose, format: xml, max_size: 10MB }\nsync: { interval: 30 }\n",
        ),
        ("config/wachter.yaml", "log: debug\nscheduler: [1]\nhealth: { dead_letters: -1 }\n"),
        ("config/wachter.yaml", "- a\n- b\n"),
        ("config/wachter.yaml", "log: { level: debug\n"),
        ("config/wachter.yaml", "log: { level: debug }\nlog: { level: info }\n"),
        (
            "config/wachter.yaml",
            "api: {}\n!!binary YXBp: { roles: { admins: { users: [eve] } } }\n",
        ),
        ("config/wachter.yaml", "scheduler: { concurrency: 0 }\n"),
        ("config/wachter.yaml", "grants: { a: {} }\nroots: {}\nlog: { levl: info }\n"),
        ("config/wachter.yaml", "api:\n  roles:\n    admins: { users: [eve] }\n"),
        (
            "config/wachter.yaml",
            "agents: { montor: { enabled: false } }\nmodules: { system-monitr: {} }\n",
        ),
        (
            "config/wachter.yaml",
            "modules: { dependency-scan: { limits: { timeout: 1h, memory: 1MiB } } }\n",
        ),
        (
            "config/wachter.yaml",
            "agents: { monitor: { schedule: { every: 5m, cron: '0 * * * *' }, enable: true } }\n",
        ),
        ("config/groups/web.yaml", "when: labels.role = 'web'\n"),
        ("config/groups/web.yaml", "when: lables.role == 'web'\n"),
        ("config/hosts/WEB.yaml", "log: { level: debug }\n"),
        ("config/host/web.yaml", "log: { level: debug }\n"),
        ("config/wachter.json", "{\"log\": {\"level\": \"debug\",}, \"x\": 1}"),
    ] {
        let agent = ("config/agents/monitor.yaml", "name: monitor\nmodule: system-monitor\n");
        let told = told(&sources(&[(path, text), agent]));
        writeln!(all, "{text}---\n{told}\n").unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn agents() {
    let mut all = String::new();
    for text in [
        "name: a\n",
        "module: system-monitor\n",
        "name: b\nmodule: system-monitr\n",
        "name: A\nmodule: 7\nrole: scaner\nscop: node\n",
        "name: a\nmodule: system-monitor\non: { evry: 1s }\n",
        "name: a\nmodule: system-monitor\non: { every: 1ms }\n",
        "name: a\nmodule: system-monitor\non: { every: 1s, schedule: { every: 1s } }\n",
        "name: a\nmodule: system-monitor\non: { schedule: { cron: '61 * * * *' } }\n",
        "name: a\nmodule: system-monitor\non: { schedule: { cron: '0 * * * *', timezone: Europe/Amsterdm } }\n",
        "name: a\nmodule: system-monitor\non: { events: [Disk.full] }\n",
        "name: a\nmodule: system-monitor\non:\n  events:\n    - disk.ful\n",
        "name: a\nmodule: system-monitor\non: { where: event.type == 'x' }\n",
        "name: a\nmodule: system-monitor\non:\n  events: [disk.full]\n  where: \"event.tpye == 'x'\"\n",
        "name: a\nmodule: system-monitor\non:\n  events: [disk.full]\n  where: |\n    event.type == 'x'\n    && evnt.data.a\n",
        "name: a\nmodule: system-monitor\nconcurrency: { limit: 0, key: event.data. , overlap: wait }\nretry: { attempts: 0 }\n",
        "name: a\nmodule: system-monitor\nnodes: labels.role\nwindow: { allow: 'Mo 10-12' }\n",
        "name: a\nmodule: dependency-scan\nwith: { pth: /srv, depth: 11, ignore: [1] }\n",
        "name: a\nmodule: dependency-scan\n",
        "name: a\nmodule: dependency-scan\nwith: { path: srv }\n",
        "",
        "a: *b\n",
    ] {
        let told = told(&sources(&[("config/agents/a.yaml", text)]));
        writeln!(all, "{text}---\n{told}\n").unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn overrides() {
    let mut all = String::new();
    for (environment, flags) in [
        (vec![("WACHTER_LOG_LEVLE", "debug")], vec![]),
        (vec![("WACHTER_LOG_LEVEL", "verbose")], vec![]),
        (vec![("WACHTER_SYNC_BACKOFF_MAX", "soon")], vec![]),
        (vec![], vec![("log.levl", "debug"), ("logg.level", "debug")]),
        (vec![], vec![("sync.interval", "10")]),
        (vec![], vec![("log", "debug"), ("", "x")]),
    ] {
        let mut sources = sources(&[]);
        sources.environment = environment;
        sources.flags = flags;
        writeln!(all, "{:?} {:?}\n{}\n", sources.environment, sources.flags, told(&sources))
            .unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn all_files_are_told_at_once() {
    let told = told(&sources(&[
        ("config/wachter.yaml", "log: { level: verbose }"),
        ("config/wachter.json", "{}"),
        ("config/hosts/other.yaml", "sync: { intervl: 1m }"),
        ("config/agents/a.yaml", "name: a"),
        ("config/agents/b.yaml", "name: b\nmodule: none\nnodes: 'true &&'"),
    ]));
    insta::assert_snapshot!(told);
}

#[test]
fn more_than_is_granted_is_a_warning() {
    let mut sources = sources(&[(
        "config/agents/a.yaml",
        "name: a\nmodule: dependency-scan\nwith: { path: /srv }\n",
    )]);
    sources.grants = Some(BTreeMap::new());
    insta::assert_snapshot!(told(&sources));
}
