//! Looks for processes in `/proc`.

use std::fs;
use std::time::{Duration, Instant};

/// Children of this process that are launchers; the newest.
pub(crate) fn launcher() -> u32 {
    let own = std::process::id();
    let children = all()
        .into_iter()
        .filter(|pid| parent(*pid) == Some(own) && name(*pid).starts_with("wachter-launch"));
    children.max().expect("a launcher was started")
}

/// All processes there are.
pub(crate) fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

pub(crate) fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    // The name may hold anything; what follows its last bracket does not.
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// All that `pid` started, directly or not.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        let children: Vec<u32> =
            all().into_iter().filter(|other| parent(*other) == Some(pid)).collect();
        open.extend(&children);
        found.extend(children);
    }
    found
}

/// Processes with `marker` on their command line: modules that were given it there.
pub(crate) fn marked(marker: &str) -> Vec<u32> {
    let is_marked = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    };
    all().into_iter().filter(|pid| *pid != std::process::id()).filter(is_marked).collect()
}

/// Waits until `condition` holds, for as long as ten seconds.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
