use std::collections::HashMap;

use super::root::HostRoot;

/// The most groups that a group may lie in to be looked at.
const MAX_DEPTH: usize = 32;

/// What is no limit in the first version of control groups, which has no word for that: it says the largest
/// number of whole pages.
const UNLIMITED: u64 = 1 << 60;

/// The limits of memory that control groups have, each read once.
pub(super) struct MemoryLimits<'a> {
    root: &'a HostRoot,
    /// By the file that says it, the limit of the group itself.
    known: HashMap<String, Option<u64>>,
}

impl<'a> MemoryLimits<'a> {
    pub(super) fn of(root: &'a HostRoot) -> Self {
        Self { root, known: HashMap::new() }
    }

    pub(super) const fn root(&self) -> &'a HostRoot {
        self.root
    }

    /// The least limit of a process's group and of those it lies in, by what `/proc/PID/cgroup` says. None
    /// where there is no limit, and where the group lies outside of what can be seen.
    pub(super) fn least(&mut self, groups: &str) -> Option<u64> {
        let (folder, file, path) = controller(groups)?;
        let mut group = path.trim_matches('/');
        let mut least = None;
        for _ in 0..MAX_DEPTH {
            if group.is_empty() {
                break;
            }
            let own = self.own(format!("{folder}/{group}/{file}"));
            least = least.into_iter().chain(own).min();
            group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        least
    }

    fn own(&mut self, file: String) -> Option<u64> {
        if let Some(known) = self.known.get(&file) {
            return *known;
        }
        let text = self.root.read(&file).ok();
        // `max` is no number.
        let limit =
            text.and_then(|text| text.trim().parse().ok()).filter(|limit| *limit < UNLIMITED);
        self.known.insert(file, limit);
        limit
    }
}

/// Where the controller of memory has its groups, the file of a group that holds its limit, and the path of
/// the group (cgroups(7)).
fn controller(groups: &str) -> Option<(&'static str, &'static str, &str)> {
    let mut unified = None;
    for line in groups.lines() {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        // Outside of the name space of groups that this process is in.
        if path.split('/').any(|part| part == "..") {
            continue;
        }
        if controllers.split(',').any(|one| one == "memory") {
            return Some(("sys/fs/cgroup/memory", "memory.limit_in_bytes", path));
        }
        if number == "0" {
            unified = Some(("sys/fs/cgroup", "memory.max", path));
        }
    }
    unified
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let folder = host(&[
            ("a/memory.max", "500\n"),
            ("a/b/memory.max", "max\n"),
            ("a/b/c/memory.max", "700\n"),
            ("d/memory.max", "max\n"),
            ("memory/e/memory.limit_in_bytes", "900\n"),
            ("memory/e/f/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/g/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let root = HostRoot::at(folder.path());
        let mut limits = MemoryLimits::of(&root);
        for (groups, expected) in [
            ("0::/a\n", Some(500)),
            ("0::/a/b\n", Some(500)),
            ("0::/a/b/c\n", Some(500)),
            ("0::/d\n", None),
            ("0::/nowhere\n", None),
            ("0::/\n", None),
            ("0::/../a\n", None),
            ("4:cpu,memory:/e/f\n1:name=systemd:/x\n0::/a\n", Some(900)),
            ("4:memory:/g\n0::/\n", None),
            ("", None),
            ("nonsense", None),
        ] {
            assert_eq!(limits.least(groups), expected, "{groups}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(groups: String, path in "[0-9a-z:/.\n]{0,60}") {
            let folder = tempfile::tempdir().unwrap();
            let root = HostRoot::at(folder.path());
            let mut limits = MemoryLimits::of(&root);
            let _ = (limits.least(&groups), limits.least(&path));
        }
    }
}
