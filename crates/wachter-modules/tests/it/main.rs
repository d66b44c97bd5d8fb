//! The executable as a node starts it.
#![allow(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod log_analyzer_kills;
mod real_leak;
mod wasi;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use wachter_module::Harness;
use wachter_module::host::Memory;
use wachter_module::protocol::module::{Message, parse_line};

fn modules(arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wachter-modules"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_list_is_json() {
    let output = modules(&["--list"], "");
    assert!(output.status.success());
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = list.as_array().unwrap();
    let monitor = list.iter().find(|module| module["name"] == "system-monitor").unwrap();
    assert_eq!(monitor["manifest"]["capabilities"][0], "system.monitor");
    assert_eq!(monitor["input_schema"]["type"], "object");
}

#[test]
fn a_module_answers_a_request() {
    let memory = Memory { total_bytes: 100, available_bytes: 1, ..Memory::default() };
    let request = Harness::new().host(&memory).request_text();
    let output = modules(&["system-monitor"], &request);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages: Vec<Message> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| parse_line(line).unwrap())
        .collect();
    assert!(
        matches!(&messages[0], Message::Finding(finding) if finding.kind.as_str() == "memory.low")
    );
    assert!(matches!(messages.last(), Some(Message::Result(_))));
}

#[test]
fn an_unknown_module_is_a_usage_error() {
    let output = modules(&["sytem-monitor"], "{}");
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("there is no module `sytem-monitor`; known modules are "), "{told}");
}
