//! Neither side takes the other's future for its present.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use wachter_sandbox::{Launcher, LauncherError, LauncherOptions, Verdict};

use crate::bench::{Bench, carry_out_with, profiles};

/// A socket at which something that is no launcher says `words` to whoever connects, and stays.
fn pretender(folder: &std::path::Path, words: Value) -> LauncherOptions {
    pretender_that(folder, words, |client| {
        // Until the node has had enough.
        let _ = wachter_packet::receive::<Value>(&client);
    })
}

/// One that goes on as told.
pub(crate) fn pretender_that(
    folder: &std::path::Path,
    words: Value,
    goes_on: impl FnOnce(OwnedFd) + Send + 'static,
) -> LauncherOptions {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let path = folder.join("socket");
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    std::thread::spawn(move || {
        let client = rustix::net::accept(&socket).unwrap();
        wachter_packet::send(&client, &words, &[]).unwrap();
        goes_on(client);
    });
    LauncherOptions::Connect { socket: path }
}

#[tokio::test]
async fn a_launcher_of_another_version_is_named_and_not_waited_for() {
    type Expected = fn(&LauncherError) -> bool;
    let newer = |protocol: u64| {
        // With a profile, a mechanism and a field that nobody knows yet.
        json!({ "hello": {
            "protocol": protocol, "version": "9.0.0", "profile": "enclave",
            "mechanisms": { "memory-tagging": "enforced" }, "attestation": "abc",
        } })
    };
    let of_another: Expected = |error| matches!(error, LauncherError::Protocol { found: 3 });
    let no_launcher: Expected = |error| matches!(error, LauncherError::Ended(reason) if reason.contains("did not introduce itself"));
    let cases: [(Value, Expected); 6] = [
        (newer(3), of_another),
        (newer(2), no_launcher),
        (json!({ "hello": { "protocol": "two" } }), no_launcher),
        (json!({ "hello": { "protocol": u64::MAX } }), no_launcher),
        (json!({ "greetings": 2 }), no_launcher),
        (json!([]), no_launcher),
    ];
    for (words, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let options = pretender(folder.path(), words.clone());
        let opened = tokio::time::timeout(Duration::from_secs(20), Launcher::open(&options)).await;
        let error = opened.expect("a node waits for good").unwrap_err();
        assert!(expected(&error), "{words}: {error:?}");
    }
}

/// The hello of a real launcher, and our side of the connection.
fn open(
    bench: &Bench,
    profile: wachter_protocol::Profile,
) -> (OwnedFd, std::process::Child, Value) {
    let LauncherOptions::Spawn { program, arguments } = bench.options(profile) else {
        unreachable!()
    };
    let (ours, theirs) = wachter_packet::pair().unwrap();
    let child = Command::new(program)
        .args(arguments)
        .arg("--connected")
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let hello = wachter_packet::receive::<Value>(&ours).unwrap().0;
    (ours, child, hello)
}

#[tokio::test]
async fn a_launcher_passes_over_what_a_newer_node_asks_for() {
    for profile in profiles() {
        let bench = Bench::shell("", r#"echo '{"result": {}}'"#);
        let (socket, child, hello) = open(&bench, profile);
        // What a newer node would see first, and stop at.
        assert_eq!(hello["hello"]["protocol"], 2, "{profile}: {hello}");
        let order = bench.order();
        let launch = |more: Value| {
            let mut launch = json!({
                "run": wachter_model::RunId::new(), "name": order.module, "module": order.digest,
                "grant": order.grant.id(), "dry_run": false, "timeout": "10s",
            });
            launch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "launch": launch })
        };
        let future = [
            launch(json!({ "enclave": true })),
            launch(json!({ "run": 7 })),
            json!({ "protocol": 2 }),
            json!({ "suspend": { "run": wachter_model::RunId::new() } }),
            json!({ "stop": { "run": wachter_model::RunId::new(), "at_once": true, "reason": "boredom" } }),
            json!("reboot"),
            json!(null),
        ];
        for request in &future {
            wachter_packet::send(socket.as_fd(), request, &[]).unwrap();
        }
        // It answers none of them, and the next that it understands.
        let known = launch(json!({}));
        wachter_packet::send(socket.as_fd(), &known, &[]).unwrap();
        let (answer, descriptors) = wachter_packet::receive::<Value>(socket.as_fd()).unwrap();
        assert_eq!(answer["launched"]["run"], known["launch"]["run"], "{profile}: {answer}");
        assert_eq!(descriptors.len(), 3, "{profile}");
        drop((descriptors, socket));
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        let passed_over = log.matches("a request was not understood").count();
        assert_eq!(passed_over, future.len(), "{profile}: {log}");
    }
}

#[tokio::test]
async fn a_module_of_a_newer_protocol_is_told_apart_from_a_broken_one() {
    let newer = [
        (r#"{"prophecy": {}}"#, "unknown message `prophecy`; this node speaks module protocol 1"),
        (r#"{"log": {"level": "info", "message": "x", "span": 7}}"#, "unknown field `span`"),
        (r#"{"result": {"changed": false, "undo": {}}}"#, "unknown field `undo`"),
    ];
    for profile in profiles() {
        for (line, words) in newer {
            let bench = Bench::shell("", &format!("echo '{line}'"));
            let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
            let (report, _) = carry_out_with(&launcher, bench.order()).await;
            let Verdict::Failed(failure) = &report.verdict else {
                panic!("{profile}: {line}: {:?}", report.verdict)
            };
            let said = chain(failure);
            assert!(said.contains(words), "{profile}: {line}: {said}");
            assert!(report.result.is_none() && report.events.is_empty(), "{profile}: {line}");
        }
    }
}

/// What an operator reads.
fn chain(failure: &wachter_sandbox::Failure) -> String {
    let mut text = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
