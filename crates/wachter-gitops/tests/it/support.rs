//! A world for one test: a folder, a repository with a release, a server, and a node's side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use wachter_gitops::{
    FetchError, FetchFailure, FetchLimits, Fetched, Fetcher, Job, Remote, Source,
};
use wachter_testkit::{GitRepository, GitServer, GitServerOptions};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) origin: GitRepository,
}

impl World {
    /// A repository `origin` with one commit and the unsigned tag `wachter/1`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = GitRepository::init(folder.path().join("origin")).unwrap();
        origin.write("config/wachter.yaml", "interval: 30s\n").unwrap();
        origin.commit("first").unwrap();
        origin.git(&["tag", "-a", "-m", "one", "wachter/1"]).unwrap();
        Self { folder, origin }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The node's own repository.
    pub(crate) fn node(&self) -> PathBuf {
        self.path("node.git")
    }

    pub(crate) fn serve(&self) -> GitServer {
        GitServer::serve(self.folder.path()).unwrap()
    }

    pub(crate) fn serve_with(&self, options: GitServerOptions) -> GitServer {
        GitServer::serve_with(self.folder.path(), options).unwrap()
    }

    pub(crate) fn job(&self, url: &str) -> Job {
        Job {
            repository: self.node(),
            source: Source::Remote(Remote::new(url.parse().unwrap())),
            branch: None,
            accept_unconfined: false,
            limits: FetchLimits { time: Duration::from_secs(60), ..FetchLimits::default() },
        }
    }

    /// Commits and tags another release.
    pub(crate) fn release(&self, sequence: u64, content: &str) {
        self.origin.write("config/wachter.yaml", content).unwrap();
        self.origin.commit(&format!("release {sequence}")).unwrap();
        let tag = format!("wachter/{sequence}");
        self.origin.git(&["tag", "-a", "-m", "release", &tag]).unwrap();
    }
}

pub(crate) fn fetcher() -> Fetcher {
    Fetcher {
        worker: env!("CARGO_BIN_EXE_wachter-gitops-test-worker").into(),
        arguments: Vec::new(),
    }
}

pub(crate) fn fetch(job: &Job) -> Result<Fetched, FetchError> {
    fetcher().fetch(job)
}

pub(crate) fn failure(job: &Job) -> FetchFailure {
    match fetch(job) {
        Err(FetchError::Failed(failure)) => failure,
        other => panic!("expected the worker to say why it failed, got {other:?}"),
    }
}

/// What `git` says about the node's repository: the objects are whole and connected.
pub(crate) fn assert_sound(repository: &Path) {
    let output = std::process::Command::new("git")
        .args(["fsck", "--full", "--strict", "--connectivity-only"])
        .current_dir(repository)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below a folder, for looking for what must not be there.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}
