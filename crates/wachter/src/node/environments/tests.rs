use std::collections::BTreeMap;

use wachter_bus::{Bus, Options};
use wachter_config::Catalogue;
use wachter_model::ModuleName;
use wachter_protocol::launcher::{BuildOutcome, StopReason, ToLauncher};
use wachter_protocol::{Grant, Manifest};
use wachter_runtime::dispatch::Sources;
use wachter_runtime::{ModuleStanding, StandingModule};

use super::known::{PAUSES, State, pause};
use super::*;
use crate::node::working::stand_in::StandIn;

/// How soon something is said that nothing holds up; builds here take for ever.
const SOON: Duration = Duration::from_secs(10);

const LOCAL: &str = "version: 1
repository: { url: https://git.example.com/infra.git, id: 6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11 }
roots: { threshold: 1, keys: [ssh-ed25519 AAAA root] }
";

/// A release of modules in Python, by name, and of a script.
fn deployment(sequence: u64, python: &[&str]) -> Arc<Deployment> {
    let module = |name: &str, runtime: &str| {
        let text = format!("name: {name}\nversion: 1.0.0\nruntime: {{ {runtime} }}\n");
        let manifest = Manifest::read(&text).unwrap();
        let digest = Digest::of(name.as_bytes());
        let grant = Grant::decide(digest, &manifest, None).unwrap();
        let standing =
            ModuleStanding::Ready { digest, manifest: Box::new(manifest), grant: Box::new(grant) };
        (name.parse().unwrap(), StandingModule { version: "1.0.0".to_owned(), standing })
    };
    let python = python.iter().map(|name| {
        module(name, "kind: python, entrypoint: main.py, requirements: requirements.lock")
    });
    let script = module("script", "kind: process, entrypoint: run");
    let modules: BTreeMap<ModuleName, StandingModule> = python.chain([script]).collect();
    Arc::new(Deployment { sequence, trust_serial: 1, modules, catalogue: Catalogue::default() })
}

/// The task at work, with its launcher.
struct Site {
    found: watch::Sender<Option<Arc<Deployment>>>,
    standing: watch::Receiver<Option<Arc<Deployment>>>,
    launcher: watch::Sender<Option<Launcher>>,
    missing: Arc<Notify>,
    stand_in: StandIn,
    shutdown: CancellationToken,
    _local: watch::Sender<Arc<LocalFile>>,
    _retained: watch::Sender<Option<BTreeSet<Digest>>>,
    folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Site {
    async fn with(deployment: Arc<Deployment>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (stand_in, launcher) = StandIn::connected(folder.path()).await;
        let bus = Bus::open(Options::new(folder.path().join("journal"))).unwrap();
        let (found, deployments) = watch::channel(Some(deployment));
        let (set_standing, standing) = watch::channel(None);
        let (launcher, launchers) = watch::channel(Some(launcher));
        let (local, locals) = watch::channel(Arc::new(LocalFile::read(LOCAL).unwrap()));
        let (retained, retaineds) = watch::channel(None);
        let (missing, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let environments = Environments {
            found: deployments,
            standing: set_standing,
            launcher: launchers,
            local: locals,
            retained: retaineds,
            missing: Arc::clone(&missing),
            announcer: Announcer::new(bus, Sources::new("one".parse().unwrap())),
        };
        tokio::spawn(keep(environments, shutdown.clone()));
        Self {
            found,
            standing,
            launcher,
            missing,
            stand_in,
            shutdown,
            _local: local,
            _retained: retained,
            folder,
        }
    }

    fn deploy(&self, deployment: Arc<Deployment>) {
        self.found.send_replace(Some(deployment));
    }

    /// What is said next.
    async fn next(&mut self) -> Arc<Deployment> {
        let said = tokio::time::timeout(SOON, self.standing.changed()).await;
        said.expect("nothing was said").unwrap();
        self.standing.borrow_and_update().clone().unwrap()
    }

    /// What it is to be asked to build next.
    async fn asked(&mut self) -> wachter_protocol::launcher::Build {
        let asked = tokio::time::timeout(SOON, self.stand_in.hear()).await;
        let ToLauncher::Build(build) = asked.expect("nothing was asked for") else {
            panic!("it asked for no build")
        };
        build
    }
}

/// What a module waits for; none where it may run.
#[track_caller]
fn waits_for(deployment: &Deployment, module: &str) -> Option<String> {
    let module = &deployment.modules[module];
    assert_eq!(module.reason(), None);
    module.waits_for().map(str::to_owned)
}

fn kept() -> BuildOutcome {
    BuildOutcome::Kept(Digest::of(b"environment"))
}

#[tokio::test]
async fn a_module_waits_until_its_environment_is_there() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    let build = site.asked().await;
    let said = site.next().await;
    assert_eq!(waits_for(&said, "report").as_deref(), Some("its environment is being built"));
    assert!(!said.modules["report"].is_failing());
    assert_eq!(waits_for(&said, "script"), None);
    site.stand_in.settle(build.run, kept());
    assert_eq!(waits_for(&*site.next().await, "report"), None);
}

#[tokio::test]
async fn what_is_there_is_not_talked_about() {
    let mut site = Site::with(deployment(1, &["one", "two"])).await;
    for _ in 0..2 {
        let build = site.asked().await;
        let present = BuildOutcome::Present(Digest::of(b"environment"));
        site.stand_in.settle(build.run, present);
    }
    let said = site.next().await;
    assert_eq!((waits_for(&said, "one"), waits_for(&said, "two")), (None, None));
}

#[tokio::test]
async fn a_module_whose_environment_cannot_be_built_waits_and_says_why() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    let build = site.asked().await;
    site.stand_in.settle(build.run, BuildOutcome::Refused("it has a *.pth file".to_owned()));
    let said = site.next().await;
    assert!(said.modules["report"].is_failing());
    let reason = waits_for(&said, "report").unwrap();
    assert!(reason.starts_with("its environment cannot be built: "), "{reason}");
    assert!(reason.contains("it has a *.pth file"), "{reason}");
    // With the next release it is tried again at once.
    site.deploy(deployment(2, &["report"]));
    let build = site.asked().await;
    site.stand_in.settle(build.run, kept());
    let said = site.next().await;
    assert_eq!((said.sequence, waits_for(&said, "report")), (2, None));
}

#[tokio::test]
async fn a_new_release_does_not_wait_for_a_build_of_the_one_before() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    let build = site.stand_in.begin_build().await;
    assert_eq!(site.next().await.sequence, 1);
    // One that needs it too has it go on.
    site.deploy(deployment(2, &["report"]));
    let said = site.next().await;
    assert_eq!(said.sequence, 2);
    assert!(waits_for(&said, "report").is_some());
    // One that does not has it ended.
    site.deploy(deployment(3, &["other"]));
    let ToLauncher::Stop(stop) = site.stand_in.hear().await else { panic!("it goes on") };
    assert_eq!((stop.run, stop.reason), (build.run, StopReason::Cancelled));
    let other = site.asked().await;
    assert_eq!(other.name.as_str(), "other");
    let said = site.next().await;
    assert_eq!(said.sequence, 3);
    assert!(waits_for(&said, "other").is_some());
    // Nobody is asked for anything.
    site.deploy(deployment(4, &[]));
    assert_eq!(site.next().await.sequence, 4);
}

#[tokio::test]
async fn what_failed_for_an_earlier_release_is_tried_again_for_this_one() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    let build = site.asked().await;
    site.next().await;
    // The local file has changed, say.
    site.deploy(deployment(1, &["report"]));
    site.next().await;
    site.stand_in.settle(build.run, BuildOutcome::Refused("no such index".to_owned()));
    let build = site.asked().await;
    site.stand_in.settle(build.run, kept());
    while waits_for(&*site.next().await, "report").is_some() {}
}

#[tokio::test]
async fn an_environment_that_has_gone_is_waited_for_again() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    let build = site.asked().await;
    site.stand_in.settle(build.run, kept());
    assert_eq!(waits_for(&*site.next().await, "report"), None);
    site.missing.notify_one();
    let build = site.asked().await;
    assert!(waits_for(&*site.next().await, "report").is_some());
    site.stand_in.settle(build.run, kept());
    assert_eq!(waits_for(&*site.next().await, "report"), None);
}

#[tokio::test]
async fn whoever_comes_after_a_launcher_that_went_is_asked_anew() {
    let mut site = Site::with(deployment(1, &["report"])).await;
    site.asked().await;
    site.next().await;
    site.launcher.send_replace(None);
    // Without any, there is no waiting for one.
    site.deploy(deployment(2, &["report"]));
    let said = site.next().await;
    assert_eq!(said.sequence, 2);
    assert!(waits_for(&said, "report").is_some());
    std::fs::remove_file(site.folder.path().join("launcher.sock")).unwrap();
    let (stand_in, launcher) = StandIn::connected(site.folder.path()).await;
    site.stand_in = stand_in;
    site.launcher.send_replace(Some(launcher));
    let build = site.asked().await;
    site.stand_in.settle(build.run, kept());
    assert_eq!(waits_for(&*site.next().await, "report"), None);
}

#[test]
fn what_fails_is_tried_more_and_more_rarely() {
    let pauses: Vec<u64> = (0..9).map(|failures| pause(failures).as_secs()).collect();
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    assert_eq!(pause(u32::MAX), PAUSES.1);
}

#[test]
fn what_was_there_is_looked_for_again_and_taken_to_be_there() {
    let digest = Digest::of(b"module");
    let mut known = Known::default();
    known.states.insert(digest, State::There { confirmed: true });
    known.doubt();
    assert_eq!(known.states[&digest], State::There { confirmed: false });
    assert_eq!(known.next(), None);
    let next = Instant::now();
    known.states.insert(digest, State::Failed { reason: String::new(), failures: 1, next });
    known.doubt();
    assert_eq!(known.next(), Some(next));
}
