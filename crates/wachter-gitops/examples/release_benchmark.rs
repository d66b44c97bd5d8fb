//! Measures what a node waits for: an unchanged poll, a changed file, and the check of a release of
//! 50 modules and 5,000 files.
//!
//! `cargo run -p wachter-gitops --example release_benchmark [ROUNDS]`

#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to clean up")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wachter_gitops::{FetchLimits, Fetcher, Job, Policy, Remote, Repository, Source};
use wachter_testkit::{GitRepository, GitServer, SshKey};
use wachter_trust::{ReleaseStatement, RepositoryId, Ring, Roots, TrustDraft};

const MODULES: usize = 50;
const FILES: usize = 5_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("worker") => {
            wachter_gitops::worker_main(std::io::stdin().lock(), std::io::stdout().lock())
        }
        rounds => {
            measure(rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(20));
            ExitCode::SUCCESS
        }
    }
}

fn measure(rounds: u64) {
    let folder = tempfile::tempdir().unwrap();
    let origin = GitRepository::init(folder.path().join("fleet")).unwrap();
    let root = SshKey::generate(folder.path(), "root").unwrap();
    let id = RepositoryId::from_random([1; 16]);
    let (name, key) = ("alice".parse().unwrap(), root.public().parse().unwrap());
    let trust = TrustDraft::of_one(id, name, key, "2030-01-01T00:00:00Z".parse().unwrap())
        .render()
        .unwrap();
    origin
        .write("trust/trust.yaml.sig", root.sign("wachter-trust", trust.as_bytes()).unwrap())
        .unwrap();
    origin.write("trust/trust.yaml", trust).unwrap();
    for file in 0..FILES {
        let path = format!("modules/module-{:02}/files/{file:05}.txt", file % MODULES);
        origin.write(&path, format!("file {file}\n{}", "content of a line\n".repeat(20))).unwrap();
    }
    let server = GitServer::serve(folder.path()).unwrap();
    let url = server.url("fleet/.git");
    let data = folder.path().join("data");
    let fetcher =
        Fetcher { worker: std::env::current_exe().unwrap(), arguments: vec!["worker".into()] };
    let job = Job {
        repository: Repository::git_folder(&data),
        source: Source::Remote(Remote::new(url.parse().unwrap())),
        branch: None,
        accept_unconfined: false,
        limits: FetchLimits::default(),
    };
    let roots = Roots::new(1, [root.public().parse().unwrap()]).unwrap();
    let policy = Policy::new(roots, id, "2026-01-01T00:00:00Z".parse().unwrap());
    let now = "2026-06-01T00:00:00Z".parse().unwrap();

    release(&origin, &root, id, 1, folder.path());
    let mut node = Repository::open(&data).unwrap();
    let (fetch, _) = timed(|| fetcher.fetch(&job).unwrap());
    node.refresh().unwrap();
    let (cold, verdict) = timed(|| node.accept(&policy, now).unwrap());
    assert!(verdict.accepted.is_some(), "{verdict:?}");
    println!("first fetch {fetch:?}, first check {cold:?}");

    let (mut polls, mut git, mut changes, mut checks) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for sequence in 2..2 + rounds {
        polls.push(timed(|| assert!(!fetcher.fetch(&job).unwrap().changed)).0);
        git.push(timed(|| origin.git(&["ls-remote", &url, "refs/tags/wachter/*"]).unwrap()).0);
        origin.write("modules/module-00/files/00000.txt", format!("changed {sequence}\n")).unwrap();
        release(&origin, &root, id, sequence, folder.path());
        let started = Instant::now();
        fetcher.fetch(&job).unwrap();
        node.refresh().unwrap();
        let (check, verdict) = timed(|| node.accept(&policy, now).unwrap());
        assert_eq!(verdict.accepted.unwrap().sequence, sequence, "{:?}", verdict.refused);
        let snapshot = node.snapshot(now).unwrap().unwrap();
        assert_eq!(snapshot.list("modules/").count(), FILES);
        changes.push(started.elapsed());
        checks.push(check);
    }
    let mut snapshots = Vec::new();
    for _ in 0..rounds {
        let (open, snapshot) = timed(|| {
            let mut node = Repository::open(&data).unwrap();
            node.snapshot(now).unwrap().unwrap()
        });
        assert_eq!(snapshot.list("").count(), FILES + 2);
        snapshots.push(open);
    }
    report("unchanged poll", polls);
    report("git ls-remote", git);
    report("one changed file, until it is live", changes);
    report("of that, the check of the release", checks);
    report("open and check again, as at a start", snapshots);
}

fn release(origin: &GitRepository, key: &SshKey, id: RepositoryId, sequence: u64, folder: &Path) {
    let commit = origin.commit("release").unwrap();
    let mut listing = wachter_trust::TreeListing::new();
    let output = origin.git(&["ls-tree", "-r", &commit]).unwrap();
    for line in output.lines() {
        let (_, path) = line.split_once('\t').unwrap();
        let content = std::fs::read(folder.join("fleet").join(path)).unwrap();
        listing
            .push(wachter_trust::FileMode::Regular, wachter_model::Digest::of(&content), path)
            .unwrap();
    }
    let statement = ReleaseStatement {
        repository: id,
        sequence: sequence.to_string().parse().unwrap(),
        commit: commit.parse().unwrap(),
        tree: listing.digest(),
        not_after: "2029-01-01T00:00:00Z".parse().unwrap(),
        ring: Ring::default(),
        previous: None,
    };
    origin.tag_signed(&format!("wachter/{sequence}"), &commit, &statement.render(), key).unwrap();
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let result = run();
    (started.elapsed(), result)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times[times.len() / 2];
    let high = times[times.len() * 99 / 100];
    println!("{what}: median {median:.1?}, p99 {high:.1?}");
}
