//! Every command that speaks with the node, once for real.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wachter_file::FileLock;
use wachter_testkit::executable;

use crate::site::{Said, Site};

/// Runs at the start, then when it is greeted.
const AGENT: &str = "name: greeter
module: hello
on: { schedule: { every: 10h }, events: [greet.*] }
retry: { attempts: 1 }
with: { greeting: Good day }
";

/// Runs when it is asked, and tries twice.
const STUBBORN: &str = "name: stubborn
module: hello
on: { events: [stubborn.*] }
retry: { attempts: 2, backoff: constant, initial: 10ms, max: 10ms }
with: { greeting: Good day }
";

/// Fails where it is told to.
const SCRIPT: &str = r#"#!/bin/sh
set -u
. "${0%/*}/wachter.sh"
if json_get /event/data/fail; then fail "told to by the event"; fi
json_get /input/greeting || fail "no greeting"
[ "$json" = fail ] && fail "told to by the input"
log info "greeting"
greeting=$json
emit hello.greeted "$greeting" null
finding hello.quiet low 1 greeter "nobody listens" "hello.quiet"
succeed true "$greeting" "{\"said\":true}"
"#;

/// A node with one agent, which has run once.
fn site() -> (Site, crate::site::Node) {
    let site = Site::new();
    fs::remove_file(site.path("infra/config/agents/hello.yaml")).unwrap();
    site.write("config/agents/greeter.yaml", AGENT);
    site.write("config/agents/stubborn.yaml", STUBBORN);
    site.write("modules/hello/main.sh", SCRIPT);
    let manifest = site.path("infra/modules/hello/module.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("emits:"));
    let emits = "emits: [hello.greeted, hello.quiet]\n";
    fs::write(&manifest, lines.collect::<Vec<_>>().join("\n") + "\n" + emits).unwrap();
    site.release();
    let node = site.start();
    until("the node", || site.json(&["status"])["running"] == true);
    until("the first run", || site.json(&["agents"])[0]["runs"] == 1);
    (site, node)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[track_caller]
fn ends(said: &Said, code: i32, words: &str) {
    let text = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, code, "{text}");
    assert!(text.contains(words), "no `{words}` in: {text}");
}

/// Output of a command that prints one JSON value a line.
fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn agents_and_runs() {
    let (site, _node) = site();
    let status = site.json(&["status"]);
    assert_eq!((&status["running"], &status["frozen"]), (&json!(true), &Value::Null));
    assert_eq!(status["status"]["release"]["sequence"], 2);
    assert_eq!(status["agents"][0]["name"], "greeter");
    let text = site.ok(&["status"]);
    assert!(
        text.contains("release      2 by ann, accepted ") && text.contains("greeter"),
        "{text}"
    );
    site.ok(&["status", "--check"]);
    let modules = site.json(&["modules"]);
    let hello = modules.as_array().unwrap().iter().find(|module| module["name"] == "hello");
    assert!(hello.unwrap()["digest"].is_string(), "{modules}");
    assert!(site.ok(&["modules"]).contains("may run ("));

    let shown = site.json(&["agents", "show", "greeter"]);
    assert_eq!(shown["agent"]["state"], "idle");
    assert_eq!(shown["last_runs"][0]["outcome"], "succeeded");
    assert!(site.ok(&["agents", "show", "greeter"]).contains("wakes on     greet.*"));
    assert!(site.ok(&["agents"]).starts_with("AGENT     STATE"));
    ends(&site.wachter(&["agents", "show", "greter"]), 1, "did you mean `greeter`?");
    ends(&site.wachter(&["agents", "run", "greter"]), 1, "did you mean `greeter`?");
    ends(&site.wachter(&["agents", "list", "--watch"]), 2, "unrecognized");
    ends(&site.wachter(&["agents", "--watch", "routes"]), 2, "--watch is for the list");

    let run = site.json(&["agents", "run", "greeter", "--wait", "--input", "greeting=Hi"]);
    assert_eq!((&run["message"], &run["outcome"]), (&json!("Hi"), &json!("succeeded")));
    let failed = site.wachter(&["agents", "run", "greeter", "--wait", "--input", "greeting=fail"]);
    ends(&failed, 4, "told to by the input");
    let dry = site.json(&["agents", "run", "greeter", "--wait", "--dry-run"]);
    assert_eq!(
        (&dry["dry_run"], &dry["events"][0]["event"]["type"]),
        (&json!(true), &json!("hello.greeted"))
    );
    let unfit = site.wachter(&["agents", "run", "greeter", "--input", "greeting=7"]);
    ends(&unfit, 2, "the input does not fit `hello`: $.greeting: ");
    let sent = site.json(&["agents", "run", "greeter"]);
    until("the run that nobody waits for", || {
        let trace = site.json(&["trace", sent["id"].as_str().unwrap()]);
        let events = trace["events"].as_array().unwrap();
        events.iter().any(|one| one["event"]["event"]["type"] == "run.finished")
    });

    let id = run["run"].as_str().unwrap();
    let shown = site.json(&["runs", id]);
    assert_eq!(shown["record"]["output"]["said"], true);
    assert_eq!(shown["findings"][0]["type"], "hello.quiet");
    assert_eq!(shown["events"][0]["event"]["type"], "hello.greeted");
    let text = site.ok(&["runs", id]);
    assert!(text.contains("Findings\n") && text.contains("low       hello.quiet"), "{text}");
    let failures =
        site.json(&["runs", "--agent", "greeter", "--outcome", "failed", "--since", "1h"]);
    assert_eq!(failures.as_array().unwrap().len(), 1, "{failures}");
    assert_eq!(site.json(&["runs", "--module", "other"]), json!([]));
    assert_eq!(site.json(&["runs", "-n", "2"]).as_array().unwrap().len(), 2);
    let nothing = "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55";
    ends(&site.wachter(&["runs", nothing]), 1, "there is no run");

    // The last try decides, and what was given up is said to be.
    let stubborn = ["agents", "run", "stubborn", "--wait", "--input", "greeting=fail"];
    let given_up = site.wachter(&stubborn);
    ends(&given_up, 4, "the request was given up after 2 tries: `wachter dead-letters show 2`");
    let tries = site.json(&["runs", "--agent", "stubborn"]);
    assert_eq!(tries.as_array().unwrap().len(), 2, "{tries}");
    let last =
        tries.as_array().unwrap().iter().find(|run| run["record"]["aftermath"] == "given-up");
    let last = last.unwrap()["run"].as_str().unwrap();
    assert!(given_up.stderr.contains(last), "{last}: {}", given_up.stderr);

    assert_eq!(
        site.json(&["agents", "pause", "greeter", "--reason", "a drill"])["state"],
        "paused"
    );
    assert!(site.ok(&["agents"]).contains("a drill"));
    assert_ne!(site.json(&["agents", "resume", "greeter"])["state"], "paused");
    let event = json!({ "specversion": "1.0", "id": "1", "source": "/a", "type": "greet.all" });
    fs::write(site.path("event.json"), event.to_string()).unwrap();
    let path = site.path("event.json").display().to_string();
    let routes = site.json(&["agents", "routes", "--event", &path]);
    assert_eq!((&routes[0]["agent"], &routes[0]["reached"]), (&json!("greeter"), &json!(true)));
    assert_eq!(site.json(&["agents", "routes"])[0]["reached"], Value::Null);
    ends(&site.wachter(&["agents", "routes", "--event", "/nowhere"]), 1, "cannot read /nowhere");
}

#[test]
fn events_and_what_comes_of_them() {
    let (site, _node) = site();
    // Followed from the start: nothing of what is sent later is missed.
    let mut followed =
        site.start_command(&["events", "-f", "--topic", "greet.*", "--output", "json"]);
    let mut log = site.start_command(&["logs", "-f", "--output", "json"]);
    let sent = site.json(&[
        "send",
        "greet.all",
        "{\"a\": \"\u{9b}2J\"}",
        "--subject",
        "x",
        "--id",
        "first",
    ]);
    assert_eq!(sent["duplicate"], false);
    let again = site.json(&["send", "greet.all", "--id", "first"]);
    assert_eq!((&again["duplicate"], &again["id"]), (&json!(true), &sent["id"]));
    followed.hear("\"greet.all\"");
    followed.signal("-INT");
    assert!(followed.child.wait().unwrap().success(), "Ctrl-C is how it ends");
    log.hear("greeting");
    log.signal("-INT");
    assert!(log.child.wait().unwrap().success());
    ends(&site.wachter(&["send", "greet.all", "text"]), 2, "a text is written with quotes");
    ends(&site.wachter(&["send", "run.finished"]), 3, "run.finished");
    ends(&site.wachter(&["request", "question.asked"]), 1, "no agent on this node takes");
    let failed =
        site.wachter(&["request", "stubborn.asked", "{\"fail\": true}", "--timeout", "10m"]);
    ends(
        &failed,
        4,
        "`stubborn.asked` has no answer from stubborn: the module failed: told to by the event; ",
    );
    let dead = site.json(&["dead-letters", "list"])[0]["id"].to_string();
    site.ok(&["dead-letters", "drop", &dead]);
    // An agent that listens to it answers with what it emits.
    let answer = site.json(&["request", "greet.asked", "{}", "--timeout", "30s"]);
    assert_eq!(answer["event"]["type"], "hello.greeted", "{answer}");

    let events = site.json(&["events", "--topic", "greet.*,nothing.here", "--since", "1h"]);
    assert_eq!(events[0]["event"]["data"], json!({ "a": "\u{9b}2J" }));
    let text = site.ok(&["events", "--topic", "greet.>"]);
    assert!(text.contains("\\u{9b}2J") && !text.contains('\u{9b}'), "{text}");
    assert_eq!(site.json(&["events", "-n", "1"]).as_array().unwrap().len(), 1);
    let id = sent["id"].as_str().unwrap();
    until("what the event leads to", || {
        let trace = site.json(&["trace", id]);
        assert_eq!(trace["events"][0]["asked"], true);
        trace["events"].as_array().unwrap().len() >= 4
    });
    let tree = site.ok(&["trace", id]);
    let drawn: Vec<&str> = tree.lines().collect();
    assert!(drawn[0].contains("greet.all") && drawn[0].ends_with("(this one)"), "{tree}");
    assert!(drawn[1].starts_with("|- +") && drawn[1].contains("run.finished"), "{tree}");
    assert!(drawn.last().unwrap().starts_with("`- +"), "{tree}");
    ends(&site.wachter(&["trace", "nothing"]), 1, "there is no event `nothing`");

    let lines = json_lines(&site.ok(&["logs", "-n", "1000", "--output", "json"]));
    assert!(
        lines.iter().any(|line| line["message"].as_str().unwrap().contains("greeting")),
        "{lines:?}"
    );
    assert!(site.ok(&["logs", "--level", "info", "--since", "1h"]).contains("info      "));

    site.ok(&["send", "greet.all", "{\"fail\": true}"]);
    until("the dead letter", || site.json(&["dead-letters", "list"]) != json!([]));
    let letters = site.json(&["dead-letters", "list", "--subscription", "agents/greeter"]);
    let number = letters[0]["id"].to_string();
    let letter = site.json(&["dead-letters", "show", &number]);
    assert_eq!(letter["event"]["data"]["fail"], true);
    assert!(site.ok(&["dead-letters", "list"]).contains("told to by the event"));
    assert!(site.ok(&["dead-letters", "show", &number]).contains("\"fail\": true"));
    let retried = site.json(&["dead-letters", "retry", &number]);
    assert_eq!(retried["subscription"], "agents/greeter");
    until("the second failure", || {
        let failed = site.json(&["runs", "--agent", "greeter", "--outcome", "failed"]);
        failed.as_array().unwrap().len() == 2
    });
    let rest = site.json(&["dead-letters", "list"]);
    let number = rest[0]["id"].to_string();
    site.ok(&["dead-letters", "drop", &number]);
    ends(&site.wachter(&["dead-letters", "show", &number]), 1, "there is no dead letter");

    let runs = site.json(&["runs", "-n", "100"]).as_array().unwrap().len();
    let report = site.json(&["replay", "greeter", "--from", sent["sequence"].to_string().as_str()]);
    assert_eq!(report["dry_run"], true);
    until("runs of what is repeated", || {
        let now = site.json(&["runs", "-n", "100"]);
        now.as_array().unwrap().len() > runs && now[0]["dry_run"] == true
    });
    ends(&site.wachter(&["replay", "nobody", "--since", "1h"]), 1, "nobody");
    let first = sent["sequence"].to_string();
    let part = site.json(&["replay", "greeter", "--from", &first, "--to", &first]);
    assert_eq!((&part["events"], &part["dry_run"]), (&json!(1), &json!(true)));
    let backwards = site.wachter(&["replay", "greeter", "--since", "1m", "--until", "1h"]);
    ends(&backwards, 2, "ends before it begins");
    let subscriptions = site.json(&["subscriptions"]);
    assert!(
        subscriptions.as_array().unwrap().iter().any(|one| one["name"] == "agents/greeter"),
        "{subscriptions}"
    );
    assert!(site.ok(&["subscriptions"]).contains("agents/greeter"));
}

#[test]
fn the_journal_is_checked_and_handed_out() {
    let (site, _node) = site();
    let report = site.json(&["audit", "verify"]);
    assert_eq!(report["valid"], true);
    assert!(site.ok(&["audit", "verify"]).contains("journal      valid"));
    let last = report["last"].to_string();
    let records = json_lines(&site.ok(&["audit", "export", "--to", &last]));
    assert_eq!(records.len() as u64, report["events"].as_u64().unwrap());
    assert_eq!(records.last().unwrap()["chain"], report["chain"]);
    // The digest is of the event as it stands there, to the byte.
    let line = site.ok(&["audit", "export", "--from", &last, "--to", &last]);
    let event = line.trim_end().split_once("\"event\":").unwrap().1.strip_suffix('}').unwrap();
    let digest = wachter_model::Digest::of(event.as_bytes()).to_string();
    assert_eq!(records.last().unwrap()["digest"], digest);

    let kept = site.path("report.json");
    let path = kept.display().to_string();
    let verify = || site.wachter(&["audit", "verify", "--checkpoint", &path]);
    fs::write(&kept, report.to_string()).unwrap();
    site.ok(&["send", "something.new"]);
    ends(&verify(), 0, "valid");
    let mut other = report.clone();
    other["chain"] = json!("ab".repeat(32));
    fs::write(&kept, other.to_string()).unwrap();
    ends(&verify(), 3, "the journal was rewritten");
    other["journal"] = json!("another");
    fs::write(&kept, other.to_string()).unwrap();
    ends(&verify(), 3, "of another journal");
    fs::write(&kept, "nonsense").unwrap();
    ends(&verify(), 2, "not a checkpoint");

    let changes = site.json(&["changes", "--since", "1h"]);
    let kinds: Vec<&str> =
        changes.as_array().unwrap().iter().filter_map(|change| change["kind"].as_str()).collect();
    assert!(kinds.contains(&"release") && kinds.contains(&"command"), "{changes}");
    assert!(site.ok(&["changes"]).contains("release 2"));
}

#[test]
fn what_is_in_force_is_shown_and_changed_beside_the_node() {
    let (site, mut node) = site();
    let values = site.json(&["config", "get", "log.level"]);
    assert_eq!(values["values"]["log.level"]["value"], "info");
    assert!(site.ok(&["config", "get", "agent.greeter"]).contains("config/agents/greeter.yaml:"));
    ends(&site.wachter(&["config", "get", "nothing"]), 1, "nothing");
    let local = fs::read_to_string(site.path("node.yaml")).unwrap();
    fs::write(site.path("node.yaml"), format!("{local}settings: {{ log: {{ level: debug }} }}\n"))
        .unwrap();
    let reloaded = site.json(&["config", "reload"]);
    assert!(reloaded["changed"].to_string().contains("log.level"), "{reloaded}");
    assert!(site.ok(&["config", "reload"]).contains("nothing is different"));
    assert_eq!(site.json(&["config", "get", "log"])["values"]["log.level"]["value"], "debug");

    assert_eq!(site.json(&["sync"])["in_force"], 2);
    site.release();
    let said = site.json(&["sync"]);
    assert_eq!((&said["in_force"], &said["accepted"]["sequence"]), (&json!(3), &json!(3)));
    assert_eq!(site.json(&["pin", "2", "--for", "1h"])["in_force"], 2);
    assert_eq!(site.json(&["pin", "--for", "1h"])["in_force"], 2);
    assert!(site.ok(&["status"]).contains("held         pinned to 2 until"));
    assert_eq!(site.json(&["unpin"])["in_force"], 3);
    assert_eq!(site.json(&["rollback"])["in_force"], 2);
    ends(&site.wachter(&["rollback", "--to", "9"]), 1, "release 9 is not among the accepted ones");
    assert!(site.ok(&["status"]).contains("held         rolled back to 2"));
    site.release();
    assert!(site.ok(&["sync"]).contains("release 4 accepted, signed by ann"));
    let bundle = site.path("bundle").display().to_string();
    site.git(&["bundle", "create", "-q", &bundle, "main", "--tags"]);
    assert_eq!(site.json(&["apply", &bundle])["in_force"], 4);
    assert!(site.ok(&["apply", &bundle]).contains("release 4 stays in force"));

    assert_eq!(site.json(&["freeze", "--reason", "a drill"])["reason"], "a drill");
    ends(&site.wachter(&["status", "--check"]), 1, "effects are stopped since ");
    assert!(site.ok(&["status"]).contains(": a drill"));
    site.ok(&["thaw"]);
    assert_eq!(site.json(&["status"])["frozen"], Value::Null);

    let mut watched = site.start_command(&["status", "--watch", "--output", "json"]);
    watched.hear("\"running\":true");
    watched.hear("\"running\":true");
    watched.signal("-INT");
    assert!(watched.child.wait().unwrap().success());
    let mut watched = site.start_command(&["agents", "--watch"]);
    watched.hear("greeter");
    watched.hear("greeter");
    // The node goes away: whoever watches is told so.
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    until("the end of who watches", || watched.child.try_wait().unwrap().is_some());
    assert_eq!(watched.child.wait().unwrap().code(), Some(5));
}

#[test]
fn without_a_node_there_are_files() {
    let site = Site::new();
    site.ok(&["sync"]);
    let status = site.json(&["status"]);
    assert_eq!((&status["running"], &status["accepted"]), (&json!(false), &json!([1])));
    assert!(site.ok(&["status"]).contains("not running; start it with `wachter run`"));
    assert_eq!(site.json(&["modules"]).as_array().unwrap().len(), 2);
    let commands: &[&[&str]] = &[
        &["agents"],
        &["agents", "run", "hello"],
        &["runs"],
        &["events"],
        &["events", "-f"],
        &["logs"],
        &["send", "a.b"],
        &["request", "a.b"],
        &["trace", "1"],
        &["changes"],
        &["dead-letters", "list"],
        &["replay", "hello", "--since", "1h"],
        &["subscriptions"],
        &["audit", "verify"],
        &["audit", "export"],
        &["config", "get"],
        &["config", "reload"],
    ];
    for command in commands {
        ends(&site.wachter(command), 5, "no node answers at");
    }
    // The off switch works all the same, and the node finds it.
    assert_eq!(
        site.json(&["freeze", "--reason", "a drill"])["by"],
        site.json(&["status"])["frozen"]["by"]
    );
    let mut node = site.start();
    until("the node", || site.json(&["status"])["running"] == true);
    assert_eq!(site.json(&["status"])["status"]["frozen"]["reason"], "a drill");
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    site.ok(&["thaw"]);
    assert_eq!(site.json(&["status"])["frozen"], Value::Null);
}

#[test]
fn a_node_that_does_not_answer_is_frozen_from_its_next_start() {
    let site = Site::new();
    site.ok(&["sync"]);
    // What a node looks like that hangs: it has the data, and nobody listens.
    let held = FileLock::take(&site.path("data/lock"), "run").unwrap();
    ends(&site.wachter(&["freeze", "--reason", "a drill"]), 5, "from the node's next start only");
    ends(&site.wachter(&["status", "--check"]), 5, "no node answers");
    drop(held);
    assert_eq!(site.json(&["status"])["frozen"]["reason"], "a drill");
}

#[test]
fn who_has_no_role_is_told_so() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let (site, _node) = site();
    let program = site.path("wachter");
    fs::copy(executable("wachter"), &program).unwrap();
    let stranger = |arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid", "1001", "--regid", "1001", "--clear-groups"])
            .arg(&program)
            .args(arguments)
            .arg("--data")
            .arg(site.path("data"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .current_dir("/")
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    // The folder is the node's alone.
    ends(&stranger(&["status"]), 3, "you may not use");
    fs::set_permissions(site.path("data"), fs::Permissions::from_mode(0o711)).unwrap();
    ends(&stranger(&["status"]), 3, "you have no role on this node");
    let local = fs::read_to_string(site.path("node.yaml")).unwrap();
    let roles = "settings: { api: { roles: { viewers: { users: [\"1001\"] } } } }\n";
    fs::write(site.path("node.yaml"), format!("{local}{roles}")).unwrap();
    site.ok(&["config", "reload"]);
    until("the role", || stranger(&["status"]).code == 0);
    ends(&stranger(&["agents"]), 0, "greeter");
    let forbidden: &[&[&str]] = &[
        &["agents", "run", "greeter"],
        &["agents", "pause", "greeter"],
        &["send", "a.b"],
        &["freeze", "--reason", "a drill"],
        &["thaw"],
        &["sync"],
        &["rollback"],
        &["config", "reload"],
    ];
    for command in forbidden {
        ends(&stranger(command), 3, "viewer");
    }
    assert_eq!(site.json(&["status"])["frozen"], Value::Null);
}
