//! Snapshots of the host, for modules that are confined too well to look for themselves.
//!
//! A sample is taken just before a run, in one go, and of nothing but the views that were granted. It
//! never fails as a whole: what cannot be read is named in [`HostViews::missing`], one sentence each.
//!
//! Limits: 4 MiB of one file, 1,024 mounts of which 256 are asked, 256 block devices, 256 interfaces, 4,096
//! processes looked at and 1,024 of them reported with 64 parents of dead ones, 65,536 open files counted one by
//! one of one process, 256 sensors, 65,536 sockets of a kind, 256 ports, 1,024 units and the restarts of 64
//! services, 64 sentences. What is left out is what matters least, and each view says how much it is.
//!
//! Trade-offs: the parsers are small and our own. The library that reads all of procfs reads each
//! file whole and into many times the fields that are of use here, and a node that samples every
//! few seconds has two thousandths of a core for it.
//!
//! # Invariants
//! - No question is asked that another machine, or a program in user space, has to answer: free
//!   space is not asked of network and FUSE file systems, for a server that hangs would hang the
//!   node. The file system at `/` is the exception, since a node without it is lost anyway. The other is
//!   systemd, which is asked for its units by `systemctl`, within limits of time and output.
//! - Nothing of a process's own memory is read, such as its command line and environment: that can
//!   wait for ever too, and it holds secrets.
//! - No text in `/proc` or `/sys` makes a parser panic; processes choose some of it.
//! - Nothing is written and nothing is kept from sample to sample.

mod cgroup;
mod clock;
mod cpu;
mod disks;
mod lines;
mod memory;
mod memory_limits;
mod moment;
mod mountinfo;
mod mounts;
mod network;
mod processes;
mod program;
mod root;
mod sensors;
mod sockets;
mod units;

use std::collections::BTreeSet;

pub use root::HostRoot;
use root::Missing;
use wachter_protocol::HostView;
use wachter_protocol::module::HostViews;
use wachter_protocol::module::host::View;

/// Takes a snapshot for each of `views`. What cannot be read is named in `missing`.
///
/// Blocks for as long as the host takes to answer, for `units` 6 seconds at most.
#[must_use]
pub fn sample(views: &BTreeSet<HostView>, root: &HostRoot) -> HostViews {
    let mut sample = HostViews::default();
    // One moment for all, so that each file of it is read once.
    let Some(first) = views.first() else { return sample };
    let taken = &moment::sample(root, &mut Missing::of(*first, &mut sample.missing));
    for view in views {
        let mut missing = Missing::of(*view, &mut sample.missing);
        let missing = &mut missing;
        match view {
            HostView::Cpu => put(cpu::sample(root, taken, missing), &mut sample),
            HostView::Memory => put(memory::sample(root, taken, missing), &mut sample),
            HostView::Processes => put(processes::sample(root, taken, missing), &mut sample),
            HostView::Mounts => put(mounts::sample(root, taken, missing), &mut sample),
            HostView::Network => put(network::sample(root, taken, missing), &mut sample),
            HostView::Sensors => put(sensors::sample(root, missing), &mut sample),
            HostView::Disks => put(disks::sample(root, taken, missing), &mut sample),
            HostView::Sockets => put(sockets::sample(root, taken, missing), &mut sample),
            HostView::Units => put(units::sample(root, taken, missing), &mut sample),
            HostView::Clock => put(clock::sample(root, taken, missing), &mut sample),
        }
    }
    sample
}

fn put<T: View>(view: Option<T>, sample: &mut HostViews) {
    if let Some(view) = view {
        sample.insert(&view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wachter_protocol::module::host;

    #[test]
    fn this_host_can_be_seen() {
        let views = sample(&BTreeSet::from(HostView::ALL), &HostRoot::default());
        assert!(views.get::<host::Cpu>().unwrap().total.total_milliseconds() > 0);
        assert!(views.get::<host::Memory>().unwrap().total_bytes > 0);
        let processes = views.get::<host::Processes>().unwrap();
        let this = processes.processes.iter().find(|process| process.pid == std::process::id());
        let this = this.expect("this test is a process");
        assert!(this.resident_bytes > 0 && this.threads > 0 && this.descriptors > Some(2));
        assert!(!views.get::<host::Mounts>().unwrap().mounts.is_empty());
        assert!(views.get::<host::Sockets>().unwrap().unix > 0);
        let moment = views.get::<host::Network>().unwrap().taken;
        assert!(moment.uptime_milliseconds > 0 && !moment.boot.is_empty());
    }

    #[test]
    fn only_what_was_granted_is_read() {
        let views = sample(&BTreeSet::from([HostView::Memory]), &HostRoot::default());
        assert_eq!(views.views.into_keys().collect::<Vec<_>>(), [HostView::Memory]);
        assert_eq!(sample(&BTreeSet::new(), &HostRoot::default()), HostViews::default());
    }

    #[test]
    fn an_empty_host_is_all_missing() {
        let folder = tempfile::tempdir().unwrap();
        let views = sample(&BTreeSet::from(HostView::ALL), &HostRoot::at(folder.path()));
        assert!(views.views.is_empty(), "{views:?}");
        for view in HostView::ALL {
            let prefix = format!("{view}: ");
            assert!(views.missing.iter().any(|line| line.starts_with(&prefix)), "{views:?}");
        }
    }
}
