//! Modules in WebAssembly, through the launcher: compiled in a jail, kept, and run in another.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::json;
use wachter_protocol::Egress;
use wachter_protocol::launcher::RefusalKind;
use wachter_sandbox::{Failure, Launcher, RunReport, Verdict};
use wachter_testkit::Wasm;

use crate::bench::{Bench, carry_out_with, profiles};
use crate::publication::Publication;

async fn run(signed: &Publication, launcher: &Launcher, module: &[u8]) -> RunReport {
    carry_out_with(launcher, signed.order_of(module, Egress::default())).await.0
}

/// The machine code that the launcher keeps.
fn kept(signed: &Publication) -> Vec<PathBuf> {
    let engines = fs::read_dir(signed.path("state/compiled")).unwrap().flatten();
    let mut kept: Vec<PathBuf> = engines
        .flat_map(|engine| fs::read_dir(engine.path()).unwrap().flatten())
        .map(|entry| entry.path())
        .collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn a_module_is_compiled_once_and_never_anew_for_another() {
    for profile in profiles() {
        let (first, second) = (Wasm::echo(), Wasm::component());
        let mut signed = Publication::wasi(profile, "", "{}", &first);
        signed.publish_program(&second);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        let mut known = Vec::new();
        for module in [&first, &second] {
            let report = run(&signed, &launcher, module).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
            let output = report.result.unwrap().output;
            assert_eq!(output["module"]["name"], "sample", "{profile}");
            let new: Vec<PathBuf> =
                kept(&signed).into_iter().filter(|path| !known.contains(path)).collect();
            assert_eq!(new.len(), 1, "{profile}: {new:?}");
            // By whom, and who may change it.
            let status = fs::metadata(&new[0]).unwrap();
            assert_eq!(status.uid(), rustix::process::geteuid().as_raw());
            assert_eq!(status.permissions().mode() & 0o777, 0o644);
            let folder = fs::metadata(new[0].parent().unwrap()).unwrap();
            assert_eq!(folder.permissions().mode() & 0o777, 0o711);
            let again = run(&signed, &launcher, module).await;
            assert_eq!(again.verdict, Verdict::Succeeded, "{profile}");
            assert_eq!(fs::metadata(&new[0]).unwrap().ino(), status.ino(), "{profile}");
            known.extend(new);
        }
        // It outlives the launcher.
        drop(launcher);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        assert_eq!(run(&signed, &launcher, &first).await.verdict, Verdict::Succeeded, "{profile}");
        known.sort();
        assert_eq!(kept(&signed), known, "{profile}");
    }
}

#[tokio::test]
async fn code_that_was_changed_does_not_run() {
    for profile in profiles() {
        let (module, other) =
            (Wasm::echo(), Wasm::saying("{\"result\":{\"output\":\"forged\"}}\n"));
        let mut signed = Publication::wasi(profile, "", "{}", &module);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        run(&signed, &launcher, &module).await;
        let path = kept(&signed).remove(0);
        let good = fs::read(&path).unwrap();
        signed.publish_program(&other);
        assert_eq!(run(&signed, &launcher, &other).await.verdict, Verdict::Succeeded, "{profile}");
        let forged = kept(&signed).into_iter().find(|found| *found != path).unwrap();
        let forged = fs::read(forged).unwrap();
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for spoiled in [forged, flipped, good[..middle].to_vec(), Vec::new()] {
            fs::write(&path, spoiled).unwrap();
            let report = run(&signed, &launcher, &module).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
            assert_eq!(report.result.unwrap().output["module"]["name"], "sample", "{profile}");
            assert_eq!(fs::read(&path).unwrap(), good, "{profile}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_compiled_is_refused() {
    let echo = Wasm::echo();
    for profile in profiles() {
        for (module, expected) in [
            (&b"#!/bin/sh\n"[..], "cannot be compiled: the entrypoint is not WebAssembly"),
            (&echo[..echo.len() - 9], "cannot be compiled: the module cannot be compiled: "),
        ] {
            let bench = Bench::wasi("", module);
            let Verdict::NotBegun { kind, reason } = bench.run(profile).await.0.verdict else {
                panic!("{profile}: it ran")
            };
            assert_eq!(kind, RefusalKind::Module, "{profile}");
            assert!(reason.contains(expected), "{profile}: {reason}");
        }
    }
}

#[tokio::test]
async fn folders_are_those_of_the_grant() {
    const NOT_PERMITTED: u32 = 63;
    const READ_ONLY: u32 = 69;
    for profile in profiles() {
        let data = tempfile::tempdir().unwrap();
        let path = |name: &str| data.path().join(name);
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["a-read", "b-write"] {
            fs::create_dir(path(folder)).unwrap();
            fs::set_permissions(path(folder), fs::Permissions::from_mode(0o777)).unwrap();
            fs::write(path(folder).join("file"), "text").unwrap();
        }
        // Descriptors from 3 on are folders in the order of their names.
        let mut names = ["/module".into(), "/tmp".into(), path("a-read"), path("b-write")];
        let folders = names.clone();
        names.sort();
        let [module, tmp, read, write] = folders.map(|folder| {
            3 + u32::try_from(names.iter().position(|name| *name == folder).unwrap()).unwrap()
        });
        let attempts = [
            ((module, "main.wasm", false), &[0][..]),
            ((module, "new", true), &[NOT_PERMITTED, READ_ONLY]),
            ((tmp, "new", true), &[0]),
            ((read, "file", false), &[0]),
            ((read, "new", true), &[NOT_PERMITTED, READ_ONLY]),
            ((read, "../b-write/file", false), &[NOT_PERMITTED, READ_ONLY]),
            ((write, "new", true), &[0]),
        ];
        let program = Wasm::opening(&attempts.map(|(attempt, _)| attempt));
        let manifest = format!(
            "permissions: {{ filesystem: {{ read: [{}], write: [{}] }} }}",
            path("a-read").display(),
            path("b-write").display()
        );
        let bench = Bench::wasi(&manifest, &program);
        let (report, log) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        let output = report.result.unwrap().output;
        for (index, (attempt, expected)) in attempts.iter().enumerate() {
            let found = u32::try_from(output[index].as_u64().unwrap()).unwrap();
            assert!(expected.contains(&found), "{profile}: {attempt:?}: {found}");
        }
        assert!(path("b-write").join("new").exists(), "{profile}");
        fs::remove_file(path("b-write").join("new")).unwrap();
        // In a dry run nothing is written.
        let mut order = bench.order();
        order.request.dry_run = true;
        let (report, _) = bench.run_order(profile, order).await;
        let found = &report.result.unwrap().output[6];
        assert!([NOT_PERMITTED, READ_ONLY].map(|code| json!(code)).contains(found), "{found}");
        assert!(!path("b-write").join("new").exists(), "{profile}");
    }
}

#[tokio::test]
async fn memory_is_that_of_the_grant() {
    for profile in profiles() {
        let manifest = "limits: { memory: 64MiB }";
        let (report, log) = Bench::wasi(manifest, &Wasm::greedy(false)).run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        // A quarter is the engine's, and a module begins with four pages.
        assert_eq!(report.result.unwrap().output, json!(47), "{profile}");
        let (report, _) = Bench::wasi(manifest, &Wasm::greedy(true)).run(profile).await;
        let Verdict::Failed(Failure::Module(reason)) = report.verdict else {
            panic!("{profile}: {:?}", report.verdict)
        };
        assert!(reason.contains("raise `limits.memory`"), "{profile}: {reason}");
    }
}

#[tokio::test]
async fn what_ends_a_run_says_where_it_was() {
    for profile in profiles() {
        let (report, log) =
            Bench::wasi("limits: { timeout: 2s }", &Wasm::endless()).run(profile).await;
        assert_eq!(report.verdict, Verdict::Failed(Failure::Timeout), "{profile}");
        let expected = "at its deadline the module was in spin, called by main, called by _start";
        assert!(log.iter().any(|line| line == expected), "{profile}: {log:?}");
        let (report, _) = Bench::wasi("", &Wasm::trapping()).run(profile).await;
        let reason = "the module stopped in divide, called by main, called by _start: wasm trap: integer divide by zero";
        assert_eq!(
            report.verdict,
            Verdict::Failed(Failure::Module(reason.to_owned())),
            "{profile}"
        );
        let (report, _) = Bench::wasi("", &Wasm::exiting(7)).run(profile).await;
        assert_eq!(report.verdict, Verdict::Failed(Failure::Exit(7)), "{profile}");
    }
}

/// Threads of the engine are not the module's to be counted.
#[tokio::test]
async fn one_process_is_enough() {
    for profile in profiles() {
        let (report, log) =
            Bench::wasi("limits: { processes: 1 }", &Wasm::echo()).run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
    }
}
