//! Modules in WebAssembly, as the launcher has them compiled and run, without the jail around them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use wachter_testkit::Wasm;

/// A module in a folder, and what it is run with.
struct Bench {
    folder: TempDir,
    arguments: Vec<String>,
}

impl Bench {
    fn new(module: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("main.wasm"), module).unwrap();
        Self { folder, arguments: vec!["--memory".into(), (64 << 20).to_string()] }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    fn compile(&self) -> Output {
        call("wasi-compile", &[self.path("main.wasm").display().to_string()], b"")
    }

    /// Runs it, compiled before and compiled then, and gives what was the same both times.
    fn run(&self, request: &str) -> (Option<i32>, String, String) {
        let compiled = self.compile();
        assert!(compiled.status.success(), "{compiled:?}");
        fs::write(self.path("code"), &compiled.stdout).unwrap();
        let code = ["--code".to_owned(), self.path("code").display().to_string()];
        let [kept, fresh] = [&code[..], &[]].map(|code| {
            let module = [self.path("main.wasm").display().to_string()];
            let arguments = [&self.arguments[..], code, &module].concat();
            let Output { status, stdout, stderr } = call("wasi", &arguments, request.as_bytes());
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (status.code(), text(stdout), text(stderr))
        });
        assert_eq!(kept, fresh);
        kept
    }
}

fn call(name: &str, arguments: &[String], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wachter-modules"))
        .arg(name)
        .args(arguments)
        .env("WACHTER_TEST", "not for modules")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// The failed result that a run ended with.
fn failure(module: &[u8]) -> String {
    let (code, stdout, _) = Bench::new(module).run("{}");
    assert_eq!(code, Some(1), "{stdout}");
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(result["result"]["outcome"], "failed");
    result["result"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn both_kinds_read_the_request_and_say_their_result() {
    let request = json!({ "input": "x".repeat(100_000), "state": ["ä", 1] });
    for module in [Wasm::echo(), Wasm::component()] {
        let (code, stdout, stderr) = Bench::new(&module).run(&request.to_string());
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let result: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(result["result"]["output"], request);
    }
}

#[test]
fn exit_codes_are_the_modules_own() {
    for (code, expected) in [(0, 0), (3, 3), (125, 125)] {
        let (found, stdout, _) = Bench::new(&Wasm::exiting(code)).run("{}");
        assert_eq!((found, stdout.as_str()), (Some(expected), ""));
    }
}

#[test]
fn folders_are_open_as_granted_and_nothing_else_is() {
    let data = tempfile::tempdir().unwrap();
    let path = |name: &str| data.path().join(name);
    for folder in ["read", "write"] {
        fs::create_dir(path(folder)).unwrap();
        fs::write(path(folder).join("file"), "text").unwrap();
    }
    fs::write(path("outside"), "secret").unwrap();
    std::os::unix::fs::symlink("../outside", path("read").join("link")).unwrap();
    std::os::unix::fs::symlink(path("outside"), path("write").join("link")).unwrap();
    // The first folder has descriptor 3 (WASI preview 1).
    let (read, write) = (3, 4);
    const OPENED: &[u32] = &[0];
    const NO_SUCH_FILE: &[u32] = &[44];
    const BAD_DESCRIPTOR: &[u32] = &[8];
    // Not permitted, or a read-only file system.
    const NOT_PERMITTED: &[u32] = &[63, 69];
    let attempts = [
        ((read, "file", false), OPENED),
        ((read, "none", false), NO_SUCH_FILE),
        ((read, "new", true), NOT_PERMITTED),
        ((read, "../outside", false), NOT_PERMITTED),
        ((read, "../write/file", false), NOT_PERMITTED),
        ((read, "link", false), NOT_PERMITTED),
        ((read, "link/", false), NOT_PERMITTED),
        ((read, "/etc/hostname", false), NOT_PERMITTED),
        ((write, "file", false), OPENED),
        ((write, "new", true), OPENED),
        ((write, "link", true), NOT_PERMITTED),
        ((write, "../outside", true), NOT_PERMITTED),
        ((99, "file", false), BAD_DESCRIPTOR),
    ];
    let module = Wasm::opening(&attempts.map(|(attempt, _)| attempt));
    let at = |name: &str| path(name).display().to_string();
    let bench = Bench::new(&module).with(&["--read", "/a", &at("read")]);
    let bench = bench.with(&["--write", "/b", &at("write")]);
    let (_, stdout, stderr) = bench.run("{}");
    let result: Value = serde_json::from_str(&stdout).unwrap();
    let found = result["result"]["output"].as_array().unwrap();
    for ((attempt, expected), found) in attempts.iter().zip(found) {
        let found = u32::try_from(found.as_u64().unwrap()).unwrap();
        assert!(expected.contains(&found), "{attempt:?}: {found} {stderr}");
    }
    assert!(path("write").join("new").exists());
    assert!(!path("read").join("new").exists());
    assert_eq!(fs::read_to_string(path("outside")).unwrap(), "secret");
}

#[test]
fn there_are_no_sockets() {
    const ACCESS_DENIED: u32 = 2;
    let (code, stdout, stderr) = Bench::new(&Wasm::socket()).run("{}");
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let result: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(result["result"]["output"], ACCESS_DENIED);
}

#[test]
fn memory_ends_at_its_limit() {
    let (code, stdout, _) = Bench::new(&Wasm::greedy(false)).run("{}");
    // Of 64 MiB it has four pages to begin with.
    assert_eq!((code, stdout.trim()), (Some(0), r#"{"result":{"output":63}}"#));
    let message = failure(&Wasm::greedy(true));
    for part in ["no more than 67108864 bytes", "`limits.memory`", "in want, called by _start"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_stops_a_module_is_said() {
    for (module, expected) in [
        (
            Wasm::trapping(),
            "the module stopped in divide, called by main, called by _start: wasm trap: integer divide by zero",
        ),
        (Wasm::component_without_run(), "the module is no command of WASI preview 1 or 0.2"),
        (b"\0asm\x01\0\0\0".to_vec(), "the module is no command of WASI preview 1 or 0.2"),
    ] {
        let message = failure(&module);
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_module_that_does_not_end_is_interrupted() {
    let bench = Bench::new(&Wasm::endless()).with(&["--timeout", "600"]);
    let module = bench.path("main.wasm").display().to_string();
    let begun = Instant::now();
    let output = call("wasi", &[&bench.arguments[..], &[module]].concat(), b"{}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "at its deadline the module was in spin, called by main, called by _start\n");
    // Nobody ended it from outside.
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_is_no_module_is_not_compiled() {
    let echo = Wasm::echo();
    for (bytes, expected) in [
        (&b"#!/bin/sh\n"[..], "the entrypoint is not WebAssembly"),
        (&echo[..echo.len() / 2], "the module cannot be compiled"),
        (b"", "the entrypoint is not WebAssembly"),
    ] {
        let bench = Bench::new(bytes);
        let output = bench.compile();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(expected), "{said}");
        assert!(failure_uncompiled(&bench).starts_with(expected));
    }
    let missing = call("wasi-compile", &[Path::new("/nowhere").display().to_string()], b"");
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("cannot read /nowhere: "));
    assert_eq!(call("wasi", &["--memory".into()], b"").status.code(), Some(64));
    assert_eq!(call("wasi-compile", &[], b"").status.code(), Some(64));
}

fn failure_uncompiled(bench: &Bench) -> String {
    let module = bench.path("main.wasm").display().to_string();
    let output = call("wasi", &[&bench.arguments[..], &[module]].concat(), b"{}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    result["result"]["message"].as_str().unwrap().to_owned()
}
