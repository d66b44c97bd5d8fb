use std::path::Path;

use tokio::task::JoinHandle;
use wachter_api::shapes::Frozen;
use wachter_bus::Options;
use wachter_config::{Catalogue, Sources};
use wachter_model::ModuleName;
use wachter_protocol::Grant;
use wachter_protocol::Manifest;
use wachter_runtime::dispatch::Hold;
use wachter_runtime::{ModuleStanding, StandingModule};

use super::stand_in::{Door, StandIn};
use super::*;
use crate::node::freeze::read_frozen;

const LOCAL: &str = "version: 1
repository: { url: https://git.example.com/infra.git, id: 6f0c1c53-8c2c-4f0c-a6ab-3f0a8f5a2a11 }
roots: { threshold: 1, keys: [ssh-ed25519 AAAA root] }
";

/// One agent, which has effects.
fn deployment() -> Arc<Deployment> {
    let name: ModuleName = "probe".parse().unwrap();
    let manifest = Manifest::read(
        "name: probe\nversion: 1.0.0\nruntime: { kind: process, entrypoint: run }\n",
    )
    .unwrap();
    let digest = wachter_model::Digest::of(b"probe");
    let grant = Grant::decide(digest, &manifest, None).unwrap();
    let standing =
        ModuleStanding::Ready { digest, manifest: Box::new(manifest), grant: Box::new(grant) };
    let sources = Sources {
        files: vec![(
            "config/agents/fixer.yaml",
            "name: fixer\nrole: remediation\nmodule: probe\n",
        )],
        modules: [(name.clone(), wachter_config::Module::default())].into(),
        ..Sources::default()
    };
    let module = StandingModule { version: "1.0.0".to_owned(), standing };
    Arc::new(Deployment {
        sequence: 1,
        trust_serial: 1,
        modules: [(name, module)].into(),
        catalogue: Catalogue::load(&sources).unwrap(),
    })
}

/// The task at work in a folder; its launcher is the test's to send.
struct Site {
    freezer: Freezer,
    agents: watch::Receiver<Option<Handle>>,
    shutdown: CancellationToken,
    working: JoinHandle<CommandResult>,
    folder: tempfile::TempDir,
}

impl Site {
    /// The task, and the door that it knocks at.
    fn open() -> (Self, Door) {
        let folder = tempfile::tempdir().unwrap();
        let door = Door::open(folder.path());
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let freezer = Freezer::open(&folder.path().join("data")).unwrap();
        let deployed = deployment();
        let settings = Arc::new(deployed.catalogue.settings().clone());
        let (set_agents, agents) = watch::channel(None);
        let work = super::Work {
            node: "one".parse().unwrap(),
            bus: Bus::open(Options::new(folder.path().join("journal"))).unwrap(),
            options: door.options.clone(),
            local: watch::channel(Arc::new(LocalFile::read(LOCAL).unwrap())).1,
            deployments: watch::channel(Some(deployed)).1,
            settings: watch::channel(settings).1,
            freezer: freezer.clone(),
            launcher: watch::channel(None).0,
            runner: watch::channel(None).0,
            missing: Arc::new(Notify::new()),
            agents: set_agents,
            format: Format::Human,
        };
        let shutdown = CancellationToken::new();
        let working = tokio::spawn(super::work(work, shutdown.clone()));
        (Self { freezer, agents, shutdown, working, folder }, door)
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Begins to stop effects.
    fn freeze(&self) -> JoinHandle<std::io::Result<()>> {
        let (freezer, agents) = (self.freezer.clone(), self.agents.clone());
        let frozen = Frozen {
            reason: "an incident".to_owned(),
            by: "ann".to_owned(),
            since: Timestamp::now(),
        };
        tokio::spawn(async move { freezer.freeze(frozen, &agents).await })
    }

    /// What holds the agent, once it is there.
    async fn hold(&mut self) -> Option<Hold> {
        loop {
            let handle = self.agents.wait_for(Option::is_some).await.unwrap().clone().unwrap();
            match handle.report().await.unwrap_or_default().pop() {
                Some(report) => return report.waits_for,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.working.await.unwrap().unwrap();
    }
}

/// The next launcher, after the one before is gone.
async fn next(path: &Path) -> StandIn {
    let _ = std::fs::remove_file(path.join("launcher.sock"));
    Door::open(path).greet().await
}

#[tokio::test]
async fn who_is_put_to_work_while_it_is_written_that_effects_are_stopped_has_none() {
    let (mut site, door) = Site::open();
    let disk = Arc::clone(&site.freezer.disk);
    let writing = disk.lock().await;
    let freezing = site.freeze();
    while site.freezer.frozen().is_none() {
        tokio::task::yield_now().await;
    }
    let stand_in = door.greet().await;
    assert_eq!(site.hold().await, Some(Hold::Frozen), "the disk does not come first");
    assert!(!freezing.is_finished() && read_frozen(&site.data()).unwrap().is_none());
    // Whoever thaws now means what has been begun.
    let (freezer, agents) = (site.freezer.clone(), site.agents.clone());
    let thawing = tokio::spawn(async move { freezer.thaw(&agents).await });
    tokio::task::yield_now().await;
    drop(writing);
    freezing.await.unwrap().unwrap();
    assert!(thawing.await.unwrap().unwrap());
    assert_eq!(site.hold().await, None);
    assert_eq!(read_frozen(&site.data()).unwrap(), None);
    site.freeze().await.unwrap().unwrap();
    assert_eq!(site.hold().await, Some(Hold::Frozen));
    // And so it stays with the next launcher.
    drop(stand_in);
    site.agents.wait_for(Option::is_none).await.unwrap();
    let _stand_in = next(site.folder.path()).await;
    assert_eq!(site.hold().await, Some(Hold::Frozen));
    site.end().await;
}

#[tokio::test]
async fn effects_that_are_stopped_without_room_to_write_it_stay_so_over_launchers() {
    let (mut site, door) = Site::open();
    let stand_in = door.greet().await;
    assert_eq!(site.hold().await, None);
    std::fs::remove_dir(site.data()).unwrap();
    site.freeze().await.unwrap().unwrap_err();
    assert_eq!(site.hold().await, Some(Hold::Frozen));
    assert!(site.freezer.frozen().is_some(), "who looks is told");
    drop(stand_in);
    site.agents.wait_for(Option::is_none).await.unwrap();
    let _stand_in = next(site.folder.path()).await;
    assert_eq!(site.hold().await, Some(Hold::Frozen));
    assert!(site.freezer.thaw(&site.agents).await.unwrap());
    assert_eq!(site.hold().await, None);
    site.end().await;
}

/// Whatever the order: what was answered last is what the agents do.
#[tokio::test]
async fn what_was_said_last_stands_whenever_a_launcher_comes() {
    let (mut site, door) = Site::open();
    let mut stand_in = door.greet().await;
    for round in 0..3 {
        drop(stand_in);
        site.agents.wait_for(Option::is_none).await.unwrap();
        let path = site.folder.path().to_owned();
        let coming = tokio::spawn(async move { next(&path).await });
        // At another moment each time.
        for _ in 0..round * 40 {
            tokio::task::yield_now().await;
        }
        site.freeze().await.unwrap().unwrap();
        assert_eq!(site.hold().await, Some(Hold::Frozen));
        site.freezer.thaw(&site.agents).await.unwrap();
        assert_eq!(site.hold().await, None);
        stand_in = coming.await.unwrap();
    }
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_says_nothing_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path());
    let shutdown = CancellationToken::new();
    let reason = open(&door.options, &shutdown).await.unwrap().unwrap_err();
    assert!(reason.contains("has said nothing for 30 s"), "{reason}");
    let begun = Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shutdown.cancel();
    };
    let (opened, ()) = tokio::join!(open(&door.options, &shutdown), ending);
    assert!(opened.is_none() && begun.elapsed() < FIRST_WORDS);
}
