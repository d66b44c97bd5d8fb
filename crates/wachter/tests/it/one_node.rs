//! One node a data folder: what other commands do beside it, and what it takes from the local file.

use std::fs;

use serde_json::{Value, json};
use wachter_file::FileLock;

use crate::site::{Said, Site};

impl Said {
    fn fails(&self, code: i32, words: &str) {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, code, "{said}");
        assert!(said.contains(words), "no `{words}` in: {said}");
    }
}

impl Site {
    /// Changes the local file of the node.
    fn change_local_file(&self, from: &str, to: &str) {
        let path = self.path("node.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in: {text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }
}

#[test]
fn what_would_change_the_state_says_which_process_has_it() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("release 1 is in force");
    let process = format!("(process {})", node.child.id());
    site.wachter(&["run"]).fails(1, &process);
    // What changes what is in force is done by the node itself, and by the command without one.
    assert_eq!(site.json(&["pin", "1", "--for", "1h"])["in_force"], 1);
    drop(node);
    assert_eq!(site.json(&["status"])["pin"]["sequence"], 1);
    site.ok(&["unpin"]);
}

#[test]
fn sync_waits_for_the_node_and_says_what_came_of_it() {
    let mut site = Site::new();
    let mut node = site.start();
    node.hear("release 1 is in force");
    assert!(site.ok(&["sync"]).contains("release 1 stays in force"));
    site.release();
    let said = site.json(&["sync"]);
    assert_eq!((&said["in_force"], &said["accepted"]["sequence"]), (&json!(2), &json!(2)));
    assert_eq!(site.json(&["status"])["deployed"]["release"]["sequence"], 2);
    site.stop_server();
    site.wachter(&["sync"]).fails(1, "could not be reached");
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    site.wachter(&["sync"]).fails(1, "could not be reached");
}

#[test]
fn another_command_at_work_is_not_disturbed() {
    let site = Site::new();
    site.ok(&["sync"]);
    let held = FileLock::take(&site.path("data/lock"), "apply").unwrap();
    site.wachter(&["sync"]).fails(1, "`wachter apply` is at work on the same data");
    assert_eq!(site.json(&["status"])["running"], false);
    // A node that starts waits: whoever asks a machine that boots is not to keep its node away.
    let mut node = site.start();
    node.hear("waiting for `wachter apply` (process ");
    assert_eq!(site.json(&["status"])["running"], false);
    drop(held);
    node.hear("release 1 is in force");
    assert_eq!(site.json(&["status"])["running"], true);
}

#[test]
fn the_local_file_counts_at_once_and_what_does_not_is_named() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("release 1 is in force");
    let status = || site.json(&["status"])["status"].clone();
    let needs_restart = |keys: &str| {
        let warnings = status()["warnings"].to_string();
        if keys.is_empty() {
            !warnings.contains("restart the node")
        } else {
            warnings.contains(&format!("restart the node for {keys}\""))
        }
    };
    assert!(needs_restart(""), "{}", status());
    site.change_local_file("version: 1\n", "version: 1\nlabels: { role: web }\n");
    node.signal("-HUP");
    site.ok(&["sync"]);
    assert!(needs_restart(""), "{}", status());
    // What is said of settings counts as well, of the journal's too.
    let before = fs::read_to_string(site.path("node.yaml")).unwrap();
    let settings = "\nsettings: { journal: { max_event: 16KiB } }\n";
    fs::write(site.path("node.yaml"), format!("{}{settings}", before.trim_end())).unwrap();
    let reloaded = site.json(&["config", "reload"]);
    assert_eq!(reloaded["needs_restart"], serde_json::json!([]), "{reloaded}");
    node.hear("the journal goes by other settings");
    let large = format!("\"{}\"", "x".repeat(20_000));
    site.wachter(&["send", "demo.large", &large]).fails(2, "16384 are allowed");
    assert!(needs_restart(""), "{}", status());
    fs::write(site.path("node.yaml"), before).unwrap();
    site.ok(&["config", "reload"]);
    node.hear("the journal goes by other settings");
    site.ok(&["send", "demo.large", &large]);
    // `--data` or its variable says where the data are, so that key changes nothing here.
    site.change_local_file("version: 1\n", "version: 1\ndata: /nowhere\n");
    site.ok(&["sync"]);
    assert!(needs_restart(""), "{}", status());
    let text = fs::read_to_string(site.path("node.yaml")).unwrap();
    let old = text.lines().find_map(|line| line.trim().strip_prefix("profile: "));
    let new = if old == Some("no-namespaces") { "unprivileged" } else { "no-namespaces" };
    match old {
        Some(old) => site.change_local_file(&format!("profile: {old}"), &format!("profile: {new}")),
        None => {
            site.change_local_file("confinement:\n", &format!("confinement:\n  profile: {new}\n"));
        }
    }
    site.ok(&["sync"]);
    assert!(needs_restart("confinement.profile"), "{}", status());
    node.hear("restart needed for: confinement.profile");
    site.change_local_file("version: 1\n", "version: 1\nnode: renamed\n");
    site.ok(&["sync"]);
    assert!(needs_restart("confinement.profile, node"), "{}", status());
    // What is wrong is all of it left aside.
    let right = fs::read_to_string(site.path("node.yaml")).unwrap();
    site.change_local_file("node: renamed", "node: again\nnonsense: 1");
    node.signal("-HUP");
    node.hear("unknown key `nonsense`");
    site.wachter(&["sync"]).fails(3, "unknown key `nonsense`");
    fs::write(site.path("node.yaml"), right).unwrap();
    site.ok(&["sync"]);
    assert!(needs_restart("confinement.profile, node"), "{}", status());
}

#[test]
fn a_node_follows_its_rings() {
    let site = Site::new();
    let trust = fs::read_to_string(site.path("infra/trust/trust.yaml")).unwrap();
    let old = trust.lines().find(|line| line.trim().starts_with("rings:")).unwrap();
    let trust = trust.replace(old, "  rings: [stable, canary]").replace("serial: 1", "serial: 2");
    site.write("trust/trust.yaml", &trust);
    site.ok(&["trust", "sign"]);
    site.release();
    site.change_local_file("repository:\n", "repository:\n  rings: [stable]\n");
    site.ok(&["sync"]);
    site.ok(&["release", "--yes", "--ring", "canary", "--push", "origin"]);
    // Not for this node: nothing to look at, and no failure.
    let said = site.json(&["sync"]);
    assert_eq!((&said["accepted"], &said["refused"]), (&Value::Null, &json!([])));
    assert_eq!(said["in_force"], 2);
    site.wachter(&["verify", "3"])
        .fails(3, "is for ring `canary`, which this node does not follow");
    // The next one for all is taken, though another stands between.
    site.release();
    assert_eq!(site.json(&["sync"])["in_force"], 4);
    site.ok(&["release", "--yes", "--ring", "canary", "--push", "origin"]);
    site.change_local_file("rings: [stable]", "rings: [stable, canary]");
    assert_eq!(site.json(&["sync"])["in_force"], 5);
    for (rings, words) in [("[]", "names no ring"), ("[No Ring]", "`repository.rings`")] {
        site.change_local_file("rings: [stable, canary]", &format!("rings: {rings}"));
        site.wachter(&["sync"]).fails(1, words);
        site.change_local_file(&format!("rings: {rings}"), "rings: [stable, canary]");
    }
}
