//! SIGKILL of a real node, of its launcher, and of the commands that change what is in force, at
//! each step of their work. A step is known by the files that appear, and the kill comes some
//! moments after it, so that the steps between are hit as well.
//!
//! `WACHTER_KILLS` sets the number of kills.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use wachter_bus::{Bus, EventFilter, Options, Query, Seq};
use wachter_model::Digest;
use wachter_testkit::{Fault, Phase};

use crate::site::{Node, Site, processes_of};

/// Enough for each step to be hit several times.
const KILLS: u32 = 66;

/// What is waited for before the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Nothing: the start itself.
    Start,
    /// The server was asked and does not answer.
    Fetching,
    /// Objects of a new release came in.
    Stored,
    /// A new release was written down as accepted.
    Accepted,
    /// Its module is being written, or is there.
    Materialized,
    /// It is what commands show as being in force.
    Deployed,
    /// A run is over and was recorded; the next is under way soon.
    Running,
    /// The journal was written: a tick, a run's record, or half of one.
    Journalled,
    /// The launcher dies, and the node goes on.
    Launcher,
    /// Somebody goes back a release, or stays at one.
    Holding,
}

const STEPS: [Step; 10] = [
    Step::Start,
    Step::Fetching,
    Step::Stored,
    Step::Accepted,
    Step::Materialized,
    Step::Deployed,
    Step::Running,
    Step::Journalled,
    Step::Launcher,
    Step::Holding,
];

/// A site whose server shows as many of its releases as it is told to.
struct World {
    site: Site,
    tags: Vec<(String, String)>,
    /// The highest release that was seen in force.
    floor: u64,
    random: u64,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        for number in 2..=3 {
            // Another module each time, so that there is something to write.
            let path = site.path("infra/modules/hello/main.sh");
            let script = fs::read_to_string(&path).unwrap();
            fs::write(&path, format!("{script}\n# {number} {}\n", "x".repeat(200_000))).unwrap();
            site.release();
        }
        let listed = site.git(&["ls-remote", &site.path("git/infra.git").display().to_string()]);
        let tags = listed
            .lines()
            .filter(|line| line.contains("refs/tags/wachter/") && !line.ends_with("^{}"))
            .filter_map(|line| line.split_once('\t'))
            .map(|(id, name)| (id.to_owned(), name.to_owned()))
            .collect();
        let mut world = Self { site, tags, floor: 0, random: 0x2545_f491_4f6c_dd1d };
        assert_eq!(world.tags.len(), 3);
        world.begin_again();
        world
    }

    /// As it was before any release but the first.
    fn begin_again(&mut self) {
        self.show(1);
        self.floor = 0;
        let _ = fs::remove_dir_all(self.data());
    }

    /// The server shows the first `count` releases.
    fn show(&self, count: usize) {
        let server = self.site.path("git/infra.git").display().to_string();
        for (number, (id, name)) in self.tags.iter().enumerate() {
            let change = if number < count {
                vec!["update-ref", name, id]
            } else {
                vec!["update-ref", "-d", name]
            };
            self.site.git(&[&["-C", server.as_str()][..], &change].concat());
        }
    }

    fn data(&self) -> PathBuf {
        self.site.path("data")
    }

    /// Up to `most`, each time another.
    fn moment(&mut self, most: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        most.mul_f64((self.random % 1_000) as f64 / 1_000.0)
    }

    /// Everything that must hold between two nodes, whatever the last one was doing.
    fn check(&mut self, what: &str) {
        let data = self.data();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let left = processes_of(&data);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "{what}: left behind: {left:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*data.to_string_lossy()), "{what}: {mounts}");
        for file in ["state.json", "deployed.json"] {
            if let Ok(text) = fs::read(data.join(file)) {
                let parsed = serde_json::from_slice::<Value>(&text);
                assert!(parsed.is_ok(), "{what}: {file}: {}", String::from_utf8_lossy(&text));
            }
        }
        let in_force = accepted(&data).last().copied().unwrap_or(0);
        assert!(in_force >= self.floor, "{what}: release {in_force} after {}", self.floor);
        self.floor = in_force;
        check_modules(&data.join("modules"), what);
    }
}

/// The accepted releases, oldest first.
fn accepted(data: &Path) -> Vec<u64> {
    let Ok(text) = fs::read(data.join("state.json")) else { return Vec::new() };
    let Ok(state) = serde_json::from_slice::<Value>(&text) else { return Vec::new() };
    let history = state["history"].as_array().cloned().unwrap_or_default();
    history.iter().filter_map(|release| release["sequence"].as_u64()).collect()
}

/// Every folder by the name of a digest holds what has that digest; what is half has another name.
fn check_modules(modules: &Path, what: &str) {
    for entry in fs::read_dir(modules).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let list = fs::read(entry.path().join("module.digests")).unwrap();
        assert_eq!(Digest::of(&list).to_string(), name, "{what}");
        let checked = Command::new("sha256sum")
            .args(["--check", "--quiet", "module.digests"])
            .current_dir(entry.path())
            .output()
            .unwrap();
        assert!(
            checked.status.success(),
            "{what}: {name}: {}",
            String::from_utf8_lossy(&checked.stdout)
        );
    }
}

/// The counts of the runs that were recorded, in the order of the journal, which must be sound.
async fn records(data: &Path) -> Vec<u64> {
    let bus = Bus::open(Options::new(data.join("journal"))).unwrap();
    let report = bus.verify(Seq::new(1), Vec::new()).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    let topics = vec!["run.finished".parse().unwrap()];
    let filter = EventFilter { topics, ..EventFilter::default() };
    let mut finished = bus.replay(Query { filter, ..Query::default() });
    let mut counts = Vec::new();
    while let Some(stored) = finished.next().await {
        let record = stored.unwrap().event.data().to_json().unwrap();
        counts.extend(record["output"]["count"].as_u64());
    }
    counts
}

/// Watches without a pause, since some steps are short.
fn wait_for(what: &str, node: &mut Node, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(node.child.try_wait().unwrap().is_none(), "the node ended before {what}");
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

fn changed(path: &Path) -> Option<(std::time::SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let status = fs::metadata(path).ok()?;
    Some((status.modified().ok()?, status.ino()))
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

impl Step {
    /// Brings a node to this step and kills it.
    fn kill(self, world: &mut World) {
        let data = world.data();
        match self {
            Self::Start => {
                let moment = world.moment(Duration::from_millis(120));
                let mut node = world.site.start();
                node.kill_after(moment);
            }
            Self::Fetching => {
                world.site.server().inject(Phase::References, Fault::Stall);
                drop(world.site.server().take_requests());
                let moment = world.moment(Duration::from_millis(20));
                let mut node = world.site.start();
                let asked = || {
                    world
                        .site
                        .server()
                        .take_requests()
                        .iter()
                        .any(|request| request.phase == Some(Phase::References))
                };
                wait_for("a fetch", &mut node, asked);
                node.kill_after(moment);
                world.site.server().repair();
            }
            Self::Stored | Self::Accepted | Self::Materialized | Self::Deployed => {
                let mut node = world.site.start();
                node.hear("is in force");
                let path = data.join(match self {
                    Self::Stored => "repository.git/incoming",
                    Self::Accepted => "state.json",
                    Self::Materialized => "modules",
                    _ => "deployed.json",
                });
                let before = (changed(&path), names(&path));
                let moment = world.moment(Duration::from_millis(15));
                if accepted(&data).len() < world.tags.len() {
                    world.show(accepted(&data).len() + 1);
                }
                node.signal("-HUP");
                wait_for("a new release", &mut node, || (changed(&path), names(&path)) != before);
                node.kill_after(moment);
            }
            Self::Running | Self::Journalled => {
                let mut node = world.site.start();
                node.hear("hello succeeded");
                let path = data.join(match self {
                    Self::Running => "launcher",
                    _ => "journal/journal.db-wal",
                });
                let (before, most) = (changed(&path), if self == Self::Running { 400 } else { 2 });
                let moment = world.moment(Duration::from_millis(most));
                if self != Self::Running {
                    wait_for("a run", &mut node, || changed(&path) != before);
                }
                node.kill_after(moment);
            }
            Self::Launcher => {
                let mut node = world.site.start();
                node.hear("hello succeeded");
                let moment = world.moment(Duration::from_millis(300));
                let launcher = processes_of(&data)
                    .into_iter()
                    .find(|process| process.contains("wachter-launcher"))
                    .expect("a launcher runs");
                std::thread::park_timeout(moment);
                kill(launcher.split(' ').next().unwrap());
                node.hear("the launcher is gone; it is started again");
                node.hear("hello succeeded");
                node.kill_after(moment);
            }
            Self::Holding => {
                if accepted(&data).len() < 2 {
                    world.show(2);
                    world.site.ok(&["sync"]);
                }
                let command: &[&str] = match world.moment(Duration::from_secs(3)).as_secs() {
                    0 => &["rollback"],
                    1 => &["pin", "1", "--for", "1h"],
                    _ => &["unpin"],
                };
                let moment = world.moment(Duration::from_millis(80));
                let mut node = world.site.start_command(command);
                node.kill_after(moment);
            }
        }
    }
}

fn kill(process: &str) {
    // One that is gone already was killed by nobody, which is a moment like any other.
    let _ = Command::new("kill").args(["-KILL", process]).status().unwrap();
}

#[test]
fn a_node_that_is_killed_at_any_step_goes_on() {
    let kills = std::env::var("WACHTER_KILLS").ok().and_then(|text| text.parse().ok());
    let kills: u32 = kills.unwrap_or(KILLS);
    let mut world = World::new();
    let mut hit: BTreeMap<Step, u32> = BTreeMap::new();
    for (number, step) in (0..kills).zip(STEPS.iter().cycle()) {
        let what = format!("kill {number}, {step:?}");
        let new =
            matches!(step, Step::Stored | Step::Accepted | Step::Materialized | Step::Deployed);
        if new && accepted(&world.data()).len() == world.tags.len() {
            world.begin_again();
        }
        step.kill(&mut world);
        world.check(&what);
        *hit.entry(*step).or_default() += 1;
    }
    println!("kills by step: {hit:?}");
    // The next node takes all that there is, and whatever was half is whole or gone.
    world.show(world.tags.len());
    let _ = world.site.wachter(&["unpin"]);
    let mut node = world.site.start();
    node.hear("is in force");
    for _ in 0..3 {
        node.hear("hello succeeded");
    }
    node.signal("-TERM");
    assert!(node.child.wait().unwrap().success());
    world.check("the end");
    assert_eq!(accepted(&world.data()).last(), Some(&3));
    // Each run stands in the history, the ones too that a kill came just after.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let counts = runtime.block_on(records(&world.data()));
    let all: Vec<u64> = (1..=counts.len() as u64).collect();
    assert_eq!(counts, all);
    // The control groups of a launcher are named after its folder.
    let launcher = world.data().join("launcher");
    let group = format!("wachter-{}", Digest::of(launcher.as_os_str().as_encoded_bytes()).short());
    for top in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        assert!(!top.path().join(&group).exists(), "{} is left", top.path().display());
    }
    let scratch = names(&launcher.join("scratch"));
    assert!(scratch.is_empty(), "{scratch:?}");
    let halves = names(&world.data().join("repository.git/incoming"));
    assert!(halves.is_empty(), "{halves:?}");
}

#[test]
fn a_module_that_was_damaged_on_disk_is_written_again() {
    let site = Site::new();
    let mut node = site.start();
    node.hear("hello succeeded");
    drop(node);
    let data = site.path("data");
    let folder = data.join("modules").join(&names(&data.join("modules"))[0]);
    // As after a power loss: the folder is there, and what is in it is not.
    fs::write(folder.join("main.sh"), "").unwrap();
    fs::remove_dir_all(data.join("launcher")).unwrap();
    let mut node = site.start();
    node.hear("hello succeeded");
    drop(node);
    check_modules(&data.join("modules"), "afterwards");
}
