//! Secrets from an author's desk to a run, and where they are not found on the way.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::site::Site;

const VALUE: &str = "hunter2-and-some-more";

/// What a module would have to write for the value to be found, in base64 of each alignment.
const TRACES: [&str; 4] = [VALUE, "aHVudGVyMi1hbmQt", "h1bnRlcjItYW5kL", "odW50ZXIyLWFuZC1"];

/// Says its secret in every way that it has, and then is there until MARK is gone.
const TELLTALE: &str = r#"#!/bin/sh
read -r request
read -r value < "$WACHTER_SECRETS/password"
[ ${#value} = 21 ] || exit 9
echo "it is $value, or $(printf %s "$value" | base64)" >&2
echo "{\"log\": {\"level\": \"warn\", \"message\": \"the log has $value\"}}"
echo "{\"progress\": {\"message\": \"$value\"}}"
echo "{\"event\": {\"type\": \"told.all\", \"subject\": \"$value\", \"data\": {\"value\": \"$value\"}}}"
echo "{\"finding\": {\"type\": \"told.all\", \"severity\": \"low\", \"confidence\": 1, \"subject\": \"$value\", \"message\": \"$value\", \"fingerprint\": \"$value\", \"evidence\": [\"$value\"]}}"
echo "{\"metric\": {\"name\": \"told\", \"value\": 1, \"labels\": {\"value\": \"$value\"}}}"
while [ -e MARK ]; do [ -s MARK ] || echo told > MARK; sleep 0.1; done
echo "{\"result\": {\"message\": \"$value\", \"output\": {\"length\": ${#value}, \"value\": \"$value\"}, \"state\": {\"value\": \"$value\"}}}"
"#;

const MANIFEST: &str = "name: hello
version: 1.0.0
runtime: { kind: process, entrypoint: ./main.sh }
permissions: { secrets: [password], exec: [/usr/bin], filesystem: { write: [FOLDER] } }
emits: [told.all]
";

/// While it is there, a run goes on; the run says in it that it has told all.
pub(crate) struct Mark(TempDir);

impl Mark {
    fn path(&self) -> PathBuf {
        self.0.path().join("mark")
    }

    fn set(&self) {
        fs::write(self.path(), "").unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o666)).unwrap();
    }
}

impl Site {
    fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let path = self.path("input");
        fs::write(&path, input).unwrap();
        let said = self.wachter_from(arguments, fs::File::open(&path).unwrap());
        fs::remove_file(path).unwrap();
        assert_eq!(said.code, 0, "wachter {}: {}{}", arguments.join(" "), said.stdout, said.stderr);
        said.stdout
    }

    /// Gives this host an identity, and the module a secret.
    pub(crate) fn with_secret(&self) -> Mark {
        // What lies beside the local file can never be granted.
        let mark = Mark(tempfile::tempdir().unwrap());
        fs::set_permissions(mark.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let folder = mark.0.path().display().to_string();
        let identity = self.json(&["secret", "identity"]);
        let path = identity["file"].as_str().unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let local = fs::read_to_string(self.path("node.yaml")).unwrap();
        let local = local.replace(
            "grants:",
            &format!(
                "secrets: {{ identity: {path} }}\ngrants:\n  hello: {{ secrets: [password], exec: [/usr/bin], filesystem: {{ write: [{folder}] }} }}"
            ),
        );
        fs::write(self.path("node.yaml"), local).unwrap();
        let recipient = identity["recipient"].as_str().unwrap();
        // Asked again, it is the same.
        assert_eq!(self.ok(&["secret", "identity"]).trim(), recipient);
        self.ok(&["trust", "add-recipient", "web-1", recipient]);
        assert!(self.ok(&["trust", "show"]).contains(&format!("recipient   web-1 {recipient}")));
        self.run_with_input(&["secret", "set", "password"], VALUE);
        self.write("modules/hello/module.yaml", &MANIFEST.replace("FOLDER", &folder));
        let script = TELLTALE.replace("MARK", &mark.path().display().to_string());
        self.write("modules/hello/main.sh", &script);
        self.write(
            "config/agents/hello.yaml",
            "name: hello\nmodule: hello\non: { schedule: { every: 1s } }\n",
        );
        mark
    }
}

/// Files below a folder, and file systems in memory, that hold a trace of the value.
fn files_with_traces(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                // What goes meanwhile holds nothing.
                let content = fs::read(entry.path()).unwrap_or_default();
                let content = String::from_utf8_lossy(&content);
                if TRACES.iter().any(|trace| content.contains(trace)) {
                    found.insert(entry.path().display().to_string());
                }
            }
        }
    }
    found
}

/// Processes whose arguments or environment hold a trace.
fn processes_with_traces() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let content = fs::read(entry.path().join(file)).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            if TRACES.iter().any(|trace| content.contains(trace)) {
                found.push(format!("{}/{file}", entry.path().display()));
            }
        }
    }
    found
}

#[test]
fn a_value_is_known_to_the_run_and_to_nobody_else() {
    for profile in [None, Some("no-namespaces")] {
        let site = Site::new();
        let mark = site.with_secret();
        if let Some(profile) = profile {
            // Where root gives runs a user of their own and they see the host's paths, they must be able to
            // come to what they run.
            fs::create_dir(site.path("data")).unwrap();
            fs::set_permissions(site.path("data"), fs::Permissions::from_mode(0o711)).unwrap();
            let path = site.path("node.yaml");
            let text = fs::read_to_string(&path).unwrap();
            let absent: Vec<String> =
                wachter_protocol::Mechanism::ALL.iter().map(ToString::to_string).collect();
            let start = text.find("confinement:").unwrap();
            let end = text.find("secrets:").unwrap();
            let confinement = format!(
                "confinement: {{ profile: {profile}, accept_absent: [{}] }}\n",
                absent.join(", ")
            );
            fs::write(&path, format!("{}{confinement}{}", &text[..start], &text[end..])).unwrap();
        }
        site.release();
        assert!(files_with_traces(&site.path("infra")).is_empty(), "{profile:?}");
        mark.set();
        let mut node = site.start();
        // While a run that has said all is under way.
        let until = Instant::now() + Duration::from_secs(30);
        while fs::read(mark.path()).unwrap().is_empty() {
            let log = fs::read_to_string(site.path("node.log")).unwrap();
            assert!(Instant::now() < until, "no run has told all: {log}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        assert_eq!(processes_with_traces(), Vec::<String>::new(), "{profile:?}");
        assert!(files_with_traces(&site.path("data")).is_empty(), "{profile:?}");
        // With namespaces nobody else can see the files at all.
        let in_memory = files_with_traces(Path::new("/dev/shm"));
        assert_eq!(in_memory.is_empty(), profile.is_none(), "{profile:?}: {in_memory:?}");
        fs::remove_file(mark.path()).unwrap();
        node.hear("hello succeeded");
        let runs = site.json(&["runs"]);
        let run =
            runs.as_array().unwrap().iter().find(|run| run["outcome"] == "succeeded").unwrap();
        assert_eq!(
            run["record"]["output"],
            json!({ "length": 21, "value": "[redacted:password]" })
        );
        let text = runs.to_string();
        for trace in TRACES {
            assert!(!text.contains(trace), "{profile:?}: {text}");
        }
        node.signal("-TERM");
        assert!(node.child.wait().unwrap().success());
        let log = fs::read_to_string(site.path("node.log")).unwrap();
        assert!(TRACES.iter().all(|trace| !log.contains(trace)), "{profile:?}: {log}");
        assert!(files_with_traces(&site.path("data")).is_empty(), "{profile:?}");
        assert!(site.path("data/secrets/password.age").exists());
        for file in in_memory {
            assert!(!Path::new(&file).exists(), "{profile:?}: {file} is still there");
        }
        // A run by hand and a dry run say no more.
        let said = site.wachter(&["exec", "hello", "--verbose", "--output", "json"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(said.stderr.contains("the log has [redacted:password]"), "{}", said.stderr);
        for trace in TRACES {
            assert!(!format!("{}{}", said.stdout, said.stderr).contains(trace), "{profile:?}");
        }
        assert_ne!(site.wachter(&["exec", "hello", "--dry-run"]).code, 0, "{profile:?}");
    }
}

#[test]
fn what_cannot_be_opened_is_refused_and_the_next_release_puts_it_right() {
    let site = Site::new();
    let _mark = site.with_secret();
    site.release();
    site.ok(&["sync"]);
    let refused = |words: &str| {
        let said = site.wachter(&["exec", "hello"]);
        assert_eq!(said.code, 3, "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    };
    // The host is none of the recipients any more.
    let other = site.json(&["secret", "identity", &site.path("other").display().to_string()]);
    site.ok(&["trust", "add-recipient", "web-2", other["recipient"].as_str().unwrap()]);
    site.ok(&["trust", "remove-recipient", "web-1"]);
    let rotated = site.json(&["secret", "rotate"]);
    assert_eq!(rotated, json!({ "rotated": ["password"], "recipients": ["web-2"] }));
    site.release();
    site.ok(&["sync"]);
    refused("the secret `password` cannot be opened here: it is encrypted to others");
    // It cannot be rotated by who cannot open it.
    let said = site.wachter(&["secret", "rotate"]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stderr.contains("config/secrets/password.age"), "{}", said.stderr);
    let own = site.ok(&["secret", "identity"]);
    site.ok(&["trust", "add-recipient", "web-1", own.trim()]);
    site.ok(&["secret", "rotate", "--identity", &site.path("other").display().to_string()]);
    let listed = site.json(&["secret", "list"]);
    assert_eq!(
        listed,
        json!([{
            "name": "password", "file": "config/secrets/password.age",
            "recipients": 2, "trusted": 2, "asked_by": ["hello"],
        }])
    );
    site.release();
    site.ok(&["sync"]);
    assert_eq!(site.json(&["exec", "hello"])["outcome"], "succeeded");
    // A file under another's name.
    site.run_with_input(&["secret", "set", "other"], "something else");
    fs::copy(
        site.path("infra/config/secrets/other.age"),
        site.path("infra/config/secrets/password.age"),
    )
    .unwrap();
    site.release();
    site.ok(&["sync"]);
    refused("the file of the secret `password` is another's: it holds the secret `other`");
    // What is gone from the release goes from the node.
    fs::remove_file(site.path("infra/config/secrets/other.age")).unwrap();
    site.release();
    site.ok(&["sync"]);
    assert!(!site.path("data/secrets/other.age").exists());
}

#[test]
fn authors_are_told_what_is_missing() {
    let site = Site::new();
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let said = site.wachter(arguments);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.code, code, "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    };
    fails(&["secret", "set", "password"], 3, "names no recipient");
    fails(&["secret", "set", "No Name"], 2, "is not a name");
    fails(&["secret", "rotate"], 3, "names no recipient");
    fails(&["trust", "add-recipient", "web-1", "ssh-ed25519"], 2, "is no age recipient");
    fails(&["trust", "remove-recipient", "web-1"], 2, "no recipient is called `web-1`");
    let own = site.ok(&["secret", "identity"]);
    site.ok(&["trust", "add-recipient", "web-1", own.trim()]);
    fails(&["trust", "add-recipient", "web-2", own.trim()], 2, "`web-1` has this key already");
    fails(&["secret", "set", "password"], 2, "the value is empty");
    fails(&["secret", "set", "password", "--file", "/nonexistent"], 1, "cannot read /nonexistent");
    fails(&["secret", "rotate"], 2, "--identity");
    let large = site.path("large").display().to_string();
    fs::write(&large, "x".repeat(65_537)).unwrap();
    fails(&["secret", "set", "password", "--file", &large], 2, "more than 65536 bytes");
    // A manifest asks for what is not there.
    site.write("modules/hello/module.yaml", &MANIFEST.replace("FOLDER", "/srv"));
    let missing = "modules/hello/module.yaml: it asks for the secret `password`, and \
                   config/secrets/password.age is missing; make it with `wachter secret set password`";
    fails(&["check"], 3, missing);
    assert_eq!(site.json(&["secret", "list"])[0]["file"], serde_json::Value::Null);
    site.ok(&["sign", "--all"]);
    site.git(&["add", "-A"]);
    site.git(&["commit", "-q", "-m", "Ask"]);
    fails(&["release", "--yes"], 3, missing);
    site.run_with_input(&["secret", "set", "password"], "hunter2\n");
    site.ok(&["check"]);
    let said = site.wachter_from(&["secret", "set", "password"], {
        fs::write(site.path("input"), "short\n").unwrap();
        fs::File::open(site.path("input")).unwrap()
    });
    assert!(
        said.stderr.contains("the value ends with a line feed, which is kept"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("fewer than 8 bytes"), "{}", said.stderr);
}
