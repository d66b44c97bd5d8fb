//! What a worker may not do, what it must not show, and how it ends.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wachter_gitops::{Credential, FetchError, FetchFailure, Source};
use wachter_testkit::{Fault, GitServerOptions, Phase};

use crate::fetch::ssh_job;
use crate::support::{World, assert_sound, failure, fetch, fetcher, files};

/// Each attempt with whether it works outside of the confinement, so that a denial means something.
const ATTEMPTS: &[(&str, &str)] = &[
    ("write beside the repository", "echo x > ../escaped"),
    ("read the origin", "cat ../origin/config/wachter.yaml"),
    ("list the folder above", "ls .."),
    ("execute a file of the repository", "cp /bin/true ./run && chmod +x ./run && ./run"),
    ("read another process", "cat /proc/1/status"),
    ("make a user namespace", "unshare -U true"),
    ("make a mount namespace", "unshare -m true"),
    (
        "open the network elsewhere as a server",
        "perl -MSocket -e 'socket(S,AF_INET,SOCK_STREAM,0) or exit 1; listen(S,1) or exit 1'",
    ),
];

#[test]
fn what_a_worker_and_its_programs_may_not_do() {
    let world = World::new();
    let inside: String = ATTEMPTS
        .iter()
        .map(|(name, command)| format!("if ({command}) >/dev/null 2>&1; then echo 'done: {name}' >> attempts; else echo 'denied: {name}' >> attempts; fi\n"))
        .collect();
    failure(&ssh_job(&world, Path::new("/nowhere"), &inside));
    let attempts = std::fs::read_to_string(world.node().join("attempts")).unwrap();
    let denied: Vec<String> = ATTEMPTS.iter().map(|(name, _)| format!("denied: {name}")).collect();
    assert_eq!(attempts.lines().collect::<Vec<_>>(), denied);
    for (name, command) in ATTEMPTS.iter().filter(|(_, command)| !command.starts_with("unshare")) {
        let control = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(world.node())
            .output()
            .unwrap();
        assert!(control.status.success(), "{name}: {}", String::from_utf8_lossy(&control.stderr));
    }
}

#[test]
fn a_token_is_sent_and_seen_nowhere() {
    let token = "a-secret-token-4f1d";
    let world = World::new();
    let credential = Some(("x-access-token".to_owned(), token.to_owned()));
    let server = world.serve_with(GitServerOptions { tls: false, credential });
    let mut job = world.job(&server.url("origin/.git"));
    assert_eq!(failure(&job), FetchFailure::Credential { status: 401 });
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.credential = Some(Credential::new("x-access-token", "wrong".to_owned()));
    assert_eq!(failure(&job), FetchFailure::Credential { status: 401 });
    let Source::Remote(remote) = &mut job.source else { unreachable!() };
    remote.credential = Some(Credential::new("x-access-token", token.to_owned()));
    assert!(!format!("{job:?}").contains(token));

    // While the worker hangs, look at everything that others could see of it.
    server.inject(Phase::References, Fault::Stall);
    job.limits.time = Duration::from_secs(3);
    let stalled = std::thread::scope(|scope| {
        let running = scope.spawn(|| fetch(&job));
        let worker = wait_for_worker(&world.node());
        let text = |name| std::fs::read(worker.join(name)).unwrap();
        let seen = [text("cmdline"), text("environ")].concat();
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.contains("wachter-gitops-test-worker") && seen.contains("PATH="), "{seen}");
        assert!(!seen.contains(token), "the token is in the arguments or the environment");
        running.join().unwrap()
    });
    assert!(matches!(stalled, Err(FetchError::Deadline { .. })), "{stalled:?}");
    server.repair();
    job.limits.time = Duration::from_secs(60);
    fetch(&job).unwrap();
    server.inject(Phase::References, Fault::Status(500));
    let error = fetch(&job).unwrap_err();
    assert!(!format!("{error:?} {error}").contains(token));
    for file in files(world.folder.path()) {
        let content = std::fs::read(&file).unwrap();
        assert!(
            !content.windows(token.len()).any(|window| window == token.as_bytes()),
            "{}",
            file.display()
        );
    }
}

/// The folder below `/proc` of a worker on `repository`, as soon as there is one.
fn wait_for_worker(repository: &Path) -> PathBuf {
    let worker = fetcher().worker;
    let lock = repository.join("wachter.lock");
    let mut found = None;
    wait_until(|| {
        for process in std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
            let ours = std::fs::read_link(process.join("exe")).is_ok_and(|path| path == worker);
            let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            let mut open = open.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
            if ours && open.any(|path| path == lock) {
                found = Some(process);
            }
        }
        found.is_some()
    });
    found.unwrap()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come true in 20 s");
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_dies_with_its_node() {
    let world = World::new();
    let server = world.serve();
    server.inject(Phase::References, Fault::Stall);
    let (url, repository) = (server.url("origin/.git"), world.node());
    let mut node = std::process::Command::new(fetcher().worker);
    let mut node = node.args(["node", &url, repository.to_str().unwrap()]).spawn().unwrap();
    let worker = wait_for_worker(&repository);
    node.kill().unwrap();
    node.wait().unwrap();
    // Gone, or dead and waiting for whoever inherited it to notice.
    wait_until(|| {
        let status = std::fs::read_to_string(worker.join("stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
    server.repair();
    fetch(&world.job(&url)).unwrap();
    assert_sound(&repository);
}

#[test]
fn a_stalled_server_ends_at_the_deadline() {
    let world = World::new();
    let server = world.serve();
    server.inject(Phase::Discovery, Fault::Stall);
    let mut job = world.job(&server.url("origin/.git"));
    job.limits.time = Duration::from_secs(1);
    let started = Instant::now();
    let outcome = fetch(&job);
    let timed_out = matches!(
        outcome,
        Err(FetchError::Deadline { .. } | FetchError::Failed(FetchFailure::Unreachable { .. }))
    );
    assert!(timed_out, "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn killed_at_any_moment_the_next_fetch_is_sound() {
    let world = World::new();
    for sequence in 2..12 {
        world.release(sequence, &format!("{sequence}: {}\n", "x".repeat(20_000)));
    }
    let server = world.serve();
    let mut job = world.job(&server.url("origin/.git"));
    let mut died = 0;
    for step in 0..40u64 {
        // From before the worker is up to after it is done.
        job.limits.time = Duration::from_millis(1 + step * 3);
        died += u32::from(matches!(fetch(&job), Err(FetchError::Deadline { .. })));
        if step % 10 == 9 {
            job.limits.time = Duration::from_secs(60);
            assert_eq!(fetch(&job).unwrap().tags, 11);
            assert_sound(&world.node());
            assert_eq!(std::fs::read_dir(world.node().join("incoming")).unwrap().count(), 0);
            std::fs::remove_dir_all(world.node()).unwrap();
        }
    }
    assert!(died > 0, "no worker was killed");
}

#[test]
fn two_workers_do_not_meet() {
    let world = World::new();
    let job = world.job(world.origin.path().to_str().unwrap());
    fetch(&job).unwrap();
    let lock = std::fs::File::open(world.node().join("wachter.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(failure(&job), FetchFailure::Busy);
}

#[test]
fn a_worker_that_is_none_is_an_error() {
    let world = World::new();
    let job = world.job("/nowhere");
    for (program, arguments) in [
        ("/nonexistent", vec![]),
        ("/bin/false", vec![]),
        ("/bin/echo", vec!["hello"]),
        ("/usr/bin/yes", vec![]),
    ] {
        let fetcher = wachter_gitops::Fetcher {
            worker: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        };
        let error = fetcher.fetch(&job).unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::Start { .. } | FetchError::Died { .. } | FetchError::Answer
            ),
            "{program}: {error:?}"
        );
    }
}
