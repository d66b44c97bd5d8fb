use wachter_trust::{AllowedSigners, NotAllowedError, RevokedKeys, Signer as _};

use crate::support::{Bench, at, file_key, namespace};

const MESSAGE: &[u8] = b"hello";

/// The same file, identity and time must have the same outcome here and with `ssh-keygen`, but for
/// the documented cases, where only this side refuses.
#[test]
fn agrees_with_ssh_keygen() {
    let bench = Bench::new();
    let mut key = file_key(5);
    let (own, other) = (key.public_key().to_string(), file_key(6).public_key().to_string());
    bench.write("sig", key.sign(namespace("file"), MESSAGE).unwrap().to_armor());
    let signature = key.sign(namespace("file"), MESSAGE).unwrap();
    let check = |file: &str, identity: &str, ours: bool, theirs: bool| {
        let file = file.replace("KEY", &own).replace("OTHER", &other);
        bench.write("allowed", &file);
        let line = format!(
            "ssh-keygen -Y verify -O verify-time=20260601000000Z -f allowed -I {identity} -n file -s sig"
        );
        let real = bench.try_run(&line, MESSAGE);
        assert_eq!(real.status.success(), theirs, "ssh-keygen, {identity}: {file}");
        let now = at("2026-06-01T00:00:00Z");
        let accepted = AllowedSigners::parse(file.as_bytes()).is_ok_and(|signers| {
            signers
                .verify(
                    identity,
                    namespace("file"),
                    MESSAGE,
                    &signature,
                    &RevokedKeys::default(),
                    now,
                )
                .is_ok()
        });
        assert_eq!(accepted, ours, "ours, {identity}: {file}");
    };
    let both =
        |file: &str, identity: &str, expected: bool| check(file, identity, expected, expected);
    both("me KEY", "me", true);
    both("me KEY comment with words", "me", true);
    both("me OTHER", "me", false);
    both("me KEY", "you", false);
    both("*@a.org KEY", "me@a.org", true);
    both("*,!me@a.org KEY", "me@a.org", false);
    both("m?,x KEY", "me", true);
    both("ME KEY", "me", false);
    both("\"me\" KEY", "me", true);
    both("# comment\n\n\tme\tKEY\n", "me", true);
    both("me KEY\r\n", "me", true);
    both("me OTHER\nme KEY", "me", true);
    both("me namespaces=\"file\" KEY", "me", true);
    both("me NAMESPACES=\"f*\" KEY", "me", true);
    both("me namespaces=\"git\" KEY", "me", false);
    both("me namespaces=\"*,!file\" KEY", "me", false);
    both("me namespaces=\"git\" KEY\nme KEY", "me", true);
    both("me valid-after=\"20260601Z\" KEY", "me", true);
    both("me valid-after=\"20260601000001Z\" KEY", "me", false);
    both("me valid-before=\"20260601Z\" KEY", "me", true);
    both("me valid-before=\"20260531235959Z\" KEY", "me", false);
    both("me valid-after=\"20250101\",valid-before=\"202701010000\" KEY", "me", true);
    both("me cert-authority KEY", "me", false);
    both("me namespaces=file KEY", "me", false);
    both("me nonsense KEY", "me", false);
    both("me valid-after=\"2026\" KEY", "me", false);
    both("me valid-after=\"20270101Z\",valid-before=\"20260101Z\" KEY", "me", false);
    // Stricter here: one bad line is a bad file.
    check("nonsense\nme KEY", "me", false, true);
    check("me KEY\nyou ssh-ed25519 AAAA", "me", false, true);
}

#[test]
fn reasons_are_told_apart() {
    let mut key = file_key(5);
    let signature = key.sign(namespace("file"), MESSAGE).unwrap();
    let check =
        |file: &str, message: &[u8], revoked: &str, expected: fn(&NotAllowedError) -> bool| {
            let own = file_key(5).public_key().to_string();
            let signers = AllowedSigners::parse(file.replace("KEY", &own).as_bytes()).unwrap();
            let revoked = RevokedKeys::parse(revoked.replace("KEY", &own).as_bytes()).unwrap();
            let now = at("2026-06-01T00:00:00Z");
            let error = signers
                .verify("me", namespace("file"), message, &signature, &revoked, now)
                .unwrap_err();
            assert!(expected(&error), "{file}: {error:?}");
        };
    check("you KEY", MESSAGE, "", |error| matches!(error, NotAllowedError::UnknownKey { .. }));
    check("me KEY", MESSAGE, "KEY", |error| matches!(error, NotAllowedError::Revoked));
    check("me KEY", b"other", "", |error| matches!(error, NotAllowedError::Signature(_)));
    check("me cert-authority KEY", MESSAGE, "", |error| {
        matches!(error, NotAllowedError::Certificate { line: 1, .. })
    });
    check("\nme namespaces=\"git\" KEY", MESSAGE, "", |error| {
        matches!(error, NotAllowedError::Namespace { line: 2, .. })
    });
    check("me valid-before=\"20260101\" KEY", MESSAGE, "", |error| {
        matches!(error, NotAllowedError::Time { line: 1, .. })
    });
    check("me verify-required KEY", MESSAGE, "", |error| {
        matches!(error, NotAllowedError::Signature(_))
    });
}

#[test]
fn revoked_keys_agree_with_ssh_keygen() {
    let bench = Bench::new();
    let mut key = file_key(5);
    let public = key.public_key().clone();
    bench.write("sig", key.sign(namespace("file"), MESSAGE).unwrap().to_armor());
    bench.write("allowed", format!("me {public}\n"));
    let verify = "ssh-keygen -Y verify -f allowed -I me -n file -s sig -r revoked";
    bench.write("revoked", format!("# none\n{}\n", file_key(6).public_key()));
    bench.run(verify, MESSAGE);
    assert!(!RevokedKeys::parse(&bench.read("revoked")).unwrap().contains(&public));
    bench.write("revoked", format!("{public} lost\n"));
    assert!(!bench.try_run(verify, MESSAGE).status.success());
    let revoked = RevokedKeys::parse(&bench.read("revoked")).unwrap();
    assert!(revoked.contains(&public));
    // What is written here is a KRL specification, which ssh-keygen turns into a list.
    bench.write("specification", revoked.to_string());
    bench.run("ssh-keygen -q -k -f revoked specification", b"");
    assert!(!bench.try_run(verify, MESSAGE).status.success());
}
