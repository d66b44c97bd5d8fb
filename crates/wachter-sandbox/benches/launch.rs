//! What a run costs: `/bin/true` as a module, through the client and the launcher, against a bare
//! spawn of the same program and against bubblewrap with the same system call filter.
//!
//! All ways take turns within one loop, so that what else the machine does meets all of them alike.
//! Printed are median, 99th percentile and the ratio of medians to the bare spawn. The executables
//! are those of `WACHTER_BIN_DIR`, or of the folder that cargo builds benchmarks beside.
//!
//! A module needs `result` to succeed; `/bin/true` says nothing, so its verdict is `NoResult`, and
//! every step up to it is the same.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, RunId};
use wachter_protocol::module::{HostViews, ModuleIdentity, Request};
use wachter_protocol::{Egress, Grant, Manifest, Profile};
use wachter_sandbox::{Failure, Launcher, LauncherOptions, RunOrder, Verdict, carry_out};
use wachter_trust::{ModuleDigests, ModuleFile};

const ROUNDS: usize = 400;
const WARM: usize = 20;

fn main() {
    // The test runner lists and filters by arguments; there is one benchmark.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(measure());
}

async fn measure() {
    let root = rustix::process::geteuid().is_root();
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("the folder is ours");
    let manifest = module(&folder.path().join("module"));
    let profiles: &[Profile] = match root {
        true => &[Profile::Root, Profile::Unprivileged, Profile::NoNamespaces],
        false => &[Profile::Unprivileged, Profile::NoNamespaces],
    };
    let mut ways: Vec<(String, Vec<Duration>)> = vec![("bare spawn".to_owned(), Vec::new())];
    let mut launchers = Vec::new();
    for profile in profiles {
        launchers.push(open(folder.path(), *profile).await);
        let cgroups = if *profile == Profile::Root { ", cgroups" } else { ", no cgroups" };
        ways.push((format!("wachter, {profile}{cgroups}"), Vec::new()));
    }
    let bubblewrap = Path::new("/usr/bin/bwrap").exists();
    if bubblewrap {
        ways.push(("bubblewrap, filter".to_owned(), Vec::new()));
    }
    let filter = filter(folder.path());
    for round in 0..WARM + ROUNDS {
        let mut times = vec![time(|| spawn(&mut Command::new("/bin/true")))];
        for launcher in &launchers {
            let order = order(&folder.path().join("module"), &manifest);
            let begin = Instant::now();
            let report = carry_out(launcher, order, &CancellationToken::new(), |_| {})
                .await
                .expect("the launcher is there");
            times.push(begin.elapsed());
            assert_eq!(report.verdict, Verdict::Failed(Failure::NoResult), "{report:?}");
        }
        if bubblewrap {
            times.push(time(|| spawn(&mut wrapped(&filter))));
        }
        if round >= WARM {
            ways.iter_mut().zip(times).for_each(|((_, all), time)| all.push(time));
        }
    }
    print(&mut ways);
}

/// A module that is a copy of `/bin/true`.
fn module(folder: &Path) -> Manifest {
    let text = "name: nothing\nversion: 1.0.0\nruntime: { kind: process, entrypoint: ./true }\n";
    std::fs::create_dir(folder).expect("a folder can be made");
    std::fs::write(folder.join("module.yaml"), text).expect("a file can be written");
    std::fs::copy("/bin/true", folder.join("true")).expect("/bin/true can be copied");
    Manifest::read(text).expect("the manifest is right")
}

async fn open(folder: &Path, profile: Profile) -> Launcher {
    let words: [OsString; 6] = [
        "--development".into(),
        folder.join("module").into(),
        "--state".into(),
        folder.join(format!("state-{profile}")).into(),
        "--profile".into(),
        profile.to_string().into(),
    ];
    let program = wachter_testkit::executable("wachter-launcher");
    Launcher::open(&LauncherOptions::Spawn { program, arguments: words.into() })
        .await
        .expect("the launcher starts")
}

fn order(module: &Path, manifest: &Manifest) -> RunOrder {
    let file = |name: &str, executable| {
        let content = std::fs::read(module.join(name)).expect("the module is there");
        (name.to_owned(), ModuleFile { digest: Digest::of(&content), executable })
    };
    let files = [file("module.yaml", false), file("true", true)];
    let version = manifest.version.parse().expect("a version");
    let digests =
        ModuleDigests::new(manifest.name.clone(), version, files).expect("two plain files");
    let grant = Grant::for_development(digests.digest(), manifest).expect("nothing is asked");
    RunOrder {
        module: manifest.name.clone(),
        digest: digests.digest(),
        grant,
        emits: Vec::new(),
        request: Request {
            protocol: 1,
            run: RunId::new(),
            module: ModuleIdentity {
                name: manifest.name.clone(),
                version: manifest.version.to_string(),
            },
            input: serde_json::Value::Null,
            event: None,
            host: HostViews::default(),
            state: serde_json::Value::Null,
            dry_run: false,
            deadline: "2030-01-01T00:00:00Z".into(),
        },
        egress: Egress::default(),
    }
}

/// A program in the file that bubblewrap reads filters from: the launcher's own, which it exports.
fn filter(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("filter");
    let output = Command::new(wachter_testkit::executable("wachter-launcher"))
        .arg("--print-filter")
        .output()
        .expect("the launcher starts");
    assert!(output.status.success(), "{output:?}");
    std::fs::write(&path, output.stdout).expect("a file can be written");
    path
}

/// The same view, as far as bubblewrap has one.
fn wrapped(filter: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec /usr/bin/bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --clearenv \
        --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
        --proc /proc --dev /dev --tmpfs /tmp --seccomp 9 /bin/true 9<\"$0\""]);
    command.arg(filter);
    command
}

fn time(run: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    run();
    begin.elapsed()
}

fn spawn(command: &mut Command) {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}

fn print(ways: &mut [(String, Vec<Duration>)]) {
    let mut out = std::io::stdout().lock();
    let median = |all: &[Duration]| all[all.len() / 2];
    ways.iter_mut().for_each(|(_, all)| all.sort());
    let bare = median(&ways[0].1).as_secs_f64();
    let _ = writeln!(
        out,
        "{:32} {:>10} {:>10} {:>8}",
        "launch of /bin/true", "median ms", "p99 ms", "ratio"
    );
    for (name, all) in ways {
        let (middle, last) = (median(all).as_secs_f64(), all[all.len() * 99 / 100].as_secs_f64());
        let _ = writeln!(
            out,
            "{name:32} {:10.2} {:10.2} {:8.1}",
            middle * 1e3,
            last * 1e3,
            middle / bare
        );
    }
}
