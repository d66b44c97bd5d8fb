//! Secrets of runs: who gets them, who does not, and what is left of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{Egress, Profile};
use wachter_sandbox::{Failure, Launcher, OutputError, RunReport, Update, Verdict, carry_out};
use wachter_secret::{Identity, Named, Recipient, seal};

use crate::bench::{carry_out_with, profiles};
use crate::processes::{descendants, launcher, wait_until};
use crate::publication::Publication;

const VALUE: &str = "hunter2/and+\"more\"";

const MANIFEST: &str =
    "emits: [sample.done]\npermissions: { secrets: [password], exec: [/usr/bin] }";
const ALLOWANCE: &str = "{ secrets: [password], exec: [/usr/bin] }";

/// A publication whose owner has an identity.
struct Sealed {
    publication: Publication,
    script: String,
    identity: Identity,
}

impl Sealed {
    fn new(profile: Profile, script: &str) -> Self {
        Self::with(profile, MANIFEST, ALLOWANCE, script)
    }

    fn with(profile: Profile, manifest: &str, allowance: &str, script: &str) -> Self {
        let publication = Publication::new(profile, manifest, allowance, script);
        let identity = Identity::generate().unwrap();
        let path = publication.path("owner/identity");
        fs::write(&path, identity.secret_text().as_bytes()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let local = publication.path("owner/node.yaml");
        let text = fs::read_to_string(&local).unwrap();
        fs::write(&local, format!("{text}secrets: {{ identity: {} }}\n", path.display())).unwrap();
        fs::create_dir(publication.path("node/secrets")).unwrap();
        let sealed = Self { publication, script: script.to_owned(), identity };
        sealed.seal("password", "password", VALUE.as_bytes(), sealed.identity.recipient());
        sealed
    }

    fn seal(&self, file: &str, name: &str, value: &[u8], to: Recipient) {
        let path = self.publication.path(&format!("node/secrets/{file}.age"));
        fs::write(path, seal(&Named::text(name, value), &[to]).unwrap()).unwrap();
    }

    async fn open(&self) -> Launcher {
        Launcher::open(&self.publication.options()).await.unwrap()
    }

    async fn run(&self) -> (RunReport, Vec<String>) {
        let order = self.publication.order(&self.script, Egress::default());
        carry_out_with(&self.open().await, order).await
    }
}

#[tokio::test]
async fn a_run_gets_its_secrets_and_says_none_of_them() {
    let script = r#"
        read -r request
        set -- "$WACHTER_SECRETS"/*
        value=$(cat "$WACHTER_SECRETS/password")
        mode=$(stat -c %a "$WACHTER_SECRETS/password")
        owner=$(stat -c %u "$WACHTER_SECRETS/password")
        [ "$owner" = "$(id -u)" ] && [ "$CREDENTIALS_DIRECTORY" = "$WACHTER_SECRETS" ] || exit 9
        echo no > "$WACHTER_SECRETS/other" && exit 8
        echo no > "$WACHTER_SECRETS/password" && exit 7
        escaped=$(printf %s "$value" | sed 's/"/\\"/g')
        encoded=$(printf 'user:%s' "$value" | base64)
        echo "on stderr: $value and $encoded" >&2
        printf 'in pieces: hunter2/' >&2; sleep 0.1; printf 'and+"more"\n' >&2
        echo "{\"log\": {\"level\": \"info\", \"message\": \"log $escaped\", \"fields\": {\"a\": \"$escaped\"}}}"
        echo "{\"event\": {\"type\": \"sample.done\", \"data\": {\"is\": \"$escaped\", \"or\": \"$encoded\"}}}"
        echo "{\"finding\": {\"type\": \"sample.done\", \"severity\": \"low\", \"confidence\": 1, \"subject\": \"$escaped\", \"message\": \"is $escaped\", \"fingerprint\": \"a\"}}"
        printf '{"result": {"message": "%s", "state": {"kept": "%s"}, "output": ' "$encoded" "$escaped"
        printf '{"files": %d, "length": %d, "mode": %d, "hash": "%s"}}}' $# ${#value} "$mode" "$(cat "$WACHTER_SECRETS/password" | sha256sum | cut -c 1-64)"
    "#;
    for profile in profiles() {
        let sealed = Sealed::new(profile, script);
        let (report, log) = sealed.run().await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        let result = report.result.as_ref().unwrap();
        let hash = wachter_model::Digest::of(VALUE.as_bytes()).to_string();
        let expected = json!({ "files": 1, "length": VALUE.len(), "mode": 400, "hash": hash });
        assert_eq!(result.output, expected, "{profile}");
        assert_eq!(result.state, Some(json!({ "kept": "[redacted:password]" })), "{profile}");
        assert_eq!(report.events[0].data["is"], "[redacted:password]");
        assert_eq!(report.findings[0].subject, "[redacted:password]");
        assert!(log.contains(&"in pieces: [redacted:password]".to_owned()), "{profile}: {log:?}");
        let all = format!("{report:?} {log:?}");
        for part in ["hunter2", "and+", "aHVudGVy", "h1bnRlcj", "odW50ZXIy"] {
            assert!(!all.contains(part), "{profile}: {all}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_by_its_name() {
    type Spoil = fn(&Sealed);
    let spoils: [(&str, Spoil); 7] = [
        (
            "the release has no secret `password`; make it with `wachter secret set password`",
            |sealed| {
                fs::remove_file(sealed.publication.path("node/secrets/password.age")).unwrap();
            },
        ),
        ("the secret `password` cannot be opened here: it is encrypted to others", |sealed| {
            let stranger = Identity::generate().unwrap().recipient();
            sealed.seal("password", "password", VALUE.as_bytes(), stranger);
        }),
        (
            "the file of the secret `password` is another's: it holds the secret `root-key`",
            |sealed| {
                sealed.seal("password", "root-key", VALUE.as_bytes(), sealed.identity.recipient());
            },
        ),
        ("the secret `password` has more than 65536 bytes", |sealed| {
            let value = VALUE.repeat(5_000);
            sealed.seal("password", "password", value.as_bytes(), sealed.identity.recipient());
        }),
        ("the secret `password` cannot be opened here: it is no whole file of age", |sealed| {
            fs::write(sealed.publication.path("node/secrets/password.age"), VALUE).unwrap();
        }),
        ("can be read or changed by others (mode 0644)", |sealed| {
            let path = sealed.publication.path("owner/identity");
            fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        }),
        ("this host has no identity that opens the secret `password`", |sealed| {
            let path = sealed.publication.path("owner/node.yaml");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.split_once("secrets: { identity").unwrap().0).unwrap();
        }),
    ];
    for profile in profiles() {
        for (words, spoil) in &spoils {
            let sealed = Sealed::new(profile, r#"echo '{"result": {}}'"#);
            spoil(&sealed);
            match sealed.run().await.0.verdict {
                Verdict::NotBegun { kind: RefusalKind::Setup, reason } => {
                    assert!(reason.contains(words), "{profile}: {reason}");
                    assert!(!reason.contains("hunter2"), "{profile}: {reason}");
                }
                other => panic!("{profile}: {words}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_dry_run_and_a_module_without_secrets_get_none() {
    let script = r#"read -r request; echo '{"result": {"output": "'"${WACHTER_SECRETS-none}"'"}}'"#;
    for profile in profiles() {
        let sealed = Sealed::new(profile, script);
        // Not even where there is no identity.
        fs::remove_file(sealed.publication.path("owner/identity")).unwrap();
        let mut order = sealed.publication.order(&sealed.script, Egress::default());
        order.request.dry_run = true;
        let report = carry_out_with(&sealed.open().await, order).await.0;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
        assert_eq!(report.result.unwrap().output, json!("none"), "{profile}");
        let plain = Publication::new(profile, "", "{}", script);
        let launcher = Launcher::open(&plain.options()).await.unwrap();
        let report = carry_out_with(&launcher, plain.order(script, Egress::default())).await.0;
        assert_eq!(report.result.unwrap().output, json!("none"), "{profile}");
    }
}

#[tokio::test]
async fn nothing_granted_covers_secrets() {
    let permissions = "{ secrets: [password], filesystem: { read: [/run] } }";
    for profile in profiles().into_iter().filter(|profile| *profile != Profile::NoNamespaces) {
        let manifest = format!("permissions: {permissions}");
        let sealed = Sealed::with(profile, &manifest, permissions, "exit 0");
        match sealed.run().await.0.verdict {
            Verdict::NotBegun { kind: RefusalKind::Setup, reason } => {
                assert!(reason.contains("/run cannot be granted beside secrets"), "{reason}");
            }
            other => panic!("{profile}: {other:?}"),
        }
    }
}

/// The folders with secrets of runs that the launcher of a publication has in memory.
fn in_memory(sealed: &Sealed) -> Vec<String> {
    let state = sealed.publication.path("state");
    let name = wachter_model::Digest::of(state.as_os_str().as_encoded_bytes()).short().to_string();
    let runs = fs::read_dir(format!("/dev/shm/wachter-{name}")).into_iter().flatten().flatten();
    runs.map(|run| run.path().display().to_string()).collect()
}

/// Runs a script that never ends until it has said that it is ready, and gives it up by `end`.
async fn interrupt(sealed: &Sealed, end: impl AsyncFnOnce(&CancellationToken)) {
    let open = sealed.open().await;
    let process = launcher();
    let order = sealed.publication.order(&sealed.script, Egress::default());
    let (ready, cancel) = (CancellationToken::new(), CancellationToken::new());
    let say = ready.clone();
    let run = carry_out(&open, order, &cancel, move |update| {
        if let Update::Log(line) = update
            && line.message == "ready [redacted:password]"
        {
            say.cancel();
        }
    });
    let ending = async {
        ready.cancelled().await;
        // Launcher, monitor, relay, process 1 and the module.
        assert!(descendants(process).len() >= 4);
        end(&cancel).await;
    };
    let (report, ()) = tokio::join!(run, ending);
    assert_ne!(report.unwrap().verdict, Verdict::Succeeded);
    let all = descendants(process);
    wait_until("nothing of the run is left", || {
        all.iter().all(|process| !fs::exists(format!("/proc/{process}")).unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_ended_leaves_nothing() {
    let script = r#"echo "ready $(cat "$WACHTER_SECRETS/password")" >&2; sleep 60"#;
    for profile in profiles() {
        let sealed = Sealed::new(profile, script);
        let held = usize::from(profile == Profile::NoNamespaces);
        interrupt(&sealed, async |cancel| {
            assert_eq!(in_memory(&sealed).len(), held, "{profile}");
            cancel.cancel();
        })
        .await;
        assert!(in_memory(&sealed).is_empty(), "{profile}");
        // What a launcher leaves that is killed goes with the next.
        interrupt(&sealed, async |_| {
            let kill =
                std::process::Command::new("kill").args(["-9", &launcher().to_string()]).status();
            assert!(kill.unwrap().success());
        })
        .await;
        assert_eq!(in_memory(&sealed).len(), held, "{profile}");
        let again = sealed.open().await;
        assert!(in_memory(&sealed).is_empty(), "{profile}");
        drop(again);
    }
}

#[tokio::test]
async fn much_goes_through_and_too_much_ends_the_run() {
    let much = r#"
        head -c 6000000 /dev/zero | tr '\0' x | fold -w 1000 >&2
        echo '{"result": {"output": "'$(head -c 1000000 /dev/zero | tr '\0' y)'"}}'
    "#;
    for profile in profiles() {
        let sealed = Sealed::new(profile, much);
        let (report, log) = sealed.run().await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}");
        assert_eq!(report.result.unwrap().output, json!("y".repeat(1_000_000)), "{profile}");
        assert_eq!(log.iter().map(String::len).sum::<usize>(), 6_000_000, "{profile}");
        let sealed = Sealed::new(profile, r"tr '\0' z < /dev/zero >&2");
        let (report, _) = sealed.run().await;
        let too_much = Verdict::Failed(Failure::Output(OutputError::TooMuch));
        assert_eq!(report.verdict, too_much, "{profile}");
    }
}
