//! What is shown, in order.

use std::fs;

use crate::wachter::{Outcome, Place};
use crate::{chapter, say};

/// An agent that wakes often, so that nobody waits.
const AGENT: &str =
    "name: hello\nmodule: hello\non: { schedule: { every: 1s } }\nwith: { greeting: Good day }\n";

/// Wakes when it is asked to.
const GREETER: &str = "name: greeter\nmodule: hello\non: { events: [greeting.wanted] }\nwith: { greeting: Welcome }\n";

/// What the owner of the host lays over the agent.
const EVENING: &str = "settings: { agents: { hello: { with: { greeting: Good evening } } } }\n";

/// Events that wait when the node is killed.
const WAITING: usize = 3;

/// Asks for the network, which nobody grants it.
const GREEDY: &str = "permissions: { network: [\"example.com:443\"] }";

pub(crate) fn tell() -> Outcome<()> {
    let place = Place::make()?;
    let url = place.server.url("infra.git");

    chapter("A managed repository, a key and a release");
    let key = place.key().display().to_string();
    let local_file = place.path("node.yaml").display().to_string();
    place.wachter(&[
        "init",
        "infra",
        "--yes",
        "--name",
        "you",
        "--generate-key",
        &key,
        "--url",
        &url,
        "--local-file",
        &local_file,
    ])?;
    place.wachter(&["module", "new", "hello", "--language", "shell"])?;
    fs::write(place.repository().join("config/agents/hello.yaml"), AGENT)?;
    fs::write(place.repository().join("config/agents/greeter.yaml"), GREETER)?;
    faster(&place)?;
    place.wachter(&["sign", "hello"])?;
    place.git(&["add", "-A"])?;
    place.git(&["commit", "-q", "-m", "Say hello"])?;
    place.git(&["init", "-q", "--bare", &place.path("git/infra.git").display().to_string()])?;
    place
        .git(&["remote", "add", "origin", &url])
        .or_else(|_| place.git(&["remote", "set-url", "origin", &url]))?;
    fs::write(place.path("git/infra.git/git-daemon-export-ok"), "")?;
    place.git(&[
        "-C",
        &place.path("git/infra.git").display().to_string(),
        "config",
        "http.receivepack",
        "true",
    ])?;
    place.wachter(&["release", "--yes", "--push", "origin"])?;

    chapter("A node follows it, and runs its modules confined");
    let mut node = place.start_node()?;
    node.hear(&["release 1 is in force", "hello succeeded", "system-monitor succeeded"])?;
    place.wachter(&["exec", "hello", "--input", "greeting=Hello, you"])?;

    chapter("An event wakes an agent, and what it caused can be traced");
    let sent = place.wachter(&["send", "greeting.wanted", "{\"for\": \"you\"}"])?;
    node.hear(&["Welcome"])?;
    let event = sent.split_whitespace().nth(1).ok_or("no event was named")?;
    place.wachter(&["trace", event])?;

    chapter("A change takes effect at once, and nothing is restarted");
    let local = fs::read_to_string(place.path("node.yaml"))?;
    fs::write(place.path("node.yaml"), format!("{local}{EVENING}"))?;
    place.wachter(&["config", "reload"])?;
    node.hear(&["Good evening"])?;

    chapter("Killed while work waits, a node loses nothing");
    place.wachter(&["agents", "pause", "greeter", "--reason", "to show what waits"])?;
    for _ in 0..WAITING {
        place.wachter(&["send", "greeting.wanted"])?;
    }
    say("\n$ kill -9 %1");
    node.kill()?;
    let mut node = place.start_node()?;
    node.hear(&["release 1 is in force"])?;
    place.wachter(&["agents", "resume", "greeter"])?;
    node.hear(&["agent=greeter"; WAITING])?;
    place.wachter(&["runs", "--agent", "greeter"])?;
    place.wachter(&["audit", "verify"])?;

    chapter("A commit that nobody released changes nothing");
    fs::write(place.repository().join("config/agents/broken.yaml"), "not: an agent\n")?;
    place.git(&["add", "-A"])?;
    place.git(&["commit", "-q", "-m", "Not meant to be released"])?;
    place.git(&["push", "-q", "origin", "main"])?;
    place.wachter(&["sync"])?;
    place.wachter(&["status"])?;
    place.git(&["rm", "-q", "config/agents/broken.yaml"])?;
    place.git(&["commit", "-q", "-m", "Take it back"])?;

    chapter("A tag that nobody signed is refused");
    place.git(&["tag", "-a", "-m", "trust me", "wachter/2"])?;
    place.git(&["push", "-q", "origin", "wachter/2"])?;
    place.refused(&["sync"])?;
    node.hear(&["release 2 refused"])?;

    chapter("An old release under a new name is refused");
    place.git(&["update-ref", "refs/tags/wachter/3", "refs/tags/wachter/1"])?;
    place.git(&["push", "-q", "origin", "refs/tags/wachter/3"])?;
    place.refused(&["sync"])?;
    node.hear(&["release 3 refused"])?;

    chapter("A module that was changed after it was signed does not run; the rest goes on");
    let script = place.repository().join("modules/hello/main.sh");
    let mut text = fs::read_to_string(&script)?;
    text.push_str("# something that nobody signed\n");
    fs::write(&script, text)?;
    place.git(&["commit", "-q", "-a", "-m", "Tamper"])?;
    place.try_wachter(&["release", "--yes", "--dry-run"])?;
    say("\n(the command refuses, so this release is signed by hand)");
    wachter_testkit::careless_release(&place.repository(), &place.key(), 4)?;
    place.git(&["push", "-q", "origin", "main", "refs/tags/wachter/4"])?;
    place.wachter(&["sync"])?;
    node.hear(&["release 4 is in force", "module hello may not run", "agent hello is held"])?;

    chapter("A module that asks for more than this host grants does not run");
    let manifest = place.repository().join("modules/hello/module.yaml");
    let text = fs::read_to_string(&manifest)?;
    let modest = text.lines().filter(|line| !line.starts_with("permissions:"));
    fs::write(&manifest, modest.chain([GREEDY]).collect::<Vec<_>>().join("\n"))?;
    place.wachter(&["sign", "hello"])?;
    place.git(&["commit", "-q", "-a", "-m", "Ask for the network"])?;
    place.wachter(&["release", "--yes", "--push", "origin"])?;
    place.wachter(&["sync"])?;
    node.hear(&[
        "release 5 is in force",
        "module hello may not run: asks for more than this host grants",
    ])?;

    chapter("Back to the release that worked");
    drop(node);
    place.wachter(&["rollback", "--to", "1"])?;
    place.wachter(&["modules"])?;
    place.wachter(&["runs", "--limit", "5"])?;
    next();
    Ok(())
}

/// Lets the monitor of the scaffold wake often too.
fn faster(place: &Place) -> Outcome<()> {
    let path = place.repository().join("config/agents/system-monitor.yaml");
    let text = fs::read_to_string(&path)?;
    fs::write(path, text.replace("30s", "1s"))?;
    Ok(())
}

fn next() {
    chapter("What to do next");
    say("  wachter init my-infra            a managed repository of your own, with a key for you");
    say("  wachter module new my-module     a module of your own; `wachter module test` tries it");
    say("  wachter doctor                   what this host can enforce, and how to get more");
    say("  docs/src/first-release.md        the same, step by step");
}
