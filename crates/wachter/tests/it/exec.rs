//! `wachter exec` and `wachter module`, as a person would use them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// An empty home.
struct Home(TempDir);

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn wachter(&self, arguments: &[&str]) -> Said {
        let output = Command::new(wachter_testkit::executable("wachter"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path())
            .env("WACHTER_LOCAL_FILE", self.path().join("node.yaml"))
            .current_dir(self.path())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A module that is this shell script.
    fn module(&self, manifest: &str, script: &str) {
        let folder = self.path().join("sample");
        fs::create_dir(&folder).unwrap();
        let text = format!(
            "name: sample\nversion: 1.0.0\nruntime: {{ kind: process, entrypoint: run }}\n{manifest}\n"
        );
        fs::write(folder.join("module.yaml"), text).unwrap();
        fs::write(folder.join("run"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn every_template_passes_its_own_test() {
    for language in ["shell", "python"] {
        let home = Home::new();
        let made = home.wachter(&["module", "new", "sample", "--language", language]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        let tested = home.wachter(&["module", "test", "sample"]);
        assert_eq!(
            (tested.code, tested.stdout.as_str()),
            (0, "ok      dry run\nok      run\nok      run again\n"),
            "{}",
            tested.stderr
        );
        let again = home.wachter(&["module", "new", "sample"]);
        assert_eq!(again.code, 1);
        assert!(again.stderr.contains("sample exists; choose another name"), "{}", again.stderr);
    }
}

/// With clang and a C library for WASI, as Debian has them.
#[test]
fn the_template_in_c_passes_its_own_test() {
    let home = Home::new();
    let made = home.wachter(&["module", "new", "sample", "--language", "c"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(made.stderr.contains("build it: sample/build.sh\n"), "{}", made.stderr);
    let build = |more: &[&str]| {
        let script = home.path().join("sample/build.sh");
        Command::new(script).args(more).env("PATH", path()).output().unwrap()
    };
    if !can_compile(home.path()) {
        say_skipped();
        return;
    }
    let built = build(&["-Werror", "-Wconversion", "-Wno-sign-conversion"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let tested =
        home.wachter(&["module", "test", "sample", "--input", "greeting=Grüß \"dich\"\n\u{1f980}"]);
    assert_eq!(
        (tested.code, tested.stdout.as_str()),
        (0, "ok      dry run\nok      run\nok      run again\n"),
        "{}",
        tested.stderr
    );
    let said =
        home.wachter(&["exec", "./sample", "--output", "json", "--input", "greeting=ä\t\u{1f980}"]);
    let record: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(record["message"], "ä\t\u{1f980}", "{}", said.stderr);
    assert_eq!(record["output"]["count"], 1);
    let wrong = home.path().join("sample/main.c");
    let text = fs::read_to_string(&wrong).unwrap();
    let text = text.replace("wachter_begin();", "wachter_begin(); abort();");
    fs::write(&wrong, text).unwrap();
    assert!(build(&[]).status.success());
    let said = home.wachter(&["exec", "./sample"]);
    assert_eq!(said.code, 4);
    assert!(said.stderr.contains("the module stopped in abort, called by "), "{}", said.stderr);
}

/// Whether there is a compiler for WASI here, and all that it needs.
fn can_compile(folder: &Path) -> bool {
    let (source, target) = (folder.join("probe.c"), folder.join("probe.wasm"));
    fs::write(&source, "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n").unwrap();
    let compiled = Command::new("clang")
        .args(["--target=wasm32-wasi", "-O2", "-o"])
        .args([target, source])
        .env("PATH", path())
        .output();
    compiled.is_ok_and(|compiled| compiled.status.success())
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())
}

/// A test that prints is hidden by its runner unless it fails; this is for who asks.
#[allow(clippy::print_stderr, reason = "a test has no other place to say that it did nothing")]
fn say_skipped() {
    eprintln!("left out: no clang with a C library for WASI; see scripts/debian-packages.txt");
}

#[test]
fn input_that_the_schema_does_not_allow_is_refused_before_a_run() {
    let home = Home::new();
    home.module("input: { $ref: input.schema.json }", "echo '{\"result\": {}}'");
    let schema = r#"{ "properties": { "count": { "type": "integer" } }, "required": ["path"] }"#;
    fs::write(home.path().join("sample/input.schema.json"), schema).unwrap();
    for command in [vec!["exec", "./sample"], vec!["module", "test", "sample"]] {
        let refused = home.wachter(&[&command[..], &["--input", "count=many"]].concat());
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        for fault in ["$.count: the module does not take this", "$: the key `path` is missing"] {
            assert!(refused.stderr.contains(fault), "{}", refused.stderr);
        }
    }
    let taken = home.wachter(&["exec", "./sample", "--input", "path=/srv"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    fs::write(home.path().join("sample/input.schema.json"), "{ no schema").unwrap();
    let taken = home.wachter(&["exec", "./sample", "--input", "count=many"]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    assert!(taken.stderr.contains("was not checked"), "{}", taken.stderr);
}

#[test]
fn input_goes_in_and_the_record_comes_out() {
    let home = Home::new();
    home.module("", r#"read -r request; case $request in *'"input":{"a":1,"b":"text"}'*) echo '{"result": {"output": {"seen": true}}}' ;; esac"#);
    let said = home
        .wachter(&["exec", "./sample", "--input", "a=1", "--input", "b=text", "--output", "json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let record: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(record["outcome"], "succeeded");
    assert_eq!(record["output"]["seen"], true);
    assert_eq!(record["cause"], "ad-hoc");
}

#[test]
fn each_kind_of_end_has_its_exit_code() {
    for (manifest, script, code, words) in [
        ("", "exit 7", 4, "the module ended with exit code 7"),
        ("", "true", 4, "the module ended without a `result`"),
        ("", "echo hello", 4, "line 1 of the output was refused: a line is not a message"),
        (
            "",
            r#"echo '{"result": {"outcome": "failed", "message": "no disk"}}'"#,
            4,
            "the module failed: no disk",
        ),
        ("limits: { timeout: 300ms }", "while :; do :; done", 4, "took longer than its time limit"),
        (
            "limits: { memory: 100GiB }",
            "true",
            3,
            "asks for too much: limits: memory 100GiB (allowed: 1GiB)",
        ),
        (
            "emits: []",
            r#"echo '{"event": {"type": "a.b"}}'; echo '{"result": {}}'"#,
            4,
            "the module emitted `a.b`",
        ),
        ("surprise: 1", "true", 1, "unknown key `surprise`"),
        ("protocol: 2", "true", 1, "speaks module protocol 2, this build speaks 1"),
        (
            "permissions: { filesystem: { read: [/no/such/folder] } }",
            "true",
            3,
            "cannot open /no/such/folder",
        ),
        (
            "permissions: { filesystem: { read: [/run/docker.sock] } }",
            "true",
            3,
            "can never be granted",
        ),
    ] {
        let home = Home::new();
        home.module(manifest, script);
        let said = home.wachter(&["exec", "./sample"]);
        assert_eq!(said.code, code, "{manifest} {script}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{manifest} {script}: {}", said.stderr);
    }
}

#[test]
fn a_host_whose_owner_says_no_runs_nothing_unsigned() {
    let home = Home::new();
    home.module("", r#"echo '{"result": {}}'"#);
    assert_eq!(home.wachter(&["exec", "./sample"]).code, 0);
    let local = "version: 1\nrepository: { url: /srv/git, id: 6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11 }\nroots: { threshold: 1, keys: [ssh-ed25519 AAAA root] }\n";
    fs::write(home.path().join("node.yaml"), local).unwrap();
    let said = home.wachter(&["exec", "./sample"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("does not allow `confinement.development`"), "{}", said.stderr);
}

#[test]
fn the_doctor_names_every_mechanism_and_profile() {
    let said = Home::new().wachter(&["doctor", "--output", "json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    for profile in ["root", "delegated", "unprivileged", "no-namespaces"] {
        let profile = &told["profiles"][profile];
        let mechanisms = profile["mechanisms"].as_object().map_or(0, serde_json::Map::len);
        assert!(mechanisms == 11 || profile["reason"].is_string(), "{profile}");
    }
    // Every kernel that these tests run on has it.
    assert_eq!(told["profiles"]["no-namespaces"]["mechanisms"]["seccomp"], "enforced");
}
