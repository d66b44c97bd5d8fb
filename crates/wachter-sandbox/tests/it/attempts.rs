//! Every single attempt to get out, with its expected outcome under each profile.
//!
//! `attempts.txt` is the whole list: an attempt that is not in it fails the test, and so does one
//! that works where the list says `denied`. A line with `worked` in the column of a profile has its
//! reason beside it and may only go away. The column `control` is the same attempt without a jail,
//! by the same user: a `denied` there means that this host or its rights stop it anyway, so that the
//! row proves nothing here.
//!
//! The profile `delegated` needs a cgroup of version 2 that an ordinary user was given. It differs
//! from `unprivileged` in limits only, and not in anything that is attempted here.

use std::collections::BTreeMap;

use serde_json::Value;
use wachter_protocol::Profile;
use wachter_sandbox::{Launcher, Verdict};

use crate::bench::{Bench, profiles};
use crate::stage::{Stage, is_root};

const TABLE: &str = include_str!("attempts.txt");

/// Name, then what is expected of `control` and of the three profiles.
fn table() -> BTreeMap<&'static str, [&'static str; 4]> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_ascii_whitespace();
            let mut next = || words.next().unwrap_or_else(|| panic!("{line}"));
            (next(), [next(), next(), next(), next()])
        })
        .collect()
}

fn column(profile: Profile) -> usize {
    match profile {
        Profile::Root => 1,
        Profile::Delegated | Profile::Unprivileged => 2,
        Profile::NoNamespaces => 3,
    }
}

/// Compares all outcomes with one column of the table, but for `exceptions`.
fn check(output: &Value, column: usize, exceptions: &[(&str, &str)], what: &str) {
    let attempts = output["attempts"].as_object().unwrap_or_else(|| panic!("{what}: {output}"));
    let table = table();
    let mut wrong = Vec::new();
    for (name, made) in attempts {
        let found = made["outcome"].as_str().unwrap();
        let exception =
            exceptions.iter().find(|(exception, _)| exception == name).map(|(_, outcome)| *outcome);
        let expected = exception.or_else(|| table.get(name.as_str()).map(|row| row[column]));
        // Only root can make a program that belongs to root.
        let absent = found == "absent" && name == "set-user-id-program" && !is_root();
        if expected != Some(found) && !absent {
            wrong.push(format!("{name}: {found}, expected {expected:?} ({})", made["detail"]));
        }
    }
    for name in table.keys().filter(|name| !attempts.contains_key(**name)) {
        wrong.push(format!("{name}: was not attempted"));
    }
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

async fn attempt(stage: &Stage, profile: Profile, permissions: &str) -> Value {
    let program = std::fs::read(wachter_testkit::executable("wachter-attempts")).unwrap();
    let bench = Bench::with(&format!("permissions: {permissions}"), "attempts", &program);
    let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
    let mut order = bench.order();
    order.request.input = stage.input(crate::processes::launcher());
    let (report, log) = crate::bench::carry_out_with(&launcher, order).await;
    assert_eq!(report.verdict, Verdict::Succeeded, "{profile} {permissions}: {log:?}");
    report.result.unwrap().output
}

/// What a module sees of itself must be the same whatever it was granted.
fn check_self(output: &Value, profile: Profile) {
    let found = &output["self"];
    assert_eq!(found["no_new_privileges"], 1, "{profile}: {found}");
    assert_ne!(found["uid"], 0, "{profile}: {found}");
    let mut variables = vec!["HOME", "LANG", "PATH", "TMPDIR", "WACHTER_MODULE"];
    if found["variables"].to_string().contains("http_proxy") {
        variables = vec![
            "ALL_PROXY",
            "HOME",
            "HTTPS_PROXY",
            "LANG",
            "PATH",
            "TMPDIR",
            "WACHTER_MODULE",
            "http_proxy",
            "https_proxy",
        ];
    }
    assert_eq!(found["variables"], serde_json::json!(variables), "{profile}");
    if profile != Profile::NoNamespaces {
        assert_eq!(found["capabilities"], "0000000000000000", "{profile}: {found}");
        assert_eq!(found["pid"], 2, "{profile}: {found}");
        assert_eq!(found["umask"], "0022", "{profile}: {found}");
    }
    if profile == Profile::Root {
        assert_eq!(found["bounding"], "0000000000000000", "{profile}: {found}");
    }
}

#[tokio::test]
async fn without_a_jail() {
    let mut stage = Stage::new();
    // To root's programs an ordinary user may do less than to those of its own, which this test is.
    let own = [
        "descriptors-of-parent",
        "environment-of-launcher",
        "environment-of-parent",
        "open-memory-of-parent",
        "signal-launcher",
        "signal-parent",
    ];
    let exceptions: Vec<_> =
        own.into_iter().filter(|_| !is_root()).map(|name| (name, "worked")).collect();
    check(&stage.unconfined(), 0, &exceptions, "control");
    assert!(stage.victim_lives());
}

#[tokio::test]
async fn with_no_grant() {
    for profile in profiles() {
        let mut stage = Stage::new();
        let output = attempt(&stage, profile, "{}").await;
        check(&output, column(profile), &[], &format!("{profile}"));
        check_self(&output, profile);
        assert!(stage.victim_lives());
    }
}

#[tokio::test]
async fn with_host_views_and_groups() {
    for profile in profiles() {
        let stage = Stage::new();
        let groups = if is_root() { ", groups: [adm, daemon]" } else { "" };
        let permissions =
            format!("{{ host: [cpu, memory, processes, mounts, network, sensors]{groups} }}");
        let output = attempt(&stage, profile, &permissions).await;
        check(&output, column(profile), &[], &format!("{profile} with views and groups"));
        check_self(&output, profile);
    }
}

#[tokio::test]
async fn with_etc_to_read() {
    for profile in profiles() {
        let stage = Stage::new();
        // Without namespaces what can never be granted cannot be covered, and is refused instead.
        let permissions = match profile {
            Profile::NoNamespaces => "{ filesystem: { read: [/etc/hostname] } }",
            _ => "{ filesystem: { read: [/etc] } }",
        };
        let output = attempt(&stage, profile, permissions).await;
        check(
            &output,
            column(profile),
            &[("read-host-name", "worked")],
            &format!("{profile} with /etc"),
        );
    }
}

#[tokio::test]
async fn with_a_folder_to_write_and_a_program() {
    for profile in profiles() {
        let stage = Stage::new();
        let (granted, programs) = (stage.path("granted"), stage.path("programs"));
        let permissions = format!(
            "{{ filesystem: {{ read: [{0}], write: [{1}] }}, exec: [{0}] }}",
            programs.display(),
            granted.display()
        );
        let output = attempt(&stage, profile, &permissions).await;
        // Without a mount of its own, a loader maps what lies in a folder that may be written.
        let loaded = if profile == Profile::NoNamespaces { "worked" } else { "denied" };
        let exceptions = [("execute-from-granted-folder-by-loader", loaded)];
        check(&output, column(profile), &exceptions, &format!("{profile} with a folder"));
        // The link itself lies in the folder, so the grant was in force.
        assert!(granted.join("link").is_symlink(), "{profile}");
    }
}

#[tokio::test]
async fn with_the_network() {
    for profile in profiles().into_iter().filter(|profile| *profile != Profile::NoNamespaces) {
        let stage = Stage::new();
        let output = attempt(&stage, profile, "{ network: ['example.com:443'] }").await;
        // A socket can be made, and reaches the broker alone.
        check(
            &output,
            column(profile),
            &[("internet-socket-6", "worked")],
            &format!("{profile} with the network"),
        );
        check_self(&output, profile);
    }
}

#[tokio::test]
async fn with_everyone_killed() {
    for profile in profiles() {
        let mut stage = Stage::new();
        let program = std::fs::read(wachter_testkit::executable("wachter-attempts")).unwrap();
        let bench = Bench::with("", "attempts", &program);
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let mut order = bench.order();
        order.request.input = serde_json::json!({ "mode": "kill-everyone" });
        let (report, _) = crate::bench::carry_out_with(&launcher, order).await;
        // It may have reached itself; nobody else noticed.
        assert!(!matches!(report.verdict, Verdict::NotBegun { .. }), "{profile}: {report:?}");
        assert!(stage.victim_lives(), "{profile}");
        let (report, _) = crate::bench::carry_out_with(&launcher, bench.order()).await;
        assert!(!matches!(report.verdict, Verdict::NotBegun { .. }), "{profile}: {report:?}");
    }
}
