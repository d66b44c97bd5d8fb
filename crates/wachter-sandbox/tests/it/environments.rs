//! Environments of Python modules: built from a lock file in a jail, shared, kept, and refused where
//! they are not what was locked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wachter_model::{Digest, RunId};
use wachter_protocol::launcher::RefusalKind;
use wachter_protocol::{Egress, LocalFile, Profile};
use wachter_sandbox::{
    BuildFailure, BuildOrder, BuildReport, BuildVerdict, Launcher, LauncherOptions, Verdict,
    build_environment,
};
use wachter_testkit::{PackageIndex, Wheel};

use crate::bench::{carry_out_with, profiles};
use crate::publication::Publication;

/// Says the value of a package, and whether those of the host can be seen.
const MAIN: &str = r#"
import json, sys
import parcel
host = [path for path in sys.path if "dist-packages" in path or "site-packages" in path]
try:
    open(parcel.__file__, "a")
    written = True
except OSError:
    written = False
output = {"value": parcel.value, "host": host, "written": written, "compiled": parcel.__cached__}
print(json.dumps({"result": {"output": output}}))
"#;

/// A signed module in Python, an index, and what the owner says of it.
struct Site {
    signed: Publication,
    options: LauncherOptions,
}

impl Site {
    /// With these lines in its lock file, and these further keys of `python` in the local file.
    fn new(profile: Profile, index: &PackageIndex, lock: &str, python: &str) -> Option<Self> {
        Self::with(profile, &index.url(), lock, "127.0.0.0/8", python, MAIN)
    }

    fn with(
        profile: Profile,
        index: &str,
        lock: &str,
        ranges: &str,
        python: &str,
        main: &str,
    ) -> Option<Self> {
        let uv = wachter_testkit::uv()?;
        let local = format!(
            "python: {{ index: '{index}', network_ranges: [{ranges}], uv: '{}'{python} }}",
            uv.display()
        );
        let runtime = "{ kind: python, entrypoint: run, requirements: requirements.lock }";
        let further = [("requirements.lock", lock)];
        let signed = Publication::of(profile, runtime, &further, "", "{}", &local, main.as_bytes());
        let options = signed.options();
        Some(Self { signed, options })
    }

    async fn launcher(&self) -> Launcher {
        Launcher::open(&self.options).await.unwrap()
    }

    fn digest(&self) -> Digest {
        self.signed.digests("sample", MAIN.as_bytes()).digest()
    }

    fn order(&self) -> BuildOrder {
        let text = fs::read_to_string(self.signed.path("owner/node.yaml")).unwrap();
        BuildOrder {
            run: RunId::new(),
            module: "sample".parse().unwrap(),
            digest: self.digest(),
            python: LocalFile::read(&text).unwrap().python,
        }
    }

    async fn build(&self, launcher: &Launcher) -> BuildReport {
        self.build_until(launcher, &CancellationToken::new()).await
    }

    async fn build_until(&self, launcher: &Launcher, cancel: &CancellationToken) -> BuildReport {
        let build = build_environment(launcher, self.order(), cancel, |_| {});
        tokio::time::timeout(Duration::from_secs(120), build).await.unwrap().unwrap()
    }

    /// The names of environments that the launcher keeps, and of whatever else lies there.
    fn kept(&self) -> Vec<String> {
        let folder = fs::read_dir(self.signed.path("state/python")).unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with(".lock")).collect()
    }

    fn nothing_half_is_left(&self) {
        assert!(self.kept().iter().all(|name| !name.starts_with('.')), "{:?}", self.kept());
        let building = fs::read_dir(self.signed.path("state/building"));
        assert_eq!(building.map_or(0, Iterator::count), 0);
    }
}

/// Profiles in which there is a way to an index.
fn networked() -> impl Iterator<Item = Profile> {
    profiles().into_iter().filter(|profile| *profile != Profile::NoNamespaces)
}

fn index() -> PackageIndex {
    PackageIndex::serve().unwrap()
}

#[tokio::test]
async fn what_was_locked_is_built_once_and_runs_without_a_network() {
    for profile in networked() {
        let index = index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        let mut launcher = site.launcher().await;
        let order = site.signed.order_of(MAIN.as_bytes(), Egress::default());
        let early = carry_out_with(&launcher, order.clone()).await.0.verdict;
        let kind = RefusalKind::Environment;
        assert!(
            matches!(early, Verdict::NotBegun { kind: found, .. } if found == kind),
            "{early:?}"
        );
        let report = site.build(&launcher).await;
        let BuildVerdict::Built(key) = report.verdict else { panic!("{profile}: {report:?}") };
        assert!(!report.connections.is_empty());
        // Whatever becomes of the index.
        index.close();
        let asked = index.requests().len();
        for restarted in [false, true] {
            if restarted {
                drop(launcher);
                launcher = site.launcher().await;
            }
            assert_eq!(site.build(&launcher).await.verdict, BuildVerdict::Present(key));
            let order = site.signed.order_of(MAIN.as_bytes(), Egress::default());
            let (report, log) = carry_out_with(&launcher, order).await;
            assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
            let output = report.result.unwrap().output;
            assert_eq!(output["value"], "1.0");
            assert_eq!(output["host"], serde_json::json!([]), "packages of the host are not seen");
            assert_eq!(output["written"], false);
            let compiled = output["compiled"].as_str().unwrap().to_owned();
            let name = compiled.strip_prefix("/environment/").unwrap();
            let place = site.signed.path("state/python").join(key.to_string());
            assert!(place.join("site").join(name).is_file(), "it is compiled: {compiled}");
        }
        assert_eq!(index.requests().len(), asked);
        site.nothing_half_is_left();
    }
}

#[tokio::test]
async fn what_cannot_be_installed_says_which_and_what_to_do() {
    type Spoil = fn(&PackageIndex) -> String;
    let cases: [(&str, &[&str], Spoil); 7] = [
        ("another digest", &["parcel", "another file than was locked"], |index| {
            index.add(&Wheel::new("parcel", "1.0"));
            format!("parcel==1.0 --hash=sha256:{}\n", "0".repeat(64))
        }),
        ("no digest", &["parcel", "--generate-hashes"], |index| {
            index.add(&Wheel::new("parcel", "1.0"));
            "parcel==1.0\n".to_owned()
        }),
        ("no such package", &["letter", "correct the lock file"], |_| {
            format!("letter==1.0 --hash=sha256:{}\n", "0".repeat(64))
        }),
        ("no such version", &["parcel", "correct the lock file"], |index| {
            index.add(&Wheel::new("parcel", "1.0"));
            format!("parcel==2.0 --hash=sha256:{}\n", "0".repeat(64))
        }),
        ("a dependency that is not locked", &["letter", "--generate-hashes"], |index| {
            index.add(&Wheel::new("letter", "1.0"));
            index.add(&Wheel::new("parcel", "1.0").requires("letter"))
        }),
        ("a wheel for another machine", &["parcel", "has a wheel for this"], |index| {
            index.add(&Wheel::new("parcel", "1.0").tag("cp311-cp311-win_amd64"))
        }),
        ("lines that are executed at the start", &["`parcel.pth`"], |index| {
            index.add(&Wheel::new("parcel", "1.0").file("parcel.pth", "import os\n"))
        }),
    ];
    for profile in networked() {
        for (name, words, spoil) in &cases {
            let index = index();
            let lock = spoil(&index);
            let Some(site) = Site::new(profile, &index, &lock, "") else { return };
            let launcher = site.launcher().await;
            let report = site.build(&launcher).await;
            let BuildVerdict::Failed(failure) = &report.verdict else {
                panic!("{profile}: {name}: {report:?}")
            };
            let said = failure.to_string();
            for word in *words {
                assert!(said.contains(word), "{profile}: {name}: {said}");
            }
            assert_eq!(site.kept(), Vec::<String>::new(), "{profile}: {name}");
            site.nothing_half_is_left();
        }
    }
}

#[tokio::test]
async fn names_that_lead_out_of_a_wheel_lead_nowhere() {
    for profile in networked() {
        let index = index();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let escaped = folder.path().join("escaped");
        let up = format!("{}{}", "../".repeat(12), escaped.strip_prefix("/").unwrap().display());
        let wheel = Wheel::new("parcel", "1.0").file(&up, "evil").file("../beside", "evil");
        let wheel = wheel.file(escaped.to_str().unwrap(), "evil");
        let Some(site) = Site::new(profile, &index, &index.add(&wheel), "") else { return };
        let launcher = site.launcher().await;
        // Refused or left out: uv may do either.
        let report = site.build(&launcher).await;
        assert!(!escaped.exists());
        site.nothing_half_is_left();
        if let BuildVerdict::Built(key) = report.verdict {
            let place = site.signed.path("state/python").join(key.to_string());
            let names = |folder: PathBuf| {
                let entries = fs::read_dir(folder).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names.collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(
                names(place.clone()),
                ["list.json", "modules", "site"].map(str::to_owned).into()
            );
            let installed = ["__pycache__", "parcel-1.0.dist-info", "parcel.py"];
            assert_eq!(names(place.join("site")), installed.map(str::to_owned).into());
        }
    }
}

#[tokio::test]
async fn modules_with_the_same_lock_share_an_environment() {
    for profile in networked() {
        let index = index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        let launcher = site.launcher().await;
        assert!(matches!(site.build(&launcher).await.verdict, BuildVerdict::Built(_)));
        let asked = index.requests().len();
        // Another module of another digest, which names the same packages.
        let other = format!("{MAIN}\n# another\n");
        let mut site = site;
        site.signed.publish_program(other.as_bytes());
        let digest = site.signed.digests("sample", other.as_bytes()).digest();
        let order = BuildOrder { digest, ..site.order() };
        let cancel = CancellationToken::new();
        let report = build_environment(&launcher, order, &cancel, |_| {}).await.unwrap();
        assert!(matches!(report.verdict, BuildVerdict::Present(_)), "{report:?}");
        assert_eq!((index.requests().len(), site.kept().len()), (asked, 1));
        // It stays as long as one of them is there.
        launcher.retain([digest].into()).await.unwrap();
        assert!(matches!(site.build(&launcher).await.verdict, BuildVerdict::Present(_)));
        launcher.retain([Digest::of(b"none")].into()).await.unwrap();
        // The launcher answers in turn: after this it has done the former.
        index.close();
        assert!(matches!(site.build(&launcher).await.verdict, BuildVerdict::Failed(_)));
        assert_eq!(site.kept(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_build_that_is_ended_midway_leaves_nothing_and_can_be_repeated() {
    for profile in networked() {
        let index = index();
        let large = "x".repeat(1 << 20);
        let lock = index.add(&Wheel::new("parcel", "1.0").file("parcel_data/large", &large));
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        index.stall_after(100);
        let begun = |index: &PackageIndex, before: usize| {
            let index = index.clone();
            async move {
                while !index.requests()[before..].iter().any(|path| path.starts_with("/files/")) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        // By whoever asked for it.
        let launcher = site.launcher().await;
        let cancel = CancellationToken::new();
        let stop = async {
            begun(&index, 0).await;
            // Meanwhile nobody else builds the same.
            let second = site.build(&launcher).await.verdict;
            let busy = RefusalKind::Busy;
            assert!(
                matches!(&second, BuildVerdict::Failed(BuildFailure::NotBegun { kind, .. }) if *kind == busy),
                "{second:?}"
            );
            cancel.cancel();
        };
        let (report, ()) = tokio::join!(site.build_until(&launcher, &cancel), stop);
        assert_eq!(report.verdict, BuildVerdict::Failed(BuildFailure::Stopped), "{profile}");
        site.nothing_half_is_left();
        // By the death of the launcher.
        let before = index.requests().len();
        let process = crate::processes::launcher();
        let kill = async {
            begun(&index, before).await;
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        };
        let (report, ()) = tokio::join!(site.build(&launcher), kill);
        assert_eq!(report.verdict, BuildVerdict::Failed(BuildFailure::Lost), "{profile}");
        index.stall_after(usize::MAX);
        let launcher = site.launcher().await;
        site.nothing_half_is_left();
        let report = site.build(&launcher).await;
        assert!(matches!(report.verdict, BuildVerdict::Built(_)), "{profile}: {report:?}");
    }
}

#[tokio::test]
async fn a_build_has_limits() {
    for profile in networked() {
        let index = index();
        // Compresses well, as a bomb does.
        let large = "x".repeat(48 << 20);
        let wheel = Wheel::new("parcel", "1.0");
        let wheel = (0..4)
            .fold(wheel, |wheel, number| wheel.file(&format!("parcel_data/{number}"), &large));
        let lock = index.add(&wheel);
        let limits = ", limits: { disk: 64MiB }";
        let Some(site) = Site::new(profile, &index, &lock, limits) else { return };
        let launcher = site.launcher().await;
        let report = site.build(&launcher).await;
        let BuildVerdict::Failed(failure) = &report.verdict else { panic!("{report:?}") };
        let said = failure.to_string();
        assert!(said.contains("`python.limits.disk`"), "{profile}: {said}");
        site.nothing_half_is_left();
        // And an end.
        let index = self::index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        index.stall_after(10);
        let limits = ", limits: { timeout: 2s }";
        let Some(site) = Site::new(profile, &index, &lock, limits) else { return };
        let launcher = site.launcher().await;
        let report = site.build(&launcher).await;
        assert_eq!(report.verdict, BuildVerdict::Failed(BuildFailure::Timeout), "{profile}");
        site.nothing_half_is_left();
    }
}

#[tokio::test]
async fn a_build_reaches_the_index_and_nothing_else() {
    for profile in networked() {
        let (index, other) = (index(), index());
        let lock = other.add(&Wheel::new("parcel", "1.0"));
        // A lock file may name an index of its own; nobody granted that one.
        let lock = format!("--index-url {}\n{lock}", other.url());
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        let launcher = site.launcher().await;
        let report = site.build(&launcher).await;
        assert!(matches!(report.verdict, BuildVerdict::Failed(_)), "{profile}: {report:?}");
        assert_eq!(other.requests(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_environment_that_was_changed_on_the_disk_is_built_anew() {
    for profile in networked() {
        let index = index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        let launcher = site.launcher().await;
        let BuildVerdict::Built(key) = site.build(&launcher).await.verdict else { panic!() };
        let place = site.signed.path("state/python").join(key.to_string());
        fs::write(place.join("site/parcel.py"), "value = 'evil'\n").unwrap();
        let order = site.signed.order_of(MAIN.as_bytes(), Egress::default());
        let verdict = carry_out_with(&launcher, order.clone()).await.0.verdict;
        let kind = RefusalKind::Environment;
        assert!(
            matches!(&verdict, Verdict::NotBegun { kind: found, .. } if *found == kind),
            "{profile}: {verdict:?}"
        );
        assert_eq!(site.build(&launcher).await.verdict, BuildVerdict::Built(key));
        let (report, log) = carry_out_with(&launcher, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        assert_eq!(report.result.unwrap().output["value"], "1.0");
    }
}

#[tokio::test]
async fn another_interpreter_has_to_be_asked_for_and_granted() {
    let interpreter = fs::canonicalize("/usr/bin/python3").unwrap();
    let interpreter = interpreter.to_str().unwrap();
    for profile in networked() {
        let index = index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        let Some(uv) = wachter_testkit::uv() else { return };
        let local = format!(
            "python: {{ index: '{}', network_ranges: [127.0.0.0/8], uv: '{}' }}",
            index.url(),
            uv.display()
        );
        let runtime = format!(
            "{{ kind: python, entrypoint: run, requirements: requirements.lock, interpreter: {interpreter} }}"
        );
        let asked = format!("permissions: {{ exec: [{interpreter}] }}");
        for (allowance, granted) in [("{}", false), ("{ exec: [/usr/bin] }", true)] {
            let further = [("requirements.lock", lock.as_str())];
            let signed = Publication::of(
                profile,
                &runtime,
                &further,
                &asked,
                allowance,
                &local,
                MAIN.as_bytes(),
            );
            let options = signed.options();
            let site = Site { signed, options };
            let launcher = site.launcher().await;
            let order = site.signed.order_of(MAIN.as_bytes(), Egress::default());
            if granted {
                assert!(matches!(site.build(&launcher).await.verdict, BuildVerdict::Built(_)));
                let (report, log) = carry_out_with(&launcher, order).await;
                assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
            } else {
                let verdict = carry_out_with(&launcher, order).await.0.verdict;
                let kind = RefusalKind::Grant;
                assert!(
                    matches!(&verdict, Verdict::NotBegun { kind: found, .. } if *found == kind),
                    "{profile}: {verdict:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_lock_file_that_leads_elsewhere_is_refused() {
    let index = index();
    for profile in networked() {
        let Some(site) = Site::new(profile, &index, "-r more.txt\n", "") else { return };
        let launcher = site.launcher().await;
        let report = site.build(&launcher).await;
        let BuildVerdict::Failed(failure) = report.verdict else { panic!("{report:?}") };
        assert!(
            failure.to_string().contains("leads to another file, by `-r more.txt`"),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn what_is_there_serves_without_namespaces_too() {
    for profile in networked() {
        let index = index();
        let lock = index.add(&Wheel::new("parcel", "1.0"));
        let Some(site) = Site::new(profile, &index, &lock, "") else { return };
        let launcher = site.launcher().await;
        let BuildVerdict::Built(key) = site.build(&launcher).await.verdict else { panic!() };
        drop(launcher);
        let path = site.signed.path("owner/node.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let weaker = text.replace(&format!("profile: {profile}"), "profile: no-namespaces");
        fs::write(path, weaker).unwrap();
        let launcher = site.launcher().await;
        assert_eq!(site.build(&launcher).await.verdict, BuildVerdict::Present(key));
        let order = site.signed.order_of(MAIN.as_bytes(), Egress::default());
        let (report, log) = carry_out_with(&launcher, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        let output = report.result.unwrap().output;
        assert_eq!((&output["value"], &output["written"]), (&"1.0".into(), &false.into()));
    }
}

#[tokio::test]
async fn without_namespaces_there_is_no_way_to_an_index() {
    let index = index();
    let lock = index.add(&Wheel::new("parcel", "1.0"));
    let Some(site) = Site::new(Profile::NoNamespaces, &index, &lock, "") else { return };
    let launcher = site.launcher().await;
    let report = site.build(&launcher).await;
    let BuildVerdict::Failed(failure) = report.verdict else { panic!("{report:?}") };
    assert!(failure.to_string().contains("no-namespaces"), "{failure}");
}

/// With packages that everybody uses, one of them native, from the index of everybody.
#[tokio::test]
async fn packages_of_the_real_index_run() {
    const LOCK: &str = include_str!("real.lock");
    const REAL: &str = r#"
import json, markupsafe, six
from markupsafe import _speedups
output = {"escaped": markupsafe.escape("<b>"), "six": six.__version__, "native": _speedups.__file__}
print(json.dumps({"result": {"output": output}}))
"#;
    let reached = std::net::ToSocketAddrs::to_socket_addrs("pypi.org:443").is_ok_and(|mut all| {
        all.any(|address| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
        })
    });
    if !reached {
        println!("skipped: pypi.org is not reached");
        return;
    }
    // Where a mirror stands for it, that may have an address that is not public.
    let ranges: Vec<String> = std::net::ToSocketAddrs::to_socket_addrs("pypi.org:443")
        .unwrap()
        .map(|address| match address.ip() {
            std::net::IpAddr::V4(address) => format!("'{address}/32'"),
            std::net::IpAddr::V6(address) => format!("'{address}/128'"),
        })
        .collect();
    for profile in networked() {
        let index = "https://pypi.org/simple";
        let site = Site::with(profile, index, LOCK, &ranges.join(", "), "", REAL);
        let Some(site) = site else { return };
        let launcher = site.launcher().await;
        let digest = site.signed.digests("sample", REAL.as_bytes()).digest();
        let order = BuildOrder { digest, ..site.order() };
        let cancel = CancellationToken::new();
        let report = build_environment(&launcher, order, &cancel, |_| {}).await.unwrap();
        assert!(matches!(report.verdict, BuildVerdict::Built(_)), "{profile}: {report:?}");
        let order = site.signed.order_of(REAL.as_bytes(), Egress::default());
        let (report, log) = carry_out_with(&launcher, order).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        let output = report.result.unwrap().output;
        assert_eq!((&output["escaped"], &output["six"]), (&"&lt;b&gt;".into(), &"1.17.0".into()));
        assert!(output["native"].as_str().unwrap().starts_with("/environment/markupsafe/"));
    }
}
