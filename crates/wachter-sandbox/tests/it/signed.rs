//! Modules that a publisher signed, and everything that is wrong with ones that nobody did.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use wachter_protocol::Egress;
use wachter_protocol::launcher::RefusalKind;
use wachter_sandbox::{Launcher, RunReport, Verdict};
use wachter_trust::{FileKey, Namespace, Revocation, Signer};

use crate::bench::{carry_out_with, profiles};
use crate::publication::{Publication, shell};

const SCRIPT: &str = r#"echo '{"result": {}}'"#;

async fn run(signed: &Publication, launcher: &Launcher) -> RunReport {
    carry_out_with(launcher, signed.order(SCRIPT, Egress::default())).await.0
}

type Spoil = fn(&mut Publication);

#[tokio::test]
async fn what_is_not_signed_does_not_run() {
    let module = |signed: &Publication, name: &str| {
        let digest = signed.digests("sample", shell(SCRIPT).as_bytes()).digest();
        signed.path("node/modules").join(digest.to_string()).join(name)
    };
    let spoils: [(&str, RefusalKind, &str, Spoil); 14] = [
        ("tampered payload", RefusalKind::Module, "is not what was signed", |signed| {
            let folder = signed.publish(SCRIPT);
            fs::write(folder.join("run"), "#!/bin/sh\necho evil").unwrap();
        }),
        ("payload gone", RefusalKind::Module, "cannot read", |signed| {
            fs::remove_file(signed.publish(SCRIPT).join("run")).unwrap();
        }),
        ("payload is a link", RefusalKind::Module, "cannot read", |signed| {
            let folder = signed.publish(SCRIPT);
            fs::rename(folder.join("run"), folder.join("elsewhere")).unwrap();
            std::os::unix::fs::symlink("elsewhere", folder.join("run")).unwrap();
        }),
        ("unsigned", RefusalKind::Module, "module.sig", |signed| {
            fs::remove_file(signed.publish(SCRIPT).join("module.sig")).unwrap();
        }),
        ("signed by a stranger", RefusalKind::Module, "", |signed| {
            signed.publisher = FileKey::from_seed(&[9; 32], "stranger").unwrap();
            signed.publish(SCRIPT);
        }),
        ("signed for something else", RefusalKind::Module, "", |signed| {
            let folder = signed.publish(SCRIPT);
            let bytes = fs::read(folder.join("module.digests")).unwrap();
            let signature = signed.publisher.sign(Namespace::TRUST, &bytes).unwrap();
            fs::write(folder.join("module.sig"), signature.to_armor()).unwrap();
        }),
        ("publisher revoked", RefusalKind::Module, "revoked", |signed| {
            let fingerprint = signed.publisher.public_key().fingerprint();
            let other = FileKey::from_seed(&[3; 32], "other").unwrap();
            signed.draft.signers.insert("bob".parse().unwrap(), vec![other.public_key().clone()]);
            signed.draft.releases.signers.insert("bob".parse().unwrap());
            signed.draft.approvers.insert("bob".parse().unwrap());
            let since = signed.draft.not_after - SignedDuration::from_hours(24 * 300);
            signed.draft.revocations.push(Revocation {
                fingerprint,
                reason: "lost".to_owned(),
                since,
            });
            signed.trust();
        }),
        ("publisher of other modules", RefusalKind::Module, "", |signed| {
            signed.draft.publishers[0].modules =
                vec![wachter_trust::ModulePattern::Exact("other".parse().unwrap())];
            signed.trust();
        }),
        ("another module's name", RefusalKind::Module, "", |signed| {
            let folder = signed.publish(SCRIPT);
            let other = signed.digests("other", shell(SCRIPT).as_bytes()).render();
            let signature = signed.publisher.sign(Namespace::MODULE, other.as_bytes()).unwrap();
            fs::write(folder.join("module.digests"), other).unwrap();
            fs::write(folder.join("module.sig"), signature.to_armor()).unwrap();
        }),
        ("no trust file", RefusalKind::Trust, "trust.yaml", |signed| {
            fs::remove_file(signed.path("node/trust/trust.yaml")).unwrap();
        }),
        ("trust file is a link", RefusalKind::Trust, "trust.yaml", |signed| {
            fs::rename(signed.path("node/trust/trust.yaml"), signed.path("node/elsewhere"))
                .unwrap();
            std::os::unix::fs::symlink("../elsewhere", signed.path("node/trust/trust.yaml"))
                .unwrap();
        }),
        ("trust file changed", RefusalKind::Trust, "", |signed| {
            let text = fs::read_to_string(signed.path("node/trust/trust.yaml")).unwrap();
            fs::write(signed.path("node/trust/trust.yaml"), text + "# more\n").unwrap();
        }),
        ("trust file signed by another root", RefusalKind::Trust, "", |signed| {
            signed.root = FileKey::from_seed(&[8; 32], "stranger").unwrap();
            signed.trust();
        }),
        ("trust file expired", RefusalKind::Trust, "expired", |signed| {
            signed.draft.not_after = Timestamp::from_second(1_700_000_000).unwrap();
            signed.trust();
        }),
    ];
    for profile in profiles() {
        for (name, expected, words, spoil) in &spoils {
            let mut signed = Publication::new(profile, "", "{}", SCRIPT);
            assert!(module(&signed, "run").exists());
            spoil(&mut signed);
            let launcher = Launcher::open(&signed.options()).await.unwrap();
            match run(&signed, &launcher).await.verdict {
                Verdict::NotBegun { kind, reason } => {
                    assert_eq!(kind, *expected, "{profile}: {name}: {reason}");
                    assert!(reason.contains(words), "{profile}: {name}: {reason}");
                }
                other => panic!("{profile}: {name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_signed_runs_and_trust_only_rises() {
    for profile in profiles() {
        let mut signed = Publication::new(profile, "", "{}", SCRIPT);
        signed.draft.serial = 5;
        signed.trust();
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        signed.draft.serial = 4;
        signed.trust();
        let is_old = |verdict: &Verdict| {
            matches!(verdict, Verdict::NotBegun { kind: RefusalKind::Trust, .. })
        };
        assert!(is_old(&run(&signed, &launcher).await.verdict), "{profile}");
        // The same number twice with another content is as old.
        signed.draft.serial = 5;
        signed.draft.not_after -= SignedDuration::from_hours(1);
        signed.trust();
        assert!(is_old(&run(&signed, &launcher).await.verdict), "{profile}");
        // It is remembered over a restart.
        drop(launcher);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        assert!(is_old(&run(&signed, &launcher).await.verdict), "{profile}");
        signed.draft.serial = 6;
        signed.trust();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
    }
}

#[tokio::test]
async fn what_was_verified_before_is_verified_anew_when_anything_changes() {
    let module = |signed: &Publication, name: &str| {
        let digest = signed.digests("sample", shell(SCRIPT).as_bytes()).digest();
        signed.path("node/modules").join(digest.to_string()).join(name)
    };
    let spoils: [(&str, RefusalKind, Spoil); 9] = [
        ("trust file signed by another root", RefusalKind::Trust, |signed| {
            signed.root = FileKey::from_seed(&[8; 32], "stranger").unwrap();
            signed.trust();
        }),
        ("trust file's signature gone", RefusalKind::Trust, |signed| {
            fs::write(signed.path("node/trust/trust.yaml.sig"), "").unwrap();
        }),
        ("trust file changed by a byte", RefusalKind::Trust, |signed| {
            let text = fs::read_to_string(signed.path("node/trust/trust.yaml")).unwrap();
            fs::write(signed.path("node/trust/trust.yaml"), text + "\n").unwrap();
        }),
        ("a higher floor", RefusalKind::Trust, |signed| {
            let path = signed.path("state/trust-floor.json");
            let text = fs::read_to_string(&path).unwrap();
            let mut floor: serde_json::Value = serde_json::from_str(&text).unwrap();
            floor["serial"] = 1_000.into();
            fs::write(&path, floor.to_string()).unwrap();
        }),
        ("a floor of another file", RefusalKind::Trust, |signed| {
            let path = signed.path("state/trust-floor.json");
            let text = fs::read_to_string(&path).unwrap();
            let mut floor: serde_json::Value = serde_json::from_str(&text).unwrap();
            floor["digest"] = wachter_model::Digest::of(b"other").to_string().into();
            fs::write(&path, floor.to_string()).unwrap();
        }),
        ("module signed by a stranger", RefusalKind::Module, |signed| {
            signed.publisher = FileKey::from_seed(&[9; 32], "stranger").unwrap();
            signed.publish(SCRIPT);
        }),
        ("module's signature gone", RefusalKind::Module, |signed| {
            fs::write(signed.publish(SCRIPT).join("module.sig"), "").unwrap();
        }),
        ("module's list changed by a byte", RefusalKind::Module, |signed| {
            let path = signed.publish(SCRIPT).join("module.digests");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text + "\n").unwrap();
        }),
        ("publisher no longer trusted", RefusalKind::Module, |signed| {
            signed.draft.serial += 1;
            signed.draft.publishers[0].modules =
                vec![wachter_trust::ModulePattern::Exact("other".parse().unwrap())];
            signed.trust();
        }),
    ];
    for profile in profiles() {
        for (name, expected, spoil) in &spoils {
            let mut signed = Publication::new(profile, "", "{}", SCRIPT);
            let launcher = Launcher::open(&signed.options()).await.unwrap();
            for _ in 0..2 {
                assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
            }
            spoil(&mut signed);
            match run(&signed, &launcher).await.verdict {
                Verdict::NotBegun { kind, reason } => {
                    assert_eq!(kind, *expected, "{profile}: {name}: {reason}");
                }
                other => panic!("{profile}: {name}: {other:?}"),
            }
        }
        // Nor is it kept when the owner has other roots.
        let signed = Publication::new(profile, "", "{}", SCRIPT);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        let stranger = FileKey::from_seed(&[8; 32], "stranger").unwrap();
        let path = signed.path("owner/node.yaml");
        let root = signed.root.public_key().to_string();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&root, &stranger.public_key().to_string())).unwrap();
        launcher.reload().await.unwrap();
        let verdict = run(&signed, &launcher).await.verdict;
        let is_refused = matches!(verdict, Verdict::NotBegun { kind: RefusalKind::Trust, .. });
        assert!(is_refused, "{profile}: {verdict:?}");
        // What the store holds is hashed again however often it was.
        let signed = Publication::new(profile, "", "{}", SCRIPT);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        let digest = module(&signed, "run").parent().unwrap().file_name().unwrap().to_owned();
        let held = signed.path("state/modules").join(digest).join("run");
        // It is copied anew where there is a sound one still.
        fs::write(&held, "#!/bin/sh\n").unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        assert_eq!(fs::read(&held).unwrap(), fs::read(module(&signed, "run")).unwrap());
        for path in [held, module(&signed, "run")] {
            fs::write(path, "#!/bin/sh\n").unwrap();
        }
        let verdict = run(&signed, &launcher).await.verdict;
        let is_refused = matches!(verdict, Verdict::NotBegun { kind: RefusalKind::Module, .. });
        assert!(is_refused, "{profile}: {verdict:?}");
    }
}

#[tokio::test]
async fn asking_for_more_than_is_granted_is_refused() {
    for profile in profiles() {
        for (manifest, allowance, words) in [
            (
                "permissions: { filesystem: { read: [/srv] } }",
                "{}",
                "permissions.filesystem.read: /srv",
            ),
            (
                "permissions: { network: ['example.com:443'] }",
                "{ network: ['example.com:80'] }",
                "example.com:443",
            ),
            ("permissions: { user: root }", "{}", "permissions.user: root"),
            ("permissions: { exec: [/usr/bin] }", "{ exec: [/usr/bin/true] }", "permissions.exec"),
            ("limits: { memory: 2GiB }", "{}", "memory 2GiB"),
        ] {
            let signed = Publication::new(profile, manifest, allowance, SCRIPT);
            let launcher = Launcher::open(&signed.options()).await.unwrap();
            match run(&signed, &launcher).await.verdict {
                Verdict::NotBegun { kind: RefusalKind::Grant, reason } => {
                    assert!(reason.contains(words), "{profile}: {reason}");
                }
                other => panic!("{profile}: {manifest}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn exchanging_files_during_launches_changes_nothing() {
    let evil = r#"echo '{"result": {"output": "evil"}}'"#;
    for profile in profiles() {
        let mut signed = Publication::new(profile, "", "{}", SCRIPT);
        let folder = signed.publish(SCRIPT);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let swapper = std::thread::spawn({
            let (stop, run) = (stop.clone(), folder.join("run"));
            move || {
                let good = shell(SCRIPT);
                let bad = shell(evil);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::write(&run, &bad).unwrap();
                    fs::write(&run, &good).unwrap();
                }
            }
        });
        let mut succeeded = 0;
        for _ in 0..40 {
            let report = run(&signed, &launcher).await;
            match report.verdict {
                Verdict::Succeeded => {
                    succeeded += 1;
                    assert!(report.result.unwrap().output.is_null(), "{profile}");
                }
                // Until the first copy was good.
                Verdict::NotBegun { kind: RefusalKind::Module, .. } => {}
                other => panic!("{profile}: {other:?}"),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        swapper.join().unwrap();
        // From the first good copy on the node's folder does not matter, gone or not.
        fs::write(folder.join("run"), shell(SCRIPT)).unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        fs::write(folder.join("run"), "#!/bin/sh\nevil").unwrap();
        assert_eq!(
            run(&signed, &launcher).await.verdict,
            Verdict::Succeeded,
            "{profile}: {succeeded}"
        );
    }
}
