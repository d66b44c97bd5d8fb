use std::os::unix::fs::PermissionsExt;

use wachter_model::{Digest, ModuleName};
use wachter_trust::{ModuleDigests, ModuleFile, ModuleTrustError, Namespace, verify_module};

use crate::support::{Bench, revoke, sign_all, trust};

fn module(name: &str) -> ModuleName {
    name.parse().unwrap()
}

fn digests(name: &str) -> ModuleDigests {
    let file = |content: &str, executable| ModuleFile {
        digest: Digest::of(content.as_bytes()),
        executable,
    };
    let files = [
        ("main.sh".to_owned(), file("#!/bin/sh\n", true)),
        ("module.yaml".to_owned(), file("name: x\n", false)),
        ("sub/a file".to_owned(), file("", false)),
    ];
    ModuleDigests::new(module(name), "1.0.0".parse().unwrap(), files).unwrap()
}

#[test]
fn sha256sum_reads_the_digests() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("sub")).unwrap();
    bench.write("main.sh", "#!/bin/sh\n");
    bench.write("module.yaml", "name: x\n");
    bench.write("sub/a file", "");
    std::fs::set_permissions(bench.path("main.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    bench.write("module.digests", digests("x").render());
    let said = bench.run("sha256sum -c module.digests", b"");
    assert_eq!(String::from_utf8(said).unwrap(), "main.sh: OK\nmodule.yaml: OK\nsub/a file: OK\n");
    bench.write("main.sh", "#!/bin/bash\n");
    assert!(!bench.try_run("sha256sum -c module.digests", b"").status.success());
}

#[test]
fn publishers_decide() {
    let check = |name: &str,
                 seeds: &[u8],
                 changes: &[(&str, &str)],
                 expected: Option<fn(&ModuleTrustError) -> bool>| {
        let text = digests(name).render();
        let signature = sign_all(seeds, Namespace::MODULE, text.as_bytes());
        let outcome = verify_module(&trust(changes), text.as_bytes(), &signature, &module(name));
        match (outcome, expected) {
            (Ok(verified), None) => {
                assert_eq!(verified.digests(), &digests(name));
                assert_eq!(verified.digest(), Digest::of(text.as_bytes()));
            }
            (Err(error), Some(expected)) => {
                assert!(expected(&error), "{name} by {seeds:?}: {error:?}");
            }
            (outcome, _) => panic!("{name} by {seeds:?}: {outcome:?}"),
        }
    };
    use ModuleTrustError as E;
    check("backup", &[1], &[], None);
    check("web-server", &[3], &[], None);
    check(
        "backup",
        &[3],
        &[],
        Some(|error| matches!(error, E::NotPublisher { signer, .. } if signer.as_str() == "c")),
    );
    check("web-server", &[2], &[], Some(|error| matches!(error, E::NotPublisher { .. })));
    check("backup", &[8], &[], Some(|error| matches!(error, E::UnknownSigner { .. })));
    check("backup", &[8, 3, 1], &[], None);
    let revoked = revoke(3);
    let changes = [("revoked: []\n", revoked.as_str())];
    check("web-server", &[3], &changes, Some(|error| matches!(error, E::RevokedSigner { .. })));
    check("web-server", &[3, 1], &changes, None);
}

#[test]
fn other_faults_are_told_apart() {
    let text = digests("backup").render();
    let trust = trust(&[]);
    let check =
        |text: &str, signature: &[u8], name: &str, expected: fn(&ModuleTrustError) -> bool| {
            let error =
                verify_module(&trust, text.as_bytes(), signature, &module(name)).unwrap_err();
            assert!(expected(&error), "{error:?}");
        };
    use ModuleTrustError as E;
    let good = sign_all(&[1], Namespace::MODULE, text.as_bytes());
    check(&text, &sign_all(&[1], Namespace::GIT, text.as_bytes()), "backup", |error| {
        matches!(error, E::BadSignature { .. })
    });
    check(&text.replace("1.0.0", "1.0.1"), &good, "backup", |error| {
        matches!(error, E::BadSignature { .. })
    });
    check(
        &text,
        &good,
        "other",
        |error| matches!(error, E::OtherModule { found, .. } if found.as_str() == "backup"),
    );
    check(&text, b"", "backup", |error| matches!(error, E::Signature { .. }));
    let odd = text.replace("main.sh", "../main.sh");
    check(&odd, &sign_all(&[1], Namespace::MODULE, odd.as_bytes()), "backup", |error| {
        matches!(error, E::Digests { .. })
    });
}
