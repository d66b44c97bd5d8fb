//! What node and launcher tell a service manager, over the socket that it names.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::Duration;

use wachter_testkit::executable;

use crate::site::Site;

/// A service manager's ear.
struct Ear {
    socket: UnixDatagram,
}

impl Ear {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket }
    }

    /// The next datagram with this word.
    fn hear(&self, word: &str) -> String {
        let mut heard = String::new();
        loop {
            let mut buffer = [0; 4_096];
            let bytes = self.socket.recv(&mut buffer).unwrap_or_else(|error| {
                panic!("waited in vain for {word} ({error}), heard: {heard}")
            });
            let said = String::from_utf8(buffer[..bytes].to_vec()).unwrap();
            if said.lines().any(|line| line.starts_with(word)) {
                return said;
            }
            heard.push_str(&said);
        }
    }
}

#[test]
fn a_node_tells_of_its_start_its_work_its_reload_and_its_end() {
    let mut site = Site::new();
    let path = site.path("notify");
    let ear = Ear::new(UnixDatagram::bind(&path).unwrap());
    site.set("NOTIFY_SOCKET", path.display().to_string());
    site.set("WATCHDOG_USEC", "400000");
    let mut node = site.start();
    ear.hear("READY=1");
    ear.hear("STATUS=release 1 is in force");
    for _ in 0..3 {
        ear.hear("WATCHDOG=1");
    }
    site.release();
    node.signal("-HUP");
    let moment = ear.hear("RELOADING=1");
    assert!(moment.contains("\nMONOTONIC_USEC="), "{moment}");
    ear.hear("STATUS=release 2 is in force");
    ear.hear("READY=1");
    node.signal("-TERM");
    ear.hear("STOPPING=1");
    assert!(node.child.wait().unwrap().success());
}

/// A launcher with a socket of its own, and what it says.
fn launcher(site: &Site, notify: &str, watched: bool) -> Ended {
    std::fs::create_dir_all(site.path("data")).unwrap();
    let mut command = Command::new(executable("wachter-launcher"));
    for (option, file) in [
        ("--local-file", "node.yaml"),
        ("--data", "data"),
        ("--state", "launcher-state"),
        ("--listen", "launcher.sock"),
    ] {
        command.arg(option).arg(site.path(file));
    }
    command.env("NOTIFY_SOCKET", notify).stdin(Stdio::null());
    if watched {
        command.env("WATCHDOG_USEC", "200000");
    }
    Ended(command.spawn().unwrap())
}

struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_launcher_is_ready_when_it_listens_and_says_that_its_loop_goes_round() {
    let site = Site::new();
    let name = format!("wachter-launcher-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let ear = Ear::new(UnixDatagram::bind_addr(&address).unwrap());
    let launcher = launcher(&site, &format!("@{name}"), true);
    let ready = ear.hear("READY=1");
    assert!(ready.contains("STATUS=listens, with the profile "), "{ready}");
    assert!(site.path("launcher.sock").exists());
    for _ in 0..5 {
        ear.hear("WATCHDOG=1");
    }
    // One that cannot go on says nothing more.
    let process = launcher.0.id().to_string();
    assert!(Command::new("kill").args(["-STOP", &process]).status().unwrap().success());
    ear.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 4_096];
    let mut words = 0;
    while ear.socket.recv(&mut buffer).is_ok() {
        words += 1;
    }
    assert!(words <= 1, "{words} words after it was stopped");
}

#[test]
fn a_launcher_that_nobody_watches_waits_in_peace() {
    let site = Site::new();
    let path = site.path("notify");
    let ear = Ear::new(UnixDatagram::bind(&path).unwrap());
    let _launcher = launcher(&site, path.to_str().unwrap(), false);
    ear.hear("READY=1");
    ear.socket.set_nonblocking(true).unwrap();
    assert!(ear.socket.recv(&mut [0; 16]).is_err());
}
