//! Modules that a publisher signed, and everything that is wrong with ones that nobody did.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use wachter_model::Digest;
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{Egress, Grant, LocalFile, Manifest, Profile};
use wachter_sandbox::{Launcher, LauncherOptions, RunOrder, RunReport, Verdict};
use wachter_trust::{
    FileKey, ModuleDigests, ModuleFile, Namespace, RepositoryId, Revocation, Signer, TrustDraft,
};

use crate::bench::{carry_out_with, profiles};
use crate::stage::open_to_all;

const REPOSITORY: &str = "6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11";

/// A node's data folder, an owner's local file, and the keys for all of it.
pub(crate) struct Signed {
    folder: TempDir,
    root: FileKey,
    publisher: FileKey,
    draft: TrustDraft,
    manifest: Manifest,
    text: String,
}

impl Signed {
    /// A module with these further lines of manifest, granted `allowance`.
    pub(crate) fn new(profile: Profile, manifest: &str, allowance: &str, script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path(), 0o755);
        let root = FileKey::from_seed(&[1; 32], "root").unwrap();
        let publisher = FileKey::from_seed(&[2; 32], "publisher").unwrap();
        let repository: RepositoryId = REPOSITORY.parse().unwrap();
        let in_a_year = Timestamp::now() + SignedDuration::from_hours(24 * 365);
        let in_a_year = Timestamp::from_second(in_a_year.as_second()).unwrap();
        let draft = TrustDraft::of_one(
            repository,
            "alice".parse().unwrap(),
            publisher.public_key().clone(),
            in_a_year,
        );
        let text = format!(
            "name: sample\nversion: 1.0.0\nruntime: {{ kind: process, entrypoint: run }}\n{manifest}\n"
        );
        let manifest = Manifest::read(&text).unwrap();
        for name in ["owner", "node/trust", "node/modules"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let absent: Vec<String> =
            wachter_protocol::Mechanism::ALL.iter().map(ToString::to_string).collect();
        let local = format!(
            "version: 1\nrepository: {{ url: /, id: {REPOSITORY} }}\nroots: {{ threshold: 1, keys: ['{}'] }}\n\
             confinement: {{ profile: {profile}, accept_absent: [{}] }}\ngrants: {{ sample: {allowance} }}\n",
            root.public_key(),
            absent.join(", "),
        );
        fs::write(folder.path().join("owner/node.yaml"), local).unwrap();
        let mut signed = Self { folder, root, publisher, draft, manifest, text };
        signed.trust();
        signed.publish(script);
        signed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs the trust file as it stands.
    fn trust(&mut self) {
        let text = self.draft.render().unwrap();
        let signature = self.root.sign(Namespace::TRUST, text.as_bytes()).unwrap();
        fs::write(self.path("node/trust/trust.yaml"), text).unwrap();
        fs::write(self.path("node/trust/trust.yaml.sig"), signature.to_armor()).unwrap();
    }

    fn digests(&self, name: &str, script: &str) -> ModuleDigests {
        let file = |content: &str, executable| ModuleFile {
            digest: Digest::of(content.as_bytes()),
            executable,
        };
        let files = BTreeMap::from([
            ("module.yaml".to_owned(), file(&self.text, false)),
            ("run".to_owned(), file(script, true)),
        ]);
        ModuleDigests::new(name.parse().unwrap(), "1.0.0".parse().unwrap(), files).unwrap()
    }

    /// Signs the module and puts it where the node has it. Gives the folder.
    fn publish(&mut self, script: &str) -> PathBuf {
        let script = format!("#!/bin/sh\n{script}\n");
        let digests = self.digests("sample", &script);
        let folder = self.path("node/modules").join(digests.digest().to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("module.yaml"), &self.text).unwrap();
        fs::write(folder.join("run"), script).unwrap();
        open_to_all(&folder.join("run"), 0o755);
        let signature =
            self.publisher.sign(Namespace::MODULE, digests.render().as_bytes()).unwrap();
        fs::write(folder.join("module.digests"), digests.render()).unwrap();
        fs::write(folder.join("module.sig"), signature.to_armor()).unwrap();
        folder
    }

    pub(crate) fn order(&self, script: &str, egress: Egress) -> RunOrder {
        let digest = self.digests("sample", &format!("#!/bin/sh\n{script}\n")).digest();
        let local =
            LocalFile::read(&fs::read_to_string(self.path("owner/node.yaml")).unwrap()).unwrap();
        let grant = Grant::decide(digest, &self.manifest, local.grants.get(&self.manifest.name));
        RunOrder {
            module: self.manifest.name.clone(),
            digest,
            // A node that asks for more than it has names some grant all the same.
            grant: grant.unwrap_or_else(|_| {
                let least =
                    "name: sample\nversion: 1.0.0\nruntime: { kind: process, entrypoint: run }\n";
                Grant::for_development(digest, &Manifest::read(least).unwrap()).unwrap()
            }),
            emits: Vec::new(),
            request: crate::bench::request(&self.manifest),
            egress,
        }
    }

    pub(crate) fn options(&self) -> LauncherOptions {
        let arguments = ["--local-file", "owner/node.yaml", "--data", "node", "--state", "state"];
        let arguments = arguments.map(|word| match word.strip_prefix("--") {
            Some(_) => word.into(),
            None => self.path(word).into_os_string(),
        });
        LauncherOptions::Spawn {
            program: wachter_testkit::executable("wachter-launcher"),
            arguments: arguments.into(),
        }
    }
}

const SCRIPT: &str = r#"echo '{"result": {}}'"#;

async fn run(signed: &Signed, launcher: &Launcher) -> RunReport {
    carry_out_with(launcher, signed.order(SCRIPT, Egress::default())).await.0
}

type Spoil = fn(&mut Signed);

#[tokio::test]
async fn what_is_not_signed_does_not_run() {
    let module = |signed: &Signed, name: &str| {
        let digest = signed.digests("sample", &format!("#!/bin/sh\n{SCRIPT}\n")).digest();
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
            let script = format!("#!/bin/sh\n{SCRIPT}\n");
            let folder = signed.publish(SCRIPT);
            let other = signed.digests("other", &script).render();
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
            let mut signed = Signed::new(profile, "", "{}", SCRIPT);
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
        let mut signed = Signed::new(profile, "", "{}", SCRIPT);
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
            let signed = Signed::new(profile, manifest, allowance, SCRIPT);
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
        let mut signed = Signed::new(profile, "", "{}", SCRIPT);
        let folder = signed.publish(SCRIPT);
        let launcher = Launcher::open(&signed.options()).await.unwrap();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let swapper = std::thread::spawn({
            let (stop, run) = (stop.clone(), folder.join("run"));
            move || {
                let good = format!("#!/bin/sh\n{SCRIPT}\n");
                let bad = format!("#!/bin/sh\n{evil}\n");
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
        fs::write(folder.join("run"), format!("#!/bin/sh\n{SCRIPT}\n")).unwrap();
        assert_eq!(run(&signed, &launcher).await.verdict, Verdict::Succeeded, "{profile}");
        fs::write(folder.join("run"), "#!/bin/sh\nevil").unwrap();
        assert_eq!(
            run(&signed, &launcher).await.verdict,
            Verdict::Succeeded,
            "{profile}: {succeeded}"
        );
    }
}
