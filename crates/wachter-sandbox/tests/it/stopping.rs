//! What this side does to end a run, seen from a launcher that does only what a test has it do.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wachter_protocol::Python;
use wachter_sandbox::{
    BuildFailure, BuildOrder, BuildVerdict, Failure, Launcher, OutputError, RunOrder, Verdict,
    build_environment, carry_out,
};

use crate::bench::Bench;
use crate::protocol::pretender_that;

/// A launcher at the end of a socket, played by a test.
struct StandIn {
    heard: mpsc::UnboundedReceiver<Value>,
    socket: OwnedFd,
}

impl StandIn {
    async fn open(folder: &Path) -> (Launcher, Self) {
        let (hear, heard) = mpsc::unbounded_channel();
        let (give, given) = tokio::sync::oneshot::channel();
        let hello = json!({ "hello": {
            "protocol": 2, "version": "1.0.0", "profile": "root", "mechanisms": {},
        } });
        let options = pretender_that(folder, hello, move |socket| {
            let _ = give.send(socket.try_clone().unwrap());
            while let Ok((request, _)) = wachter_packet::receive::<Value>(&socket) {
                let _ = hear.send(request);
            }
        });
        let launcher = Launcher::open(&options).await.unwrap();
        (launcher, Self { heard, socket: given.await.unwrap() })
    }

    /// The next request, which a node must make within a second.
    async fn request(&mut self) -> Value {
        let within = Duration::from_secs(1);
        tokio::time::timeout(within, self.heard.recv()).await.expect("nothing is asked").unwrap()
    }

    fn say(&self, words: &Value) {
        wachter_packet::send(&self.socket, words, &[]).unwrap();
    }

    /// Begins a run, and gives the ends of its pipes that would be the module's.
    fn begin(&self, run: &Value) -> [OwnedFd; 3] {
        let (stdin, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let (output, stdout) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let (log, stderr) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let launched = json!({ "launched": { "run": run, "listeners": [] } });
        let descriptors = [input.as_fd(), output.as_fd(), log.as_fd()];
        wachter_packet::send(&self.socket, &launched, &descriptors).unwrap();
        [stdin, stdout, stderr]
    }

    fn end(&self, run: &Value, end: &Value) {
        let usage =
            json!({ "wall_microseconds": 0, "cpu_microseconds": 0, "peak_memory_bytes": 0 });
        self.say(&json!({ "exited": { "run": run, "end": end, "usage": usage } }));
    }
}

fn stop(run: &Value, at_once: bool, reason: &str) -> Value {
    json!({ "stop": { "run": run, "at_once": at_once, "reason": reason } })
}

fn order() -> RunOrder {
    Bench::shell("limits: { output: 4KiB }", "").order()
}

#[tokio::test]
async fn a_module_that_does_not_read_is_ended_for_what_it_writes() {
    let floods: [(Vec<u8>, &str); 2] =
        [(vec![b'\n'; 5_000], "output"), (b"hello\n".to_vec(), "protocol")];
    for (said, reason) in floods {
        let folder = tempfile::tempdir().unwrap();
        let (launcher, mut stand_in) = StandIn::open(folder.path()).await;
        let mut order = order();
        // Far more than a pipe holds.
        order.request.input = "x".repeat(1 << 20).into();
        let cancel = CancellationToken::new();
        let play = async {
            let run = stand_in.request().await["launch"]["run"].clone();
            // It has its end of stdin for as long as it lives, as a module that ignores SIGPIPE.
            let [_stdin, stdout, stderr] = stand_in.begin(&run);
            rustix::io::write(&stdout, &said).unwrap();
            assert_eq!(stand_in.request().await, stop(&run, true, reason));
            drop((stdout, stderr));
            stand_in.end(&run, &json!({ "stopped": reason }));
        };
        let (report, ()) = tokio::join!(carry_out(&launcher, order, &cancel, |_| {}), play);
        let verdict = report.unwrap().verdict;
        let as_expected = match &verdict {
            Verdict::Failed(Failure::Output(OutputError::TooMuch)) => reason == "output",
            Verdict::Failed(Failure::Output(OutputError::Message { line: 1, .. })) => {
                reason == "protocol"
            }
            _ => false,
        };
        assert!(as_expected, "{reason}: {verdict:?}");
    }
}

/// Cancels a run that was asked for, and says which.
async fn cancel_before_it_begins(stand_in: &mut StandIn, cancel: &CancellationToken) -> Value {
    let run = stand_in.request().await["launch"]["run"].clone();
    cancel.cancel();
    assert_eq!(stand_in.request().await, stop(&run, true, "cancelled"));
    run
}

#[tokio::test]
async fn a_run_that_has_not_begun_is_cancelled_too() {
    let folder = tempfile::tempdir().unwrap();
    let (launcher, mut stand_in) = StandIn::open(folder.path()).await;
    let cancel = CancellationToken::new();
    let play = async {
        let run = cancel_before_it_begins(&mut stand_in, &cancel).await;
        stand_in.say(&json!({ "refused": { "run": run, "kind": "setup", "reason": "ended" } }));
    };
    let (report, ()) = tokio::join!(carry_out(&launcher, order(), &cancel, |_| {}), play);
    assert_eq!(report.unwrap().verdict, Verdict::Cancelled);
    // What is cancelled before it is asked for is not asked for.
    let report = carry_out(&launcher, order(), &cancel, |_| {}).await.unwrap();
    assert_eq!(report.verdict, Verdict::Cancelled);
    assert!(stand_in.heard.try_recv().is_err());
}

#[tokio::test]
async fn a_run_that_begins_although_it_was_cancelled_is_seen_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (launcher, mut stand_in) = StandIn::open(folder.path()).await;
    let cancel = CancellationToken::new();
    let play = async {
        let run = cancel_before_it_begins(&mut stand_in, &cancel).await;
        drop(stand_in.begin(&run));
        stand_in.end(&run, &json!({ "stopped": "cancelled" }));
    };
    let (report, ()) = tokio::join!(carry_out(&launcher, order(), &cancel, |_| {}), play);
    assert_eq!(report.unwrap().verdict, Verdict::Cancelled);
    assert!(stand_in.heard.try_recv().is_err(), "it is stopped once");
}

#[tokio::test]
async fn a_launcher_that_never_answers_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (launcher, mut stand_in) = StandIn::open(folder.path()).await;
    let cancel = CancellationToken::new();
    let run = order();
    let build = BuildOrder {
        run: wachter_model::RunId::new(),
        module: run.module.clone(),
        digest: run.digest,
        python: Python::default(),
    };
    let play = async {
        let asked = [stand_in.request().await, stand_in.request().await];
        let run = asked.iter().find_map(|asked| asked["launch"].get("run")).unwrap();
        let build = asked.iter().find_map(|asked| asked["build"].get("run")).unwrap();
        cancel.cancel();
        let mut stopped = [stand_in.request().await, stand_in.request().await];
        let mut expected = [run, build].map(|run| stop(run, true, "cancelled"));
        for stops in [&mut stopped, &mut expected] {
            stops.sort_by_key(ToString::to_string);
        }
        assert_eq!(stopped, expected);
        // From here on time passes as fast as it is waited for.
        tokio::time::pause();
        run.clone()
    };
    let (run, build, name) = tokio::join!(
        carry_out(&launcher, run, &cancel, |_| {}),
        build_environment(&launcher, build, &cancel, |_| {}),
        play
    );
    assert_eq!(run.unwrap().verdict, Verdict::Cancelled);
    assert_eq!(build.unwrap().verdict, BuildVerdict::Failed(BuildFailure::Stopped));
    tokio::time::resume();
    // What it begins all the same, nobody has any use for.
    drop(stand_in.begin(&name));
    assert_eq!(stand_in.request().await, stop(&name, true, "cancelled"));
}
