//! Transports, limits and faults.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use wachter_gitops::{
    Certificates, Credential, FetchError, FetchFailure, FetchLimits, Fetched, Job, LimitKind,
    Source,
};
use wachter_testkit::{Fault, GitServerOptions, Phase};

use crate::support::{World, assert_sound, failure, fetch};

/// Fetches twice: the first brings everything, the second finds nothing new.
fn check_transport(world: &World, job: &Job) -> Fetched {
    let first = fetch(job).unwrap();
    assert!(first.changed && first.objects > 0 && first.tags == 1, "{first:?}");
    assert_sound(&world.node());
    let again = fetch(job).unwrap();
    assert!(!again.changed && again.objects == 0 && again.tags == 1, "{again:?}");
    world.release(2, "interval: 60s\n");
    let third = fetch(job).unwrap();
    assert!(third.changed && third.objects > 0 && third.tags == 2, "{third:?}");
    assert_sound(&world.node());
    first
}

#[test]
fn over_http() {
    let world = World::new();
    let server = world.serve();
    let first = check_transport(&world, &world.job(&server.url("origin/.git")));
    let held = first.confinement;
    assert!(held.no_new_privileges && held.resource_limits && held.parent_death_signal, "{held:?}");
    assert!(held.file_system && held.network && held.system_calls, "{held:?}");
}

#[test]
fn over_https() {
    let world = World::new();
    let server = world.serve_with(GitServerOptions { tls: true, credential: None });
    let mut job = world.job(&server.url("origin/.git"));
    let refused = failure(&job);
    assert!(matches!(refused, FetchFailure::Tls { .. }), "{refused:?}");
    let certificates = world.path("ca.pem");
    std::fs::write(&certificates, server.certificate().unwrap()).unwrap();
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.certificates.file = Some(certificates);
    check_transport(&world, &job);
}

#[test]
fn an_own_authority_is_named_by_file_or_folder() {
    let world = World::new();
    let server = world.serve_with(GitServerOptions { tls: true, credential: None });
    let url = server.url("origin/.git");
    for name in ["folder", "empty", "elsewhere"] {
        std::fs::create_dir(world.path(name)).unwrap();
    }
    for name in ["ca.pem", "folder/0a1b2c3d.0"] {
        std::fs::write(world.path(name), server.certificate().unwrap()).unwrap();
    }
    std::fs::write(world.path("none.pem"), "nothing\n").unwrap();
    let check = |file: Option<&str>, folders: &[&str], expected: Result<(), &str>| {
        let mut job = world.job(&url);
        let Source::Remote(remote) = &mut job.source else { unreachable!() };
        remote.certificates = Certificates {
            file: file.map(|name| world.path(name)),
            folders: folders.iter().map(|name| world.path(name)).collect(),
        };
        match (fetch(&job), expected) {
            (Ok(fetched), Ok(())) => assert!(fetched.confinement.file_system, "{fetched:?}"),
            (Err(FetchError::Failed(FetchFailure::Tls { reason })), Err(words)) => {
                assert!(reason.contains(words), "{reason}");
            }
            (found, _) => panic!("{file:?} {folders:?}: {found:?}"),
        }
    };
    check(Some("ca.pem"), &[], Ok(()));
    check(None, &["folder"], Ok(()));
    check(None, &["missing", "empty", "folder"], Ok(()));
    check(Some("ca.pem"), &["folder"], Ok(()));
    // Of the system's own none counts any more.
    check(None, &[], Err(""));
    check(None, &["empty"], Err("no certificates to trust in"));
    check(Some("none.pem"), &[], Err("none.pem"));
    // One that was named and is not there is a mistake that nothing else covers up.
    check(Some("missing.pem"), &["folder"], Err("missing.pem"));
}

#[test]
fn from_a_local_path() {
    let world = World::new();
    check_transport(&world, &world.job(world.origin.path().to_str().unwrap()));
}

#[test]
fn from_a_file_url() {
    let world = World::new();
    check_transport(&world, &world.job(&format!("file://{}", world.origin.path().display())));
}

/// An `ssh` that writes down its arguments, does `first`, and runs the command on this side.
fn fake_ssh(world: &World, first: &str) -> std::path::PathBuf {
    let program = world.path("ssh");
    let node = world.node();
    let script = format!(
        "#!/bin/sh\ncd '{}'\nprintf '%s\\n' \"$@\" > arguments\nfor last in \"$@\"; do :; done\n\
         export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'\n\
         {first}\nexec sh -c \"$last\"\n",
        node.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program
}

pub(crate) fn ssh_job(world: &World, path: &Path, first: &str) -> Job {
    let mut job = world.job(&format!("ssh://git@example.com:2222{}", path.display()));
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.ssh_program = Some(fake_ssh(world, first));
    job
}

#[test]
fn over_ssh() {
    // A server that is asked for protocol version 2, and one whose `sshd` does not pass that on.
    for first in ["", "unset GIT_PROTOCOL"] {
        let world = World::new();
        // On a real network the origin is elsewhere. Here it must lie where the confined `ssh` may read.
        let origin = world.node().join("origin it's");
        std::fs::create_dir_all(world.node()).unwrap();
        let path = origin.to_str().unwrap();
        world.origin.git(&["clone", "-q", "--bare", ".", path]).unwrap();
        let job = ssh_job(&world, Path::new(&path.replace(' ', "%20")), first);
        let fetched = fetch(&job).unwrap();
        assert!(
            fetched.changed && fetched.tags == 1 && !fetched.confinement.network,
            "{fetched:?}"
        );
        assert!(!fetch(&job).unwrap().changed);
        let push = ["push", "-q", path, "main", "wachter/2"];
        world.release(2, "interval: 60s\n");
        world.origin.git(&push).unwrap();
        let fetched = fetch(&job).unwrap();
        assert!(fetched.objects > 0 && fetched.tags == 2, "{fetched:?}");
        assert_sound(&world.node());
        let arguments = std::fs::read_to_string(world.node().join("arguments")).unwrap();
        let arguments: Vec<&str> = arguments.lines().collect();
        assert!(
            arguments.contains(&"-oBatchMode=yes")
                && arguments.contains(&"-oStrictHostKeyChecking=yes")
        );
        let upload_pack = format!("git-upload-pack '{}'", path.replace('\'', "'\\''"));
        assert_eq!(
            arguments[arguments.len() - 5..],
            ["-p", "2222", "--", "git@example.com", &upload_pack]
        );
    }
}

#[test]
fn a_redirect_within_the_server_is_followed() {
    let world = World::new();
    std::os::unix::fs::symlink(world.origin.path(), world.path("moved")).unwrap();
    let credential = Some(("x".to_owned(), "y".to_owned()));
    let server = world.serve_with(GitServerOptions { tls: false, credential });
    let mut job = world.job(&server.url("origin/.git"));
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.credential = Some(Credential::new("x", "y".to_owned()));
    for to in ["/moved/.git".to_owned(), server.url("moved/.git")] {
        server.inject(
            Phase::Discovery,
            Fault::Redirect(format!("{to}/info/refs?service=git-upload-pack")),
        );
        drop(server.take_requests());
        fetch(&job).unwrap();
        let requests = server.take_requests();
        assert!(
            requests
                .iter()
                .skip(1)
                .all(|request| request.path.starts_with("/moved/.git") && request.authorized)
        );
        std::fs::remove_dir_all(world.node()).unwrap();
    }
    // The same host and port by another scheme is another server.
    let to = server.url("moved/.git").replace("http://", "https://");
    server.inject(
        Phase::Discovery,
        Fault::Redirect(format!("{to}/info/refs?service=git-upload-pack")),
    );
    assert!(matches!(failure(&job), FetchFailure::Redirect { .. }));
}

#[test]
fn an_unchanged_poll_costs_two_requests() {
    let world = World::new();
    let server = world.serve();
    let job = world.job(&server.url("origin/.git"));
    fetch(&job).unwrap();
    drop(server.take_requests());
    assert!(!fetch(&job).unwrap().changed);
    let ours = server.take_requests();
    world.origin.git(&["ls-remote", &server.url("origin/.git")]).unwrap();
    let of_git = server.take_requests();
    assert!(ours.len() <= of_git.len() + 1, "{ours:?} {of_git:?}");
    assert!(ours.iter().all(|request| request.phase != Some(Phase::Pack)), "{ours:?}");
}

#[test]
fn other_references_are_left_where_they_are() {
    let world = World::new();
    world.origin.git(&["tag", "-a", "-m", "x", "v1.0"]).unwrap();
    world.origin.git(&["tag", "-a", "-m", "x", "wachter/latest"]).unwrap();
    world.origin.git(&["branch", "other"]).unwrap();
    world
        .origin
        .git(&["update-ref", "refs/replace/0123456789012345678901234567890123456789", "HEAD"])
        .unwrap();
    let server = world.serve();
    let mut job = world.job(&server.url("origin/.git"));
    job.branch = Some("main".parse().unwrap());
    assert_eq!(fetch(&job).unwrap().tags, 1);
    let references = std::fs::read_to_string(world.node().join("packed-refs")).unwrap();
    let names: Vec<&str> = references.lines().skip(1).map(|line| &line[41..]).collect();
    assert_eq!(names, ["refs/wachter/remote/heads/main", "refs/wachter/remote/tags/wachter/1"]);
    job.branch = Some("missing".parse().unwrap());
    assert_eq!(failure(&job), FetchFailure::NoBranch { branch: "missing".into() });
}

#[test]
fn plain_http_goes_to_this_machine_only() {
    let world = World::new();
    let mut job = world.job("http://192.0.2.1/origin.git");
    assert_eq!(failure(&job), FetchFailure::PlainHttp);
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.allow_plain_http = true;
    job.limits.time = Duration::from_millis(500);
    // 192.0.2.0/24 is nobody's (RFC 5737): allowed now, it cannot be reached.
    let outcome = fetch(&job);
    let unreachable = matches!(
        outcome,
        Err(FetchError::Deadline { .. } | FetchError::Failed(FetchFailure::Unreachable { .. }))
    );
    assert!(unreachable, "{outcome:?}");
}

#[test]
fn server_faults_are_named_and_leave_nothing_behind() {
    let world = World::new();
    let server = world.serve();
    let other = world.serve();
    let url = server.url("origin/.git");
    let job = world.job(&url);
    let discovery = "/info/refs?service=git-upload-pack";
    let elsewhere = format!("{}{discovery}", other.url("elsewhere.git"));
    type Expected = fn(&FetchFailure) -> bool;
    let cases: Vec<(Phase, Fault, Expected)> = vec![
        (Phase::Discovery, Fault::Status(500), |failure| {
            *failure == FetchFailure::Status { status: 500 }
        }),
        (Phase::Discovery, Fault::Status(404), |failure| *failure == FetchFailure::NotFound),
        (Phase::Discovery, Fault::Status(401), |failure| {
            *failure == FetchFailure::Credential { status: 401 }
        }),
        (Phase::References, Fault::Status(429), |failure| {
            *failure == FetchFailure::TooManyRequests { status: 429, retry_after: None }
        }),
        (Phase::Pack, Fault::Status(503), |failure| {
            *failure == FetchFailure::Status { status: 503 }
        }),
        (Phase::Discovery, Fault::Redirect(elsewhere.clone()), |failure| {
            matches!(failure, FetchFailure::Redirect { .. })
        }),
        (Phase::Pack, Fault::Redirect(elsewhere), |failure| {
            matches!(failure, FetchFailure::Redirect { .. })
        }),
        (Phase::Discovery, Fault::Redirect("/no/where".into()), |failure| {
            matches!(failure, FetchFailure::Redirect { .. })
        }),
        (Phase::Discovery, Fault::Redirect(format!("/no.git{discovery}")), |failure| {
            *failure == FetchFailure::NotFound
        }),
        (Phase::Discovery, Fault::CutAfter(10), |failure| {
            matches!(failure, FetchFailure::Protocol { .. })
        }),
        (Phase::References, Fault::CutAfter(10), |failure| {
            matches!(failure, FetchFailure::Protocol { .. })
        }),
        (Phase::Pack, Fault::CutAfter(0), |failure| {
            matches!(failure, FetchFailure::Protocol { .. } | FetchFailure::Pack { .. })
        }),
        (Phase::Pack, Fault::CutAfter(40), |failure| {
            matches!(failure, FetchFailure::Protocol { .. } | FetchFailure::Pack { .. })
        }),
        (Phase::Pack, Fault::CutAfter(400), |failure| {
            matches!(failure, FetchFailure::Protocol { .. } | FetchFailure::Pack { .. })
        }),
    ];
    for (phase, fault, expected) in cases {
        server.inject(phase, fault.clone());
        let failed = failure(&job);
        assert!(expected(&failed), "{phase:?} {fault:?}: {failed:?}");
        assert!(!world.node().join("packed-refs").exists(), "{phase:?} {fault:?}");
        assert_eq!(std::fs::read_dir(world.node().join("objects/pack")).unwrap().count(), 0);
    }
    assert_eq!(other.take_requests(), [], "a redirect was followed to another server");
    server.repair();
    fetch(&job).unwrap();
    assert_sound(&world.node());
}

#[test]
fn an_endless_pack_is_cut_at_the_limit() {
    let world = World::new();
    let server = world.serve();
    server.inject(Phase::Pack, Fault::Endless);
    let mut job = world.job(&server.url("origin/.git"));
    job.limits = FetchLimits { bytes: 3 << 20, ..job.limits };
    assert_eq!(failure(&job), FetchFailure::Limit { what: LimitKind::Bytes, limit: 3 << 20 });
    job.limits.objects = 1000;
    assert_eq!(failure(&job), FetchFailure::Limit { what: LimitKind::Objects, limit: 1000 });
}

#[test]
fn limits_hold() {
    let world = World::new();
    let server = world.serve();
    for url in [server.url("origin/.git"), world.origin.path().to_str().unwrap().to_owned()] {
        let mut job = world.job(&url);
        job.limits.objects = 2;
        assert_eq!(failure(&job), FetchFailure::Limit { what: LimitKind::Objects, limit: 2 });
        let mut job = world.job(&url);
        job.limits.bytes = 100;
        assert_eq!(failure(&job), FetchFailure::Limit { what: LimitKind::Bytes, limit: 100 });
        let mut job = world.job(&url);
        job.limits.references = 0;
        assert_eq!(failure(&job), FetchFailure::Limit { what: LimitKind::References, limit: 0 });
    }
}

#[test]
fn a_shallow_origin_is_refused() {
    let world = World::new();
    world.release(2, "x: 1\n");
    let url = format!("file://{}", world.origin.path().display());
    world.origin.git(&["clone", "-q", "--depth=1", "--no-local", &url, "../shallow"]).unwrap();
    let shallow = world.path("shallow");
    let tag = [
        "-C",
        shallow.to_str().unwrap(),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.com",
        "tag",
        "-a",
        "-m",
        "x",
        "wachter/3",
    ];
    world.origin.git(&tag).unwrap();
    let server = world.serve();
    assert_eq!(failure(&world.job(&server.url("shallow/.git"))), FetchFailure::Shallow);
}

#[test]
fn a_bundle_brings_the_same() {
    let world = World::new();
    world.release(2, "interval: 60s\n");
    for version in ["2", "3"] {
        let bundle = world.path("out.bundle");
        let option = format!("--version={version}");
        let path = bundle.to_str().unwrap();
        world
            .origin
            .git(&["bundle", "create", "-q", &option, path, "main", "wachter/1", "wachter/2"])
            .unwrap();
        let mut job = world.job("/nowhere");
        job.repository = world.path(&format!("node-{version}.git"));
        job.source = Source::Bundle(bundle.clone());
        let fetched = fetch(&job).unwrap();
        assert!(fetched.changed && fetched.tags == 2, "{fetched:?}");
        assert_sound(&job.repository);

        // What builds on it is taken only where it can be.
        world.release(2 + version.parse::<u64>().unwrap(), &format!("v: {version}\n"));
        let tag = format!("wachter/{}", 2 + version.parse::<u64>().unwrap());
        world.origin.git(&["bundle", "create", "-q", path, &tag, "^wachter/2"]).unwrap();
        assert_eq!(fetch(&job).unwrap().tags, 3);
        assert_sound(&job.repository);
        job.repository = world.path(&format!("empty-{version}.git"));
        assert!(matches!(failure(&job), FetchFailure::Bundle { .. }));
    }
}

#[test]
fn a_damaged_bundle_is_refused() {
    let world = World::new();
    let bundle = world.path("out.bundle");
    world.origin.git(&["bundle", "create", "-q", bundle.to_str().unwrap(), "wachter/1"]).unwrap();
    let good = std::fs::read(&bundle).unwrap();
    let mut job = world.job("/nowhere");
    job.source = Source::Bundle(bundle.clone());
    let start = good.windows(4).position(|window| window == b"PACK").unwrap();
    for at in (start..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        std::fs::write(&bundle, &bad).unwrap();
        failure(&job);
        std::fs::write(&bundle, &good[..at]).unwrap();
        failure(&job);
        assert!(!world.node().join("packed-refs").exists());
    }
    std::fs::write(&bundle, &good).unwrap();
    fetch(&job).unwrap();
}

#[test]
fn a_repository_that_was_tampered_with_is_not_fetched_into() {
    for (file, content) in [
        ("objects/info/alternates", "/tmp\n"),
        ("info/grafts", "x\n"),
        ("shallow", "x\n"),
        ("refs/replace/0123456789012345678901234567890123456789", "x\n"),
        ("refs/heads/main", "x\n"),
        ("packed-refs", "# pack-refs with: peeled fully-peeled sorted \n"),
    ] {
        let world = World::new();
        let job = world.job(world.origin.path().to_str().unwrap());
        fetch(&job).unwrap();
        let path = world.node().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let refused = failure(&job);
        assert!(matches!(refused, FetchFailure::Repository { .. }), "{file}: {refused:?}");
    }
}
