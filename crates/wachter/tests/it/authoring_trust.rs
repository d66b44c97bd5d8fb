//! Several people, and keys that come and go.

use std::fs;

use serde_json::Value;

use crate::author::Author;

#[test]
fn a_path_that_takes_two_waits_for_the_second() {
    let author = Author::with_repository();
    let (bob, carol) = (author.new_key("bob"), author.new_key("carol"));
    let (bob_public, bob_private) =
        (format!("{}.pub", bob.private().display()), bob.private().display().to_string());
    author
        .wachter(&["trust", "add-signer", "bob", &bob_public, "--release", "--publish", "web-*"])
        .succeeds();
    let trust = author.read("trust/trust.yaml");
    let rule =
        "  threshold: 1\n  paths: [{ path: modules/, threshold: 2, signers: [alice, bob] }]\n";
    author.write("trust/trust.yaml", &trust.replace("  threshold: 1\n", rule));
    assert_ne!(author.read("trust/trust.yaml"), trust);
    author.wachter(&["trust", "sign"]).succeeds();
    author.commit();

    let outcome = author.wachter(&["release", "--yes"]);
    outcome.succeeds();
    assert!(
        outcome
            .stdout
            .contains("signers for changes of modules: 1 of 2 (alice)\n  missing: 1 of bob"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stderr.contains("`wachter release --cosign 1 --push`"), "{}", outcome.stderr);
    author.node_refuses("has 1 of 2 required signers for `modules/");
    author
        .wachter(&["release", "--yes", "--cosign", "1"])
        .fails(3, "`alice` signed this release already");
    let carol = carol.private().display().to_string();
    author
        .wachter(&["release", "--yes", "--cosign", "1", "--key", &carol])
        .fails(3, "is not in the trust file");
    let plan = author.plan(&["release", "--yes", "--cosign", "1", "--key", &bob_private]);
    assert_eq!(
        (&plan["complete"], &plan["tag"]),
        (&Value::Bool(true), &Value::from("wachter/1.2")),
        "{plan}"
    );
    author.node_takes(1);

    // What changes no module needs one signer, and is compared with the release that is complete.
    author.write("note", "");
    author.commit();
    let plan = author.plan(&["release", "--yes"]);
    assert_eq!(
        (&plan["complete"], &plan["previous"]),
        (&Value::Bool(true), &Value::from(1)),
        "{plan}"
    );

    // A release that still waits is not what nodes follow, so it is not compared with.
    let manifest = author.read("modules/system-monitor/module.yaml");
    author.write("modules/system-monitor/module.yaml", &manifest.replace("0.1.0", "0.1.1"));
    author.wachter(&["sign", "system-monitor"]).succeeds();
    author
        .wachter(&["sign", "--add", "system-monitor", "--key", &bob_private])
        .fails(3, "`bob` may not publish module `system-monitor`");
    author.commit();
    assert_eq!(author.plan(&["release", "--yes"])["complete"], false);
    let plan = author.plan(&["release", "--dry-run"]);
    assert_eq!(
        (&plan["sequence"], &plan["previous"]),
        (&Value::from(4), &Value::from(2)),
        "{plan}"
    );
}

#[test]
fn a_release_is_compared_with_after_one_of_its_signers_is_revoked() {
    // The one who signed first, and the one who co-signed.
    for first in [true, false] {
        let author = Author::with_repository();
        let (bob, carol) = (author.new_key("bob"), author.new_key("carol"));
        let private = |key: &wachter_testkit::SshKey| key.private().display().to_string();
        for (name, key) in [("bob", &bob), ("carol", &carol)] {
            let public = format!("{}.pub", private(key));
            author.wachter(&["trust", "add-signer", name, &public, "--release"]).succeeds();
        }
        let trust = author.read("trust/trust.yaml");
        let rule = "  threshold: 1\n  paths: [{ path: modules/, threshold: 2, signers: [alice, bob, carol] }]\n";
        author.write("trust/trust.yaml", &trust.replace("  threshold: 1\n", rule));
        assert_ne!(author.read("trust/trust.yaml"), trust);
        author.wachter(&["trust", "sign"]).succeeds();
        author.commit();
        let (release, cosign) = (["release", "--yes"], ["release", "--yes", "--cosign", "1"]);
        let with_bob = ["--key", &private(&bob)];
        if first {
            author.wachter(&[&release[..], &with_bob].concat()).succeeds();
            author.wachter(&cosign).succeeds();
        } else {
            author.wachter(&release).succeeds();
            author.wachter(&[&cosign[..], &with_bob].concat()).succeeds();
        }
        author.node_takes(1);
        let fingerprint = author.fingerprint(&bob.private().with_extension("pub"));
        author.wachter(&["trust", "revoke", &fingerprint, "--reason", "lost"]).succeeds();
        author.commit();
        let plan = author.plan(&["release", "--dry-run"]);
        assert_eq!(plan["previous"], 1, "{plan}");
        // And so what changed is the trust file alone, for which one is enough.
        let plan = author.plan(&release);
        assert_eq!(
            (&plan["previous"], &plan["complete"]),
            (&Value::from(1), &Value::Bool(true)),
            "{plan}"
        );
        assert_eq!(author.plan(&["release", "--dry-run"])["previous"], 2);

        // What the revoked key signs alone is compared with by nobody, however it is called.
        author.write("note", "");
        author.commit();
        let head = author.git(&["rev-parse", "HEAD"]);
        let statement = author.git(&[
            "tag",
            "-l",
            "--format=%(contents:subject)%0a%0a%(contents:body)",
            "wachter/2",
        ]);
        author.tag("wachter/7", &head, &format!("{statement}\n"), &bob);
        assert_eq!(author.plan(&["release", "--dry-run"])["previous"], 2);
        // Nor beside an old signature of somebody who is trusted, under a new name.
        author.git(&["update-ref", "refs/tags/wachter/7.2", "refs/tags/wachter/2"]);
        assert_eq!(author.plan(&["release", "--dry-run"])["previous"], 2);
    }
}

#[test]
fn a_statement_about_other_files_is_not_co_signed() {
    let author = Author::with_repository();
    let bob = author.new_key("bob");
    let (public, private) =
        (format!("{}.pub", bob.private().display()), bob.private().display().to_string());
    author.wachter(&["trust", "add-signer", "bob", &public, "--release"]).succeeds();
    author.commit();
    author.wachter(&["release", "--yes"]).succeeds();
    let tree = author.plan(&["release", "--dry-run"])["tree"].as_str().unwrap().to_owned();
    let real = author.git(&["cat-file", "tag", "wachter/1"]);
    let statement = real.split_once("\n\n").unwrap().1.split("-----BEGIN").next().unwrap();
    let second =
        statement.replace("sequence 1\n", "sequence 2\n").replace("previous none", "previous 1");
    let other = second.replace(&tree, &"0".repeat(64));
    let alice = author.home().join(".config/wachter/keys/alice").display().to_string();
    let mallory = author.new_key("mallory").private().display().to_string();
    let check = |sequence: &str, message: &str, signer: &str, expected: Option<&str>| {
        let message = message.replace("sequence 2\n", &format!("sequence {sequence}\n"));
        author.tag_with(signer, &format!("wachter/{sequence}"), "HEAD", &message);
        let outcome =
            author.wachter(&["release", "--yes", "--cosign", sequence, "--key", &private]);
        match expected {
            Some(reason) => outcome.fails(3, reason),
            None => outcome.succeeds(),
        };
        let tags = author.git(&["tag", "--list", &format!("wachter/{sequence}.2")]);
        assert_eq!(tags.is_empty(), expected.is_some(), "{tags}");
    };
    check("2", &other, &alice, Some("states another tree than its commit holds; do not sign it"));
    check("3", &second, &mallory, Some("tag `wachter/3` is signed by the unknown key"));
    check("4", &second, &alice, None);
}

#[test]
fn a_second_publisher_adds_a_signature() {
    let author = Author::with_repository();
    let bob = author.new_key("bob");
    let (public, private) =
        (format!("{}.pub", bob.private().display()), bob.private().display().to_string());
    author.wachter(&["trust", "add-signer", "bob", &public, "--publish", "*"]).succeeds();
    author.wachter(&["sign", "--add", "system-monitor", "--key", &private]).succeeds();
    let signatures = author.read("modules/system-monitor/module.sig");
    assert_eq!(signatures.matches("BEGIN SSH SIGNATURE").count(), 2);
    author.wachter(&["sign", "--check"]).succeeds();
    author.write("modules/system-monitor/extra", "");
    author
        .wachter(&["sign", "--add", "system-monitor", "--key", &private])
        .fails(3, "no longer hold");
    author.wachter(&["release", "--yes", "--key", &private]).fails(3, "not committed");
    author.remove("modules/system-monitor/extra");
    author.commit();
    author
        .wachter(&["release", "--yes", "--key", &private])
        .fails(3, "`bob` may not sign releases");
}

/// The launcher verifies no RSA: whoever writes the trust file learns it first.
#[test]
fn an_rsa_key_signs_releases_and_publishes_nothing() {
    let author = Author::with_repository();
    let key = author.home().join("rsa");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let public = format!("{}.pub", key.display());
    let before = author.read("trust/trust.yaml");
    author
        .wachter(&["trust", "add-signer", "bob", &public, "--publish", "*"])
        .fails(3, "`bob` publishes modules and has the ssh-rsa key");
    assert_eq!(author.read("trust/trust.yaml"), before);
    author.wachter(&["trust", "add-signer", "bob", &public, "--release"]).succeeds();
    assert!(author.read("trust/trust.yaml").contains("ssh-rsa "));
}

#[test]
fn a_key_is_rotated_and_then_revoked() {
    let author = Author::with_repository();
    author.wachter(&["release", "--yes"]).succeeds();
    let new = author.new_key("new");
    let (public, private) =
        (format!("{}.pub", new.private().display()), new.private().display().to_string());
    let old = author.fingerprint(&author.home().join(".config/wachter/keys/alice.pub"));

    let rotated = author.wachter(&["trust", "rotate", "--old", "alice", "--new-key", &public]);
    rotated.succeeds();
    assert!(rotated.stdout.contains("to be signed again: system-monitor"), "{}", rotated.stdout);
    assert!(rotated.stderr.contains("also a root of this host"), "{}", rotated.stderr);
    author.wachter(&["sign", "--check"]).fails(3, "1 of 1 modules");
    author.wachter(&["sign", "--all"]).fails(3, "is not in the trust file");
    author.wachter(&["sign", "--all", "--key", &private]).succeeds();
    author.commit();
    author.wachter(&["release", "--yes"]).fails(3, "is not in the trust file");
    // The release before, signed by a key that is gone, still counts: the roots vouched for it then.
    let plan = author.plan(&["release", "--yes", "--key", &private]);
    assert_eq!(
        (&plan["sequence"], &plan["previous"]),
        (&Value::from(2), &Value::from(1)),
        "{plan}"
    );

    // The old key is the only root still, and no root can revoke itself.
    author
        .wachter(&["trust", "revoke", &old, "--reason", "laptop stolen"])
        .fails(3, "sign with another root");
    let local = fs::read_to_string(author.home().join("node.yaml")).unwrap();
    let old_key = fs::read_to_string(author.home().join(".config/wachter/keys/alice.pub")).unwrap();
    fs::write(author.home().join("node.yaml"), local.replace(old_key.trim_end(), new.public()))
        .unwrap();
    let revoked =
        author.wachter(&["trust", "revoke", &old, "--reason", "laptop stolen", "--key", &private]);
    revoked.succeeds();
    assert!(revoked.stdout.contains(&format!("revoked {old}")), "{}", revoked.stdout);
    author.wachter(&["trust", "revoke", &old, "--reason", "again", "--key", &private]).succeeds();
    author.commit();
    let shown = author.plan(&["trust", "show"]);
    assert_eq!(
        (&shown["holds"], &shown["serial"]),
        (&Value::Bool(true), &Value::from(3)),
        "{shown}"
    );
    assert_eq!(shown["revoked"][0]["reason"], "laptop stolen");
    let plan = author.plan(&["release", "--yes", "--key", &private]);
    assert_eq!(
        (&plan["sequence"], &plan["previous"]),
        (&Value::from(3), &Value::from(2)),
        "{plan}"
    );
    author.node_takes(3);
    author.wachter(&["release", "--yes"]).fails(3, "is revoked; sign with another one");
}

#[test]
fn a_change_that_locks_everyone_out_is_refused() {
    let author = Author::with_repository();
    let before = author.read("trust/trust.yaml");
    author
        .wachter(&["trust", "revoke", "alice", "--reason", "test"])
        .fails(3, "a threshold of 1 cannot be");
    author
        .wachter(&["trust", "revoke", "nobody", "--reason", "test"])
        .fails(2, "neither a signer, a fingerprint");
    author
        .wachter(&["trust", "rotate", "--old", "nobody", "--new-key", "x"])
        .fails(1, "x: No such file");
    assert_eq!(author.read("trust/trust.yaml"), before);
}

#[test]
fn the_serial_of_a_committed_file_is_used_once() {
    let author = Author::with_repository();
    let trust = author.read("trust/trust.yaml");
    author.write("trust/trust.yaml", &trust.replace("approvers: [\"alice\"]", "approvers: []"));
    assert_ne!(author.read("trust/trust.yaml"), trust);
    author.wachter(&["trust", "sign"]).fails(3, "raise `serial` to 2");
    let shown = author.plan(&["trust", "show"]);
    assert_eq!(shown["holds"], false);
    author.write("trust/trust.yaml", &trust.replace("serial: 1", "serial: 2"));
    author.wachter(&["trust", "sign"]).succeeds();
    assert_eq!(author.plan(&["trust", "show"])["holds"], true);
    author.wachter(&["trust", "sign", "--not-after", "30d"]).succeeds();
    let shown = author.plan(&["trust", "show"]);
    assert_eq!(shown["serial"], 3, "{shown}");
    assert!(matches!(shown["days_left"].as_i64(), Some(29 | 30)), "{shown}");
}

#[test]
fn two_roots_sign_one_after_the_other() {
    let author = Author::with_repository();
    let second = author.new_key("second");
    let private = second.private().display().to_string();
    let roots = [
        format!("{}.pub", author.home().join(".config/wachter/keys/alice").display()),
        format!("{}.pub", second.private().display()),
    ];
    let with_roots = |arguments: &[&str]| {
        let roots = ["--root", &roots[0], "--root", &roots[1]];
        author.wachter(&[arguments, &roots[..]].concat())
    };
    let first = with_roots(&["trust", "sign"]);
    first.succeeds();
    assert!(first.stderr.contains("1 of 2 roots have signed"), "{}", first.stderr);
    with_roots(&["release", "--dry-run"])
        .fails(3, "1 of 2 required root keys signed the trust file");
    with_roots(&["trust", "sign", "--key", &private]).succeeds();
    assert_eq!(author.read("trust/trust.yaml.sig").matches("BEGIN SSH SIGNATURE").count(), 2);
    author.commit();
    with_roots(&["release", "--yes"]).succeeds();
}
