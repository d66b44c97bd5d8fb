//! What a run does and does not, from begin to end.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, RunId};
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::module::{MAX_LINE, MessageError};
use wachter_protocol::{Manifest, Profile};
use wachter_sandbox::{Failure, Launcher, OutputError, RunReport, Verdict, carry_out};

use crate::bench::{Bench, carry_out_until, carry_out_with, profiles};
use crate::processes::{descendants, marked, wait_until};

/// One run of a script under each profile, and what is said of it.
async fn check(manifest: &str, script: &str, expected: impl Fn(&RunReport) -> bool) {
    let bench = Bench::shell(manifest, script);
    for profile in profiles() {
        let (report, log) = bench.run(profile).await;
        assert!(expected(&report), "{profile}: {script}\n{report:?}\n{log:?}");
        if report.verdict != Verdict::Succeeded {
            let nothing =
                report.events.is_empty() && report.findings.is_empty() && report.metrics.is_empty();
            assert!(nothing, "{profile}: what a failed run emitted was accepted");
        }
    }
}

/// One run of `wachter-attempts` in one of its modes.
async fn misbehave(profile: Profile, manifest: &str, input: serde_json::Value) -> RunReport {
    let program = std::fs::read(wachter_testkit::executable("wachter-attempts")).unwrap();
    let bench = Bench::with(manifest, "attempts", &program);
    let mut order = bench.order();
    order.request.input = input;
    bench.run_order(profile, order).await.0
}

/// What scripts need for `sleep` and the like.
const EXEC: &str = "permissions: { exec: [/usr/bin] }";

fn failed(expected: Failure) -> impl Fn(&RunReport) -> bool {
    move |report| report.verdict == Verdict::Failed(expected.clone())
}

#[tokio::test]
async fn a_module_runs_and_reports() {
    let bench = Bench::shell(
        "emits: [sample.done]",
        r#"
        read -r request
        echo "to the log" >&2
        echo '{"event": {"type": "sample.done", "data": {"n": 1}}}'
        echo '{"result": {"changed": true, "output": {"pid": "'$$'"}}}'
        "#,
    );
    for profile in profiles() {
        let (report, log) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        assert_eq!(report.events.len(), 1);
        assert!(report.result.unwrap().changed);
        assert_eq!(log, ["to the log"]);
        assert!(report.usage.wall_microseconds > 0);
    }
}

#[tokio::test]
async fn exit_codes_and_signals_are_failures() {
    check("", "exit 3", failed(Failure::Exit(3))).await;
    check("", r#"echo '{"result": {}}'; exit 4"#, failed(Failure::Exit(4))).await;
    check("", "exit 0", failed(Failure::NoResult)).await;
    check("", "kill -SEGV $$", failed(Failure::Signal(11))).await;
    check("", r#"echo '{"result": {}}'; kill -KILL $$"#, failed(Failure::Signal(9))).await;
    check(
        "",
        r#"echo '{"result": {"outcome": "failed", "message": "no\u001b[2J"}}'"#,
        failed(Failure::Module("no\\u{1b}[2J".to_owned())),
    )
    .await;
    check("", r#"echo '{"result": {"outcome": "refused", "message": "dry"}}'"#, |report| {
        report.verdict == Verdict::Refused("dry".to_owned())
    })
    .await;
}

#[tokio::test]
async fn output_that_is_no_protocol_ends_the_run() {
    let message = |report: &RunReport, expected: &dyn Fn(&MessageError) -> bool| match &report
        .verdict
    {
        Verdict::Failed(Failure::Output(OutputError::Message { source, .. })) => expected(source),
        _ => false,
    };
    let shape = |error: &MessageError| matches!(error, MessageError::Shape(_));
    // Each would go on for a minute, so the run was ended for what it wrote.
    check(EXEC, "echo hello; sleep 60", |report| message(report, &shape)).await;
    check(EXEC, r#"echo '{"log": {"level": "info"}}'; sleep 60"#, |report| message(report, &shape))
        .await;
    check(EXEC, r#"printf '\377\376\n'; sleep 60"#, |report| {
        message(report, &|error| *error == MessageError::Encoding)
    })
    .await;
    check(EXEC, r#"echo '{"prophecy": {"version": 9}}'; sleep 60"#, |report| {
        message(report, &|error| matches!(error, MessageError::Unknown(kind) if kind == "prophecy"))
    })
    .await;
    let endless = format!("head -c {} /dev/zero | tr '\\0' x; sleep 60", MAX_LINE + 1);
    check(&format!("limits: {{ output: 64MiB }}\n{EXEC}"), &endless, |report| {
        message(report, &|error| *error == MessageError::TooLong)
    })
    .await;
    let after = r#"echo '{"result": {}}'; echo '{"progress": {}}'; sleep 60"#;
    check(EXEC, after, failed(Failure::Output(OutputError::AfterResult))).await;
    let twice = r#"echo '{"result": {}}'; echo '{"result": {}}'; sleep 60"#;
    check(EXEC, twice, failed(Failure::Output(OutputError::AfterResult))).await;
}

#[tokio::test]
async fn floods_end_the_run() {
    let too_much = || failed(Failure::Output(OutputError::TooMuch));
    let limits = "limits: { output: 1MiB }\npermissions: { exec: [/usr/bin] }";
    check(
        limits,
        r#"while :; do echo '{"progress": {"message": "and so on and so on"}}'; done"#,
        too_much(),
    )
    .await;
    check(limits, "while :; do echo 'noise and noise and noise and noise' >&2; done", too_much())
        .await;
    check(limits, "cat /dev/zero >&2", too_much()).await;
}

#[tokio::test]
async fn only_declared_types_are_emitted() {
    let script = r#"echo '{"event": {"type": "sample.other", "data": 1}}'; echo '{"result": {}}'"#;
    check(
        "emits: [sample.done]",
        script,
        failed(Failure::NotDeclared("sample.other".parse().unwrap())),
    )
    .await;
}

#[tokio::test]
async fn a_module_that_does_not_read_is_not_waited_for() {
    let bench = Bench::shell("", r#"echo '{"result": {}}'"#);
    for profile in profiles() {
        let mut order = bench.order();
        order.request.input = json!("x".repeat(4 << 20));
        let (report, log) = bench.run_order(profile, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
    }
}

#[tokio::test]
async fn a_large_request_arrives_whole() {
    let bench = Bench::shell(
        "permissions: { exec: [/usr/bin] }",
        r#"echo '{"result": {"output": '$(wc -c)'}}'"#,
    );
    for profile in profiles() {
        let mut order = bench.order();
        order.request.input = json!("x".repeat(4 << 20));
        let length = serde_json::to_vec(&order.request).unwrap().len();
        let (report, log) = bench.run_order(profile, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        assert_eq!(report.result.unwrap().output, json!(length), "{profile}");
    }
}

#[tokio::test]
async fn the_time_limit_holds_for_all() {
    for profile in profiles() {
        for mode in ["hang", "hang-deaf", "threads-that-spin"] {
            let begin = Instant::now();
            let report =
                misbehave(profile, "limits: { timeout: 1s }", json!({ "mode": mode })).await;
            assert_eq!(report.verdict, Verdict::Failed(Failure::Timeout), "{profile}: {mode}");
            assert!(
                begin.elapsed() < Duration::from_secs(8),
                "{profile}: {mode} took {:?}",
                begin.elapsed()
            );
        }
    }
    check(
        "limits: { timeout: 1s }\npermissions: { exec: [/usr/bin] }",
        r#"echo '{"result": {}}'; exec >&- 2>&-; sleep 60"#,
        failed(Failure::Timeout),
    )
    .await;
    check(
        "limits: { timeout: 1s }\npermissions: { exec: [/usr/bin] }",
        "trap '' TERM; while :; do sleep 1; done",
        failed(Failure::Timeout),
    )
    .await;
}

#[tokio::test]
async fn cancelling_asks_first() {
    let asked = Bench::shell(
        "permissions: { exec: [/usr/bin] }",
        r#"trap 'echo "{\"result\": {}}"; echo "asked" >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done"#,
    );
    let deaf = Bench::shell(
        "permissions: { exec: [/usr/bin] }",
        "trap '' TERM; echo ready >&2; while :; do sleep 1; done",
    );
    for profile in profiles() {
        for (bench, hears) in [(&asked, true), (&deaf, false)] {
            let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
            let cancel = CancellationToken::new();
            let begin = Instant::now();
            let mut log = Vec::new();
            let run = carry_out(&launcher, bench.order(), &cancel, |update| {
                if let wachter_sandbox::Update::Log(line) = update {
                    // It has begun, and set its trap.
                    cancel.cancel();
                    log.push(line.message);
                }
            });
            let report = run.await.unwrap();
            assert_eq!(report.verdict, Verdict::Cancelled, "{profile}");
            assert_eq!(log.contains(&"asked".to_owned()), hears, "{profile}: {log:?}");
            let took = begin.elapsed();
            assert!(
                took < Duration::from_secs(6) && (hears || took > Duration::from_secs(2)),
                "{profile}: {took:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_ends() {
    let bench = Bench::shell("permissions: { exec: [/usr/bin] }", "sleep 60");
    for profile in profiles() {
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let cancel = CancellationToken::new();
        for wait in [1, 5, 20, 200] {
            let run = carry_out(&launcher, bench.order(), &cancel, |_| {});
            assert!(tokio::time::timeout(Duration::from_millis(wait), run).await.is_err());
        }
        let own = crate::processes::launcher();
        wait_until("the launcher has no child", || descendants(own).is_empty()).await;
    }
}

#[tokio::test]
async fn memory_is_limited() {
    for profile in profiles() {
        let report =
            misbehave(profile, "limits: { memory: 64MiB }", json!({ "mode": "memory" })).await;
        match profile {
            // All processes together, by the kernel.
            Profile::Root | Profile::Delegated => {
                assert_eq!(report.verdict, Verdict::Failed(Failure::Memory), "{profile}");
                assert!(
                    report.usage.peak_memory_bytes <= 64 << 20,
                    "{profile}: {:?}",
                    report.usage
                );
            }
            // Each process by itself: it is refused more, and may say so.
            Profile::Unprivileged | Profile::NoNamespaces => {
                assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
                let refused =
                    report.result.unwrap().output["refused_after_mebibytes"].as_u64().unwrap();
                assert!(refused < 64, "{profile}: {refused}");
            }
        }
    }
}

#[tokio::test]
async fn memory_of_many_processes_is_limited_together_where_that_can_be() {
    // Each far below the limit, all together at three times of it.
    let (processes, each) = (8_u64, 24_u64);
    let input = json!({ "mode": "memory-together", "processes": processes, "mebibytes": each });
    for profile in profiles() {
        let report =
            misbehave(profile, "limits: { memory: 64MiB, processes: 16 }", input.clone()).await;
        match profile {
            // By version 2 the kernel ends the whole run, by version 1 as many processes as it takes.
            Profile::Root | Profile::Delegated => {
                let first =
                    std::path::Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists();
                match report.verdict {
                    Verdict::Succeeded if first => {
                        let output = report.result.unwrap().output;
                        let had = output["mebibytes"].as_u64().unwrap();
                        // Those that were ended had theirs before others got it; never all had theirs.
                        assert!(had < processes * each, "{profile}: {output}");
                    }
                    verdict => {
                        assert_eq!(verdict, Verdict::Failed(Failure::Memory), "{profile}");
                    }
                }
                let peak = report.usage.peak_memory_bytes;
                assert!(peak <= 64 << 20, "{profile}: {peak}");
            }
            // Nothing adds them up: what bounds them is the limit of each times their number.
            Profile::Unprivileged | Profile::NoNamespaces => {
                assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
                let output = report.result.unwrap().output;
                assert_eq!(output["mebibytes"], processes * each, "{profile}: {output}");
            }
        }
        // A single one that wants more than the limit has no way in any profile.
        let input = json!({ "mode": "memory-together", "processes": 1, "mebibytes": 80 });
        let report = misbehave(profile, "limits: { memory: 64MiB, processes: 16 }", input).await;
        match report.verdict {
            Verdict::Succeeded => assert_eq!(report.result.unwrap().output["had"], 0, "{profile}"),
            verdict => assert_eq!(verdict, Verdict::Failed(Failure::Memory), "{profile}"),
        }
    }
}

#[tokio::test]
async fn processes_are_limited() {
    for profile in profiles() {
        let report =
            misbehave(profile, "limits: { processes: 20 }", json!({ "mode": "forks" })).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {report:?}");
        let made = report.result.unwrap().output["processes"].as_u64().unwrap();
        // Without namespaces what else the user runs comes and goes meanwhile.
        let slack = if profile == Profile::NoNamespaces { 40 } else { 0 };
        assert!((10..=20 + slack).contains(&made), "{profile}: {made}");
    }
}

#[tokio::test]
async fn disk_is_limited() {
    let manifest = |folder: &str| {
        format!(
            "limits: {{ disk: 16MiB, timeout: 30s }}\npermissions: {{ filesystem: {{ write: [{folder}] }} }}"
        )
    };
    for profile in profiles() {
        for mode in ["fill", "fill-removed", "fill-closed"] {
            let folder = tempfile::tempdir().unwrap();
            crate::stage::open_to_all(folder.path(), 0o777);
            let path = folder.path().to_str().unwrap();
            let report =
                misbehave(profile, &manifest(path), json!({ "mode": mode, "path": path })).await;
            assert_eq!(report.verdict, Verdict::Failed(Failure::Disk), "{profile}: {mode}");
        }
        // `/tmp` has a size of its own where it is a file system.
        let report =
            misbehave(profile, "limits: { disk: 16MiB, timeout: 30s }", json!({ "mode": "fill" }))
                .await;
        if profile == Profile::NoNamespaces {
            assert_eq!(report.verdict, Verdict::Failed(Failure::Disk), "{profile}");
        } else {
            let output = report.result.unwrap().output;
            assert!(output["mebibytes"].as_u64().unwrap() <= 16, "{profile}: {output}");
            let report = misbehave(
                profile,
                "limits: { disk: 16MiB, timeout: 30s }",
                json!({ "mode": "inodes" }),
            )
            .await;
            let output = report.result.unwrap().output;
            assert!(output["files"].as_u64().unwrap() <= 4_096, "{profile}: {output}");
        }
    }
    // One file alone.
    check(
        "limits: { disk: 1MiB }\npermissions: { exec: [/usr/bin] }",
        "head -c 2000000 /dev/zero > $TMPDIR/file; kill -XFSZ $$",
        failed(Failure::Disk),
    )
    .await;
}

#[tokio::test]
async fn what_is_written_beyond_the_disk_limit_is_bounded_by_one_look() {
    const LIMIT: u64 = 16 << 20;
    // The documentation: one look and the pause before it, of a quarter of a second.
    const LOOK_MILLISECONDS: u64 = 250;
    for profile in profiles() {
        for load in [0, 4] {
            let busy = Busy::start(load);
            let folder = tempfile::tempdir().unwrap();
            crate::stage::open_to_all(folder.path(), 0o777);
            let path = folder.path().to_str().unwrap();
            let manifest = format!(
                "limits: {{ disk: 16MiB, timeout: 60s }}\npermissions: {{ filesystem: {{ write: [{path}] }} }}"
            );
            let input = json!({ "mode": "fill-fast", "path": path });
            let report = misbehave(profile, &manifest, input).await;
            drop(busy);
            assert_eq!(report.verdict, Verdict::Failed(Failure::Disk), "{profile}");
            let used = used_below(folder.path());
            // How fast it wrote, as it told its own clock: into a file that it kept up to date.
            let pace = std::fs::read_to_string(folder.path().join("pace")).unwrap();
            let mut pace = pace.split_whitespace().map(|word| word.parse::<u64>().unwrap());
            let (bytes, microseconds) = (pace.next().unwrap(), pace.next().unwrap());
            let second = bytes.saturating_mul(1_000_000) / microseconds.max(1);
            let over = used.saturating_sub(LIMIT);
            println!(
                "{profile}, {load} busy processes: {} MiB/s, {} MiB beyond a limit of {} MiB",
                second >> 20,
                over >> 20,
                LIMIT >> 20
            );
            // A machine that is busy wakes the watcher later: by as much again for each that competes.
            let looks = u64::from(1 + load.div_ceil(2)) * 2;
            let most = second.saturating_mul(LOOK_MILLISECONDS * looks) / 1_000 + (8 << 20);
            assert!(over <= most, "{profile}, load {load}: {over} bytes beyond, {most} at most");
        }
    }
}

/// Processes that want all the processor that they can get.
struct Busy(Vec<std::process::Child>);

impl Busy {
    fn start(count: u32) -> Self {
        let spin = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Self((0..count).map(|_| spin().unwrap()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn used_below(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(status) if status.is_dir() => used_below(&entry.path()),
            Ok(status) => status.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test]
async fn deep_folders_cost_their_own_run() {
    let program = std::fs::read(wachter_testkit::executable("wachter-attempts")).unwrap();
    for profile in profiles() {
        let bench = Bench::with("limits: { disk: 64MiB }", "attempts", &program);
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let mut order = bench.order();
        order.request.input = json!({ "mode": "deep" });
        let (report, _) = carry_out_with(&launcher, order).await;
        match &report.result {
            Some(result) => assert!(result.output["depth"].as_u64().unwrap() > 500, "{profile}"),
            // What is too deep to be counted is taken for too much when others write as well.
            None => assert_eq!(
                (&report.verdict, profile),
                (&Verdict::Failed(Failure::Disk), Profile::NoNamespaces)
            ),
        }
        let scratch = bench.path().join("state/scratch");
        let left = std::fs::read_dir(scratch).into_iter().flatten().count();
        assert_eq!(left, 0, "{profile}");
    }
}

#[tokio::test]
async fn processor_time_is_limited() {
    for profile in profiles() {
        let report =
            misbehave(profile, "limits: { cpu: 0.2, timeout: 2s }", json!({ "mode": "spin" }))
                .await;
        assert_eq!(report.verdict, Verdict::Failed(Failure::Timeout), "{profile}");
        let used = Duration::from_micros(report.usage.cpu_microseconds);
        // With a cgroup a fifth of two seconds. Without, what one process may use in all: a fifth of
        // the time limit, rounded up, and a second.
        let most = if profile == Profile::Root { 800 } else { 2_300 };
        println!("{profile}: {used:?} of two seconds at a fifth of a processor");
        assert!(used < Duration::from_millis(most), "{profile}: {used:?}");
    }
}

#[tokio::test]
async fn a_crash_leaves_no_core_behind() {
    for profile in profiles() {
        let folder = tempfile::tempdir().unwrap();
        crate::stage::open_to_all(folder.path(), 0o777);
        let path = folder.path().to_str().unwrap();
        let manifest =
            format!("permissions: {{ exec: [/usr/bin], filesystem: {{ write: [{path}] }} }}");
        let bench = Bench::shell(&manifest, &format!("cd {path} && touch here && kill -ABRT $$"));
        let (report, log) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Failed(Failure::Signal(6)), "{profile}: {log:?}");
        let left: Vec<_> =
            std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["here"], "{profile}");
    }
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let program = std::fs::read(wachter_testkit::executable("wachter-attempts")).unwrap();
    for profile in profiles() {
        // The name of the program is unlike any other on the machine.
        let name = format!("daemon-{}", RunId::new());
        let bench = Bench::with("", &name, &program);
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let mut order = bench.order();
        order.request.input = json!({ "mode": "daemon" });
        let (report, _) = carry_out_with(&launcher, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {report:?}");
        assert_eq!(marked(&name), Vec::<u32>::new(), "{profile}");
        assert_eq!(descendants(crate::processes::launcher()), Vec::<u32>::new(), "{profile}");
    }
}

#[tokio::test]
async fn fifty_runs_at_a_time() {
    let bench = Bench::shell("", r#"read -r request; echo '{"result": {}}'"#);
    for profile in profiles() {
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let mut runs = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (launcher, order) = (launcher.clone(), bench.order());
            runs.spawn(async move { carry_out_with(&launcher, order).await.0.verdict });
        }
        let verdicts = runs.join_all().await;
        assert!(
            verdicts.iter().all(|verdict| *verdict == Verdict::Succeeded),
            "{profile}: {verdicts:?}"
        );
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let bench = Bench::shell("permissions: { exec: [/usr/bin] }", "echo ready >&2; sleep 60");
    let kind = |report: &RunReport| match report.verdict {
        Verdict::NotBegun { kind, .. } => Some(kind),
        _ => None,
    };
    for profile in profiles() {
        let launcher = Launcher::open(&bench.options(profile)).await.unwrap();
        let cancel = CancellationToken::new();
        // Another version of the module.
        let mut order = bench.order();
        order.digest = Digest::of(b"another");
        let (report, _) = carry_out_with(&launcher, order).await;
        assert_eq!(kind(&report), Some(RefusalKind::Module), "{profile}: {report:?}");
        // Another grant.
        let mut order = bench.order();
        let other = Manifest::read(
            "name: sample\nversion: 1.0.0\nruntime: { kind: process, entrypoint: run }\n",
        )
        .unwrap();
        order.grant = wachter_protocol::Grant::for_development(order.digest, &other).unwrap();
        let (report, _) = carry_out_with(&launcher, order).await;
        assert_eq!(kind(&report), Some(RefusalKind::Grant), "{profile}: {report:?}");
        // A run that is under way already.
        let order = bench.order();
        let same = order.clone();
        let (first, second) = tokio::join!(carry_out_until(&launcher, order, &cancel), async {
            wait_until("the first began", || descendants(crate::processes::launcher()).len() >= 3)
                .await;
            let outcome = carry_out_with(&launcher, same).await;
            cancel.cancel();
            outcome
        });
        assert_eq!(kind(&second.0), Some(RefusalKind::Request), "{profile}: {:?}", second.0);
        assert_eq!(first.0.verdict, Verdict::Cancelled, "{profile}");
    }
}

#[tokio::test]
async fn a_granted_file_is_the_host_s_own() {
    let bench = Bench::shell(
        "permissions: { filesystem: { read: [/etc/passwd] } }",
        r#"
        while read -r line; do case $line in nobody:*) found=true ;; esac; done < /etc/passwd
        echo '{"result": {"output": '"$found"'}}'
        "#,
    );
    for profile in profiles() {
        let (report, log) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        assert_eq!(report.result.unwrap().output, true, "{profile}");
    }
}

#[tokio::test]
async fn what_can_never_be_granted_is_refused() {
    for profile in profiles() {
        for (permissions, reason) in [
            ("{ filesystem: { read: [/] } }", "as a whole"),
            ("{ filesystem: { read: [/proc] } }", "can never be granted"),
            ("{ filesystem: { read: [/run/systemd/private] } }", "can never be granted"),
            ("{ filesystem: { write: [/run] } }", "can never be granted"),
            ("{ filesystem: { write: [/etc] } }", "/etc/wachter"),
            ("{ filesystem: { read: [/dev/shm] } }", "can never be granted"),
            ("{ filesystem: { read: [/no-such-folder] } }", "no-such-folder"),
            ("{ exec: [/etc/wachter/tool] }", "can never be granted"),
            ("{ groups: [no-such-group] }", "no-such-group"),
            ("{ user: no-such-user }", "no-such-user"),
            ("{ secrets: [password] }", "`sample` is unsigned code, which is given no secrets"),
        ] {
            let bench =
                Bench::shell(&format!("permissions: {permissions}"), r#"echo '{"result": {}}'"#);
            let (report, _) = bench.run(profile).await;
            let missing_is_nothing =
                profile == Profile::NoNamespaces && permissions.contains("no-such-folder");
            let names_another_user =
                permissions.contains("no-such-user") || permissions.contains("no-such-group");
            let reason = if names_another_user && !crate::stage::is_root() {
                "may change users"
            } else {
                reason
            };
            match report.verdict {
                Verdict::NotBegun { kind: RefusalKind::Setup, reason: found } => {
                    assert!(found.contains(reason), "{profile} {permissions}: {found}");
                }
                Verdict::Succeeded if missing_is_nothing => {}
                other => panic!("{profile} {permissions}: {other:?}"),
            }
        }
    }
}
