use wachter_testkit::{Fault, GitError, GitRepository, GitServer, GitServerOptions, Phase, SshKey};

/// A repository `origin` with one commit below a new folder.
fn origin() -> (tempfile::TempDir, GitRepository) {
    let folder = tempfile::tempdir().unwrap();
    let origin = GitRepository::init(folder.path().join("origin")).unwrap();
    origin.write("folder/file", "content\n").unwrap();
    origin.commit("first").unwrap();
    (folder, origin)
}

#[test]
fn git_clones_from_it() {
    let (folder, origin) = origin();
    let server = GitServer::serve(folder.path()).unwrap();
    origin.git(&["clone", "-q", &server.url("origin/.git"), "../clone"]).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("clone/folder/file")).unwrap(),
        "content\n"
    );
    let phases: Vec<_> = server.take_requests().into_iter().map(|request| request.phase).collect();
    assert_eq!(phases, [Some(Phase::Discovery), Some(Phase::References), Some(Phase::Pack)]);
    assert!(server.take_requests().is_empty());
    assert!(origin.git(&["ls-remote", &server.url("missing.git")]).is_err());
}

#[test]
fn tls_and_token_are_asked_for() {
    let (folder, origin) = origin();
    let credential = Some(("x-access-token".to_owned(), "secret".to_owned()));
    let server =
        GitServer::serve_with(folder.path(), GitServerOptions { tls: true, credential }).unwrap();
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, server.certificate().unwrap()).unwrap();
    let trusted = format!("http.sslCAInfo={}", certificate.display());
    let url = server.url("origin/.git");
    let with = |token: &str| url.replace("https://", &format!("https://x-access-token:{token}@"));
    assert!(matches!(origin.git(&["ls-remote", &with("secret")]), Err(GitError::Failed { .. })));
    assert!(origin.git(&["-c", &trusted, "ls-remote", &with("wrong")]).is_err());
    assert!(
        origin
            .git(&["-c", &trusted, "ls-remote", &with("secret")])
            .unwrap()
            .contains("refs/heads/main")
    );
}

#[test]
fn faults_come_and_go() {
    let (folder, origin) = origin();
    let server = GitServer::serve(folder.path()).unwrap();
    let url = server.url("origin/.git");
    for (phase, fault) in [
        (Phase::Discovery, Fault::Status(500)),
        (Phase::References, Fault::CutAfter(3)),
        (Phase::Discovery, Fault::Redirect("/elsewhere".into())),
    ] {
        server.inject(phase, fault.clone());
        assert!(origin.git(&["ls-remote", &url]).is_err(), "{fault:?}");
        server.repair();
        origin.git(&["ls-remote", &url]).unwrap();
    }
}

#[test]
fn what_is_signed_verifies() {
    let (folder, origin) = origin();
    let key = SshKey::generate(folder.path(), "key").unwrap();
    origin.commit_signed("signed", &key).unwrap();
    origin.tag_signed("v1", "HEAD", "message\n", &key).unwrap();
    let allowed = folder.path().join("allowed");
    std::fs::write(&allowed, format!("someone {}\n", key.public())).unwrap();
    let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    origin.git(&["-c", &setting, "-c", "gpg.format=ssh", "verify-tag", "v1"]).unwrap();
    origin.git(&["-c", &setting, "-c", "gpg.format=ssh", "verify-commit", "HEAD"]).unwrap();
    assert!(key.sign("file", b"x").unwrap().starts_with("-----BEGIN SSH SIGNATURE-----"));
    assert!(SshKey::generate(folder.path(), "key").is_err(), "an existing key was overwritten");
}
