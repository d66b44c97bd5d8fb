//! Privilege separation: the node an ordinary user, the launcher root, a socket between them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wachter_testkit::executable;

use crate::site::{HELLO, Site};

/// A user that exists on every host and that the node can be.
const NODE: &str = "nobody";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says who it is, in the kernel's words, and the secret that it was given.
const WHO: &str = r#"#!/bin/sh
while read -r name values; do
    case $name in Uid:) uid=${values%%[!0-9]*} ;; CapEff:) capabilities=$values ;; esac
done < /proc/self/status
read -r value < "$WACHTER_SECRETS/password"
printf '{"result": {"output": {"uid": %s, "capabilities": "%s", "secret": "%s", "length": %d}}}\n' \
    "$uid" "$capabilities" "$value" ${#value}
"#;

#[test]
fn a_node_without_root_runs_modules_through_a_launcher_with_root() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can start a launcher with root");
        return;
    }
    let site = Site::new();
    let _granted = site.with_secret();
    site.write("modules/hello/main.sh", WHO);
    site.write("config/agents/hello.yaml", HELLO);
    site.release();
    // What a package would install, where an ordinary user can execute it.
    let bin = site.path("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["wachter", "wachter-launcher", "wachter-modules"] {
        fs::copy(executable(name), bin.join(name)).unwrap();
    }
    let data = site.path("data");
    fs::create_dir(&data).unwrap();
    assert!(
        Command::new("chown").args([NODE, &data.display().to_string()]).status().unwrap().success()
    );
    let local = fs::read_to_string(site.path("node.yaml")).unwrap();
    fs::set_permissions(site.path("node.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!local.contains("PRIVATE"));
    let socket = site.path("launcher.sock");
    let launcher = Command::new(bin.join("wachter-launcher"))
        .args(["--node-user", NODE, "--local-file"])
        .arg(site.path("node.yaml"))
        .arg("--data")
        .arg(&data)
        .arg("--state")
        .arg(site.path("launcher-state"))
        .arg("--listen")
        .arg(&socket)
        .env_clear()
        .spawn()
        .unwrap();
    let _launcher = Ended(launcher);
    until("the launcher listens", || socket.exists());
    let log = site.path("separated.log");
    let file = fs::File::create(&log).unwrap();
    let node = Command::new("setpriv")
        .args(["--reuid", NODE, "--regid", "nogroup", "--clear-groups"])
        .arg(bin.join("wachter"))
        .args(["run", "--output", "json"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("WACHTER_LOCAL_FILE", site.path("node.yaml"))
        .env("WACHTER_DATA", &data)
        .env("WACHTER_LAUNCHER_SOCKET", &socket)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let mut node = Ended(node);
    let said = || fs::read_to_string(&log).unwrap();
    until("a run is reported", || said().contains("\"outcome\":\"succeeded\""));
    let text = said();
    let record = text.lines().find(|line| line.contains("succeeded")).unwrap();
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    let uid = record["output"]["uid"].as_u64().unwrap();
    assert!((1_879_048_192..1_879_049_216).contains(&uid), "the run was user {uid}");
    assert_eq!(record["output"]["capabilities"], "0000000000000000");
    // The node carries the file, and neither it nor what it reads holds the value.
    assert_eq!(record["output"]["secret"], "[redacted:password]");
    assert_eq!(record["output"]["length"], 21);
    let sealed = fs::metadata(data.join("secrets/password.age")).unwrap();
    assert_ne!(sealed.uid(), 0);
    assert_eq!(fs::metadata(site.path("identity")).unwrap().uid(), 0);
    // Root asks the node as long as there is one, and leaves its data alone where there is none.
    let as_root = |arguments: &[&str]| {
        let mut ask = Command::new(bin.join("wachter"));
        ask.args(arguments).env_clear().env("WACHTER_DATA", &data);
        ask.env("WACHTER_LOCAL_FILE", site.path("node.yaml")).output().unwrap()
    };
    let asked = as_root(&["runs", "--limit", "1"]);
    let listed = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success() && listed.contains("hello"), "{asked:?}");
    node.0.kill().unwrap();
    node.0.wait().unwrap();
    for command in [
        &["runs"][..],
        &["sync"],
        &["rollback"],
        &["unpin"],
        &["freeze", "--reason", "x"],
        &["run"],
    ] {
        let refused = as_root(command);
        let reason = String::from_utf8_lossy(&refused.stderr);
        let expected = format!(
            " belongs to {NODE}; start the node, or do it as that user: `runuser -u {NODE} -- "
        );
        assert!(
            !refused.status.success() && reason.contains(&expected),
            "{command:?}: {refused:?}"
        );
    }
    assert!(!data.join("frozen.json").exists());
    for file in ["lock", "state.json"] {
        assert_eq!(fs::metadata(data.join(file)).unwrap().uid(), sealed.uid(), "{file}");
    }
    // The launcher keeps what it runs where the node cannot write.
    let kept = fs::metadata(site.path("launcher-state/modules")).unwrap();
    assert_eq!((kept.uid(), kept.mode() & 0o022), (0, 0));
    // A stranger's connection is closed before a word is said.
    let stranger = "import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_SEQPACKET)\ns.settimeout(10)\ns.connect(sys.argv[1])\nsys.stdout.write(repr(s.recv(100)))";
    let heard = Command::new("setpriv")
        .args([
            "--reuid",
            "65533",
            "--regid",
            "65533",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            stranger,
        ])
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&heard.stdout),
        "b''",
        "{}",
        String::from_utf8_lossy(&heard.stderr)
    );
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
