//! Snapshots of the host, for modules that are confined too well to look for themselves.
//!
//! A sample is taken just before a run, in one go and without asking any other process. It never
//! fails as a whole: what cannot be read is named in [`HostViews::missing`], one sentence each.
//!
//! Limits: 4 MiB of one file, 256 mounts, 256 interfaces, 4,096 processes looked at and 1,024 of
//! them reported, 65,536 open files counted of one process, 256 sensors, 64 sentences.
//!
//! Trade-offs: the parsers are small and our own. The library that reads all of procfs reads each
//! file whole and into many times the fields that are of use here, and a node that samples every
//! few seconds has two thousandths of a core for it.
//!
//! # Invariants
//! - No question is asked that another machine, or a program in user space, has to answer: free
//!   space is not asked of network and FUSE file systems, for a server that hangs would hang the
//!   node. The file system at `/` is the exception, since a node without it is lost anyway.
//! - Nothing of a process's own memory is read, such as its command line and environment: that can
//!   wait for ever too, and it holds secrets.
//! - No text in `/proc` or `/sys` makes a parser panic; processes choose some of it.
//! - Nothing is written and nothing is kept from sample to sample.

mod cpu;
mod lines;
mod memory;
mod moment;
mod mounts;
mod network;
mod processes;
mod root;
mod sensors;

use std::collections::BTreeSet;

pub use root::HostRoot;
use root::Missing;
use wachter_protocol::HostView;
use wachter_protocol::module::HostViews;

/// Takes a snapshot for each of `views`. What cannot be read is named in `missing`.
#[must_use]
pub fn sample(views: &BTreeSet<HostView>, root: &HostRoot) -> HostViews {
    let mut sample = HostViews::default();
    for view in views {
        let mut missing = Missing::of(*view, &mut sample.missing);
        match view {
            HostView::Cpu => {
                if let Some(view) = cpu::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
            HostView::Memory => {
                if let Some(view) = memory::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
            HostView::Processes => {
                if let Some(view) = processes::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
            HostView::Mounts => {
                if let Some(view) = mounts::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
            HostView::Network => {
                if let Some(view) = network::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
            HostView::Sensors => {
                if let Some(view) = sensors::sample(root, &mut missing) {
                    sample.insert(&view);
                }
            }
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_protocol::module::host;

    const ALL: [HostView; 6] = [
        HostView::Cpu,
        HostView::Memory,
        HostView::Processes,
        HostView::Mounts,
        HostView::Network,
        HostView::Sensors,
    ];

    #[test]
    fn this_host_can_be_seen() {
        let views = sample(&BTreeSet::from(ALL), &HostRoot::default());
        assert!(views.get::<host::Cpu>().unwrap().total.total_milliseconds() > 0);
        assert!(views.get::<host::Memory>().unwrap().total_bytes > 0);
        let processes = views.get::<host::Processes>().unwrap();
        let this = processes.processes.iter().find(|process| process.pid == std::process::id());
        let this = this.expect("this test is a process");
        assert!(this.resident_bytes > 0 && this.threads > 0 && this.descriptors > Some(2));
        assert!(!views.get::<host::Mounts>().unwrap().mounts.is_empty());
        let moment = views.get::<host::Network>().unwrap().taken;
        assert!(moment.uptime_milliseconds > 0 && !moment.boot.is_empty());
    }

    #[test]
    fn only_what_was_granted_is_read() {
        let views = sample(&BTreeSet::from([HostView::Memory]), &HostRoot::default());
        assert_eq!(views.views.into_keys().collect::<Vec<_>>(), [HostView::Memory]);
    }

    #[test]
    fn an_empty_host_is_all_missing() {
        let folder = tempfile::tempdir().unwrap();
        let views = sample(&BTreeSet::from(ALL), &HostRoot::at(folder.path()));
        assert!(views.views.is_empty(), "{views:?}");
        for view in ALL {
            let prefix = format!("{view}: ");
            assert!(views.missing.iter().any(|line| line.starts_with(&prefix)), "{views:?}");
        }
    }
}
