use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use wachter_module::Harness;
use wachter_module::protocol::module::{Message, parse_line};

/// What a process did with a request.
pub(crate) struct Ended {
    pub(crate) messages: Vec<Message>,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Ended {
    /// The last message, as JSON.
    pub(crate) fn result(&self) -> serde_json::Value {
        match self.messages.last() {
            Some(Message::Result(result)) => json!(result),
            other => panic!("the last message is {other:?}; stderr: {}", self.stderr),
        }
    }
}

/// Starts a program, hands it a request, and reads every line as a node does.
pub(crate) fn ask(command: &mut Command, request: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let request = request.to_owned();
    let writer = std::thread::spawn(move || {
        // A program may end without reading.
        let _ = stdin.write_all(request.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let messages: Vec<Message> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let text = String::from_utf8_lossy(line).into_owned();
            parse_line(line).unwrap_or_else(|error| panic!("{text}: {error}; stderr: {stderr}"))
        })
        .collect();
    let results = messages.iter().filter(|message| matches!(message, Message::Result(_))).count();
    assert_eq!(results, 1, "{messages:?}; stderr: {stderr}");
    Ended { messages, code: output.status.code(), stderr }
}

/// An example, which is built beside this test.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let target = this.parent().and_then(Path::parent).unwrap();
    target.join("examples").join(name)
}

fn stray() -> PathBuf {
    example("stray")
}

#[test]
fn a_stray_print_goes_to_the_log() {
    let request = Harness::new().input(json!({ "print": true })).request_text();
    let ended = ask(&mut Command::new(stray()), &request);
    assert_eq!(ended.messages.len(), 1);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("not a message"), "{}", ended.stderr);
}

#[test]
fn exit_codes_repeat_the_result() {
    for (input, code, expected) in [
        (json!({}), 0, "succeeded"),
        (json!({ "panic": true }), 1, "stray.rs:"),
        (json!({ "unknown": 1 }), 1, "unknown field `unknown`"),
    ] {
        let ended = ask(&mut Command::new(stray()), &Harness::new().input(input).request_text());
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.result().to_string().contains(expected), "{}", ended.result());
    }
    let ended = ask(&mut Command::new(stray()), r#"{"protocol": 2}"#);
    assert_eq!((ended.code, &ended.result()["outcome"]), (Some(2), &json!("refused")));
}

/// Hands a program a request, reads a little and goes away; says how the program ended, and what it
/// wrote to stderr.
pub(crate) fn abandon(command: &mut Command, request: &str) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), stderr)
}

#[test]
fn a_node_that_goes_away_ends_the_run_without_a_panic() {
    // Far more than a pipe holds, so that the program finds its reader gone.
    let request = Harness::new().input(json!({ "talk": 100_000 })).request_text();
    assert_eq!(abandon(&mut Command::new(stray()), &request), (Some(3), String::new()));
}
