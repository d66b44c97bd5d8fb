//! A module of 200 MB is copied and hashed while the launcher goes on with everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use wachter_protocol::Egress;
use wachter_protocol::launcher::RefusalKind;
use wachter_sandbox::{Launcher, Update, Verdict, carry_out};

use crate::bench::{carry_out_until, carry_out_with, profiles};
use crate::publication::{Publication, shell};

const BYTES: usize = 200 << 20;

/// A script, followed by what it never reads.
fn large() -> Vec<u8> {
    let mut program = shell("echo begun >&2; echo '{\"result\": {}}'; exit").into_bytes();
    program.resize(BYTES, b'\n');
    program
}

#[tokio::test]
async fn a_large_module_holds_nobody_up() {
    let quick = "echo '{\"result\": {}}'";
    let lasting = "echo begun >&2; exec sleep 600";
    let exec = "exec: [/usr/bin]";
    let program = large();
    for profile in profiles() {
        let (manifest, allowance) = (format!("permissions: {{ {exec} }}"), format!("{{ {exec} }}"));
        let mut signed = Publication::with(profile, &manifest, &allowance, &program);
        signed.publish(quick);
        signed.publish(lasting);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        // What is small and known is launched and killed before what is large has even begun: once
        // while that is copied, and once while the copy is hashed again.
        for (quick_before, what) in [(false, "copied"), (true, "hashed")] {
            if !quick_before {
                let (report, _) =
                    carry_out_with(&launcher, signed.order(quick, Egress::default())).await;
                assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
            }
            let (cancel, begun) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
            let (told, mut tells) = tokio::sync::mpsc::channel(1);
            let run = tokio::spawn({
                let (launcher, cancel) = (launcher.clone(), cancel.clone());
                let order = signed.order(lasting, Egress::default());
                async move {
                    carry_out(&launcher, order, &cancel, move |_| {
                        let _ = told.try_send(());
                    })
                    .await
                }
            });
            tells.recv().await.unwrap();
            let large = tokio::spawn({
                let (launcher, begun) = (launcher.clone(), begun.clone());
                let order = signed.order_of(&program, Egress::default());
                async move {
                    carry_out(&launcher, order, &CancellationToken::new(), |update| {
                        if let Update::Log(_) = update {
                            begun.store(true, Ordering::SeqCst);
                        }
                    })
                    .await
                }
            });
            // Its request is sent before the next one is.
            tokio::task::yield_now().await;
            cancel.cancel();
            let (report, _) =
                carry_out_with(&launcher, signed.order(quick, Egress::default())).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {what}");
            assert_eq!(run.await.unwrap().unwrap().verdict, Verdict::Cancelled, "{profile}");
            assert!(!begun.load(Ordering::SeqCst), "{profile}: had to wait for what is {what}");
            let report = large.await.unwrap().unwrap();
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {what}");
        }
    }
}

#[tokio::test]
async fn a_large_module_that_was_changed_does_not_run() {
    let program = large();
    for profile in profiles() {
        let signed = Publication::with(profile, "", "{}", &program);
        let digest = signed.digests("sample", &program).digest().to_string();
        let path = signed.path("node/modules").join(digest).join("run");
        let mut spoiled = program.clone();
        *spoiled.last_mut().unwrap() = b' ';
        std::fs::write(path, spoiled).unwrap();
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        let order = signed.order_of(&program, Egress::default());
        let (report, _) = carry_out_until(&launcher, order, &CancellationToken::new()).await;
        let Verdict::NotBegun { kind: RefusalKind::Module, reason } = report.verdict else {
            panic!("{profile}: {:?}", report.verdict)
        };
        assert!(reason.contains("is not what was signed"), "{profile}: {reason}");
        let left = std::fs::read_dir(signed.path("state/modules")).unwrap().count();
        assert_eq!(left, 0, "{profile}: nothing is left of the copy");
    }
}
