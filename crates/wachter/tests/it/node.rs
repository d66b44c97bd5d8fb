//! A node with a real repository on a real server, in good days and bad ones.

use std::time::{Duration, Instant};

use crate::site::{HELLO, Site, processes_of};

#[test]
fn a_release_is_taken_and_its_agents_run() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("release 1 is in force");
    node.hear("hello succeeded");
    let status = site.json(&["status"]);
    assert_eq!(status["running"], true);
    assert_eq!(status["deployed"]["release"]["signers"][0], "ann");
    let modules = site.json(&["modules"]);
    let hello = modules.as_array().unwrap().iter().find(|module| module["name"] == "hello");
    assert_eq!(hello.unwrap()["refused"], serde_json::Value::Null);
    let runs = site.json(&["runs"]);
    assert_eq!(runs[0]["outcome"], "succeeded");
    assert_eq!(runs[0]["record"]["cause"]["schedule"]["agent"], "hello");
    // By hand, beside the node.
    let record = site.json(&["exec", "hello", "--input", "greeting=Hello, you"]);
    assert_eq!(record["outcome"], "succeeded");
    // A second node on the same data would be two writers.
    let second = site.wachter(&["run"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("a node uses"), "{}", second.stderr);
}

#[test]
fn the_state_of_a_module_goes_from_run_to_run() {
    let site = Site::new();
    let mut node = site.start();
    for _ in 0..3 {
        node.hear("hello succeeded");
    }
    let counts = counts(&site);
    // Newest first, none lost and none twice.
    let expected: Vec<u64> = (1..=counts.len() as u64).rev().collect();
    assert!(counts.len() >= 3, "{counts:?}");
    assert_eq!(counts, expected);
}

#[test]
fn a_new_release_takes_effect_on_sync_and_a_wrong_one_does_not() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("hello succeeded");
    site.write("config/agents/hello.yaml", &HELLO.replace("every", "evry"));
    // The author's own command refuses; a node must as well, so it is kept from looking.
    site.git(&["add", "-A"]);
    site.git(&["commit", "-q", "-m", "Wrong"]);
    let refused = site.wachter(&["release", "--yes"]);
    assert_eq!(refused.code, 3, "{}{}", refused.stdout, refused.stderr);
    assert!(
        format!("{}{}", refused.stdout, refused.stderr).contains("did you mean `every`?"),
        "{}",
        refused.stderr
    );
    site.write("config/agents/hello.yaml", HELLO);
    site.write("config/agents/second.yaml", &HELLO.replace("name: hello", "name: second"));
    site.release();
    node.forget();
    site.ok(&["sync"]);
    node.hear("release 2 is in force");
    let until = Instant::now() + Duration::from_secs(30);
    while site.json(&["agents", "show", "second"])["agent"]["runs"] == 0 {
        assert!(Instant::now() < until, "the second agent never ran");
    }
}

#[test]
fn a_release_with_a_wrong_configuration_is_passed_over_at_every_start() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("hello succeeded");
    site.write("config/agents/hello.yaml", &HELLO.replace("every", "evry"));
    site.git(&["commit", "-q", "-a", "-m", "Wrong"]);
    wachter_testkit::careless_release(&site.path("infra"), &site.path("key"), 2).unwrap();
    site.git(&["push", "-q", "origin", "main", "refs/tags/wachter/2"]);
    node.forget();
    // The node looks, and what it says is the command's outcome too.
    let said = site.wachter(&["sync"]);
    assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
    node.hear("release 2 was accepted and is passed over");
    node.hear("hello succeeded");
    drop(node);
    let mut node = site.start();
    node.hear("release 1 is in force");
    node.hear("hello succeeded");
    drop(node);
    let said = site.wachter(&["sync"]);
    assert_eq!(said.code, 3, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("did you mean `every`?"), "{}", said.stdout);
}

#[test]
fn what_the_owner_grants_later_counts_without_a_restart() {
    let site = Site::new();
    let manifest = std::fs::read_to_string(site.path("infra/modules/hello/module.yaml")).unwrap();
    let asking = manifest.replace("permissions: {}", "permissions: { host: [memory] }");
    assert_ne!(manifest, asking);
    site.write("modules/hello/module.yaml", &asking);
    site.release();
    let mut node = site.start();
    node.hear(
        "module hello may not run: asks for more than this host grants: permissions.host: memory",
    );
    let local = std::fs::read_to_string(site.path("node.yaml")).unwrap();
    let granting = format!("{}\n  hello: {{ host: [memory] }}\n", local.trim_end());
    assert_ne!(local, granting);
    std::fs::write(site.path("node.yaml"), "version: 1\nwrong").unwrap();
    node.signal("-HUP");
    node.hear("the one from before stays in force");
    std::fs::write(site.path("node.yaml"), granting).unwrap();
    node.signal("-HUP");
    node.hear("hello succeeded");
}

#[test]
fn a_node_goes_on_without_its_server() {
    let mut site = Site::new();
    let mut node = site.start();
    node.hear("hello succeeded");
    site.stop_server();
    node.forget();
    let said = site.wachter(&["sync"]);
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    node.hear("cannot fetch");
    node.hear("hello succeeded");
    // And starts without it.
    drop(node);
    let mut node = site.start();
    node.hear("release 1 is in force");
    node.hear("hello succeeded");
}

#[test]
fn people_hold_and_go_back() {
    let site = Site::new();
    site.ok(&["sync"]);
    site.release();
    site.ok(&["sync"]);
    assert_eq!(site.json(&["rollback"])["in_force"], 1);
    assert_eq!(site.json(&["sync"])["in_force"], 1);
    site.release();
    assert_eq!(site.json(&["sync"])["in_force"], 3, "a newer release than all ends a rollback");
    assert_eq!(site.json(&["pin", "2", "--for", "1h"])["in_force"], 2);
    site.release();
    assert_eq!(site.json(&["sync"])["in_force"], 2, "a pin holds");
    assert_eq!(site.json(&["unpin"])["in_force"], 4);
    let wrong = site.wachter(&["rollback", "--to", "9"]);
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
}

#[test]
fn a_bundle_goes_through_the_same_checks() {
    let mut site = Site::new();
    site.ok(&["sync"]);
    site.release();
    site.git(&[
        "bundle",
        "create",
        "-q",
        &site.path("good.bundle").display().to_string(),
        "main",
        "--tags",
    ]);
    site.git(&["tag", "-a", "-m", "trust me", "wachter/9"]);
    site.git(&[
        "bundle",
        "create",
        "-q",
        &site.path("bad.bundle").display().to_string(),
        "main",
        "--tags",
    ]);
    site.stop_server();
    let good = site.json(&["apply", &site.path("good.bundle").display().to_string()]);
    assert_eq!(good["in_force"], 2);
    let bad = site.wachter(&["apply", &site.path("bad.bundle").display().to_string()]);
    assert_eq!(bad.code, 3, "{}{}", bad.stdout, bad.stderr);
    assert!(bad.stdout.contains("release 9 refused"), "{}", bad.stdout);
}

#[test]
fn kill_9_of_node_or_launcher_leaves_nothing_behind() {
    let site = Site::new();
    for round in 0..6 {
        let mut node = site.start();
        node.hear("release 1 is in force");
        node.hear("hello succeeded");
        if round % 2 == 0 {
            node.signal("-KILL");
            node.child.wait().unwrap();
            gone(&site);
        } else {
            let launcher = processes_of(&site.path("data"))
                .into_iter()
                .find(|process| process.contains("wachter-launcher"))
                .expect("a launcher runs");
            let process = launcher.split(' ').next().unwrap();
            assert!(
                std::process::Command::new("kill")
                    .args(["-KILL", process])
                    .status()
                    .unwrap()
                    .success()
            );
            node.hear("the launcher is gone; it is started again");
            node.forget();
            node.hear("hello succeeded");
        }
    }
    gone(&site);
    // Whatever was cut short, every record is whole and the counting goes on.
    let counts = counts(&site);
    assert!(counts.len() > 6, "{counts:?}");
    assert!(counts.windows(2).all(|pair| pair[0] > pair[1]), "{counts:?}");
}

#[test]
fn a_polite_end_is_clean() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("hello succeeded");
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    gone(&site);
    assert_eq!(site.json(&["status"])["running"], false);
}

/// The counts of all runs that have one, newest first.
fn counts(site: &Site) -> Vec<u64> {
    let runs = site.json(&["runs", "--limit", "1000"]);
    let count = |run: &serde_json::Value| run["record"]["output"]["count"].as_u64();
    runs.as_array().unwrap().iter().filter_map(count).collect()
}

/// Waits until no process of the site is left.
fn gone(site: &Site) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes_of(&site.path("data"));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "left behind: {left:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn what_a_host_says_of_an_agent_counts_and_its_owner_has_the_last_word() {
    let site = Site::new();
    let local = std::fs::read_to_string(site.path("node.yaml")).unwrap();
    let with_name = |name: &str| {
        format!("{local}settings: {{ agents: {{ hello: {{ with: {{ greeting: {name} }} }} }} }}\n")
    };
    std::fs::write(site.path("node.yaml"), format!("node: web-1\n{local}")).unwrap();
    site.write("config/wachter.yaml", "agents: { hello: { with: { greeting: everybody } } }\n");
    site.write("config/hosts/web-1.yaml", "agents: { hello: { with: { greeting: web } } }\n");
    site.write("config/hosts/web-2.yaml", "agents: { hello: { enabled: false } }\n");
    site.release();
    let mut node = site.start();
    node.hear("release 2 is in force");
    node.hear("hello succeeded");
    // What a run was told is kept as a digest of it.
    let told = |name: &str| {
        let runs = site.json(&["runs", "--limit", "1"]);
        let input = serde_json::json!({ "greeting": name }).to_string();
        runs[0]["record"]["input_digest"]
            == serde_json::json!(wachter_model::Digest::of(input.as_bytes()))
    };
    assert!(told("web"), "{}", site.json(&["runs", "--limit", "1"]));
    // Without a restart, at the next look.
    std::fs::write(site.path("node.yaml"), format!("node: web-1\n{}", with_name("owner"))).unwrap();
    site.ok(&["sync"]);
    let until = Instant::now() + Duration::from_secs(30);
    while !told("owner") {
        assert!(Instant::now() < until, "{}", site.json(&["runs", "--limit", "1"]));
    }
    // What makes no sense is refused whole, and what was before stays.
    let wrong =
        format!("node: web-1\n{local}settings: {{ agents: {{ hello: {{ whit: {{}} }} }} }}\n");
    std::fs::write(site.path("node.yaml"), wrong).unwrap();
    let said = site.wachter(&["sync"]);
    let text = format!("{}{}", said.stdout, said.stderr);
    assert!(text.contains("unknown key `whit`: known are"), "{text}");
    drop(node);
    // Another host of the same release is not to run it at all.
    std::fs::write(site.path("node.yaml"), format!("node: web-2\n{local}")).unwrap();
    let mut node = site.start();
    node.hear("release 2 is in force");
    assert_eq!(site.json(&["agents"]), serde_json::json!([]));
}
