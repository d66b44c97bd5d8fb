use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wachter_protocol::module::host::{Moment, Mount, Mounts, Space};

use super::mountinfo::parse;
use super::root::{HostRoot, Missing};

/// The most file systems that are asked for their space.
const MAX_ASKED: usize = 256;

/// The most file systems that are listed, about 250 KiB of JSON. A host full of containers has two for each.
const MAX_LISTED: usize = 1_024;

/// The most file systems whose space is said to be missing one by one, so that other views are heard too.
const MAX_NAMED: usize = 8;

/// File systems whose questions another machine or a program answers, or does not. A name with a
/// dot, as in `fuse.sshfs`, goes by its first part.
const REMOTE: [&str; 21] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse",
    "fuseblk",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "smb3",
    "smbfs",
    "virtiofs",
];

/// File systems that lie in memory or in others, or hold an image: they fill with what they lie in.
const BORROWED: [&str; 7] =
    ["aufs", "erofs", "iso9660", "overlay", "overlayfs", "squashfs", "tmpfs"];

/// Mounted file systems and their free space.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Mounts> {
    let text = missing.or_say("proc/self/mountinfo", root.read("proc/self/mountinfo"))?;
    let mut found = once_each(text.lines().filter_map(parse).collect());
    // Where there are too many, those of most weight stay: who may mount something cannot push out what
    // all others need.
    found.sort_by_cached_key(|found| {
        (found.weight(), found.mount.target.matches('/').count(), found.mount.target.clone())
    });
    let left_out = found.len().saturating_sub(MAX_LISTED);
    if left_out > 0 {
        missing.say(format_args!("{left_out} mounts are left out, {MAX_LISTED} are the most"));
        found.truncate(MAX_LISTED);
    }
    let askable = found.iter().filter(|found| found.behind.is_none()).count();
    if askable > MAX_ASKED {
        missing.say(format_args!(
            "the space of {} mounts is not asked for, {MAX_ASKED} are the most",
            askable - MAX_ASKED
        ));
        // They come before those that may hang, which are not asked in any case.
        for found in &mut found[MAX_ASKED..] {
            found.is_asked = false;
        }
    }
    found.sort_by(|one, other| one.mount.target.cmp(&other.mount.target));
    let mut unknown = Vec::new();
    let mounts =
        found.into_iter().filter_map(|found| complete(found, root, &mut unknown)).collect();
    unknown.iter().take(MAX_NAMED).for_each(|sentence| missing.say(sentence));
    if unknown.len() > MAX_NAMED {
        let more = unknown.len() - MAX_NAMED;
        missing.say(format_args!("nor is the space of {more} more known"));
    }
    let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    Some(Mounts { taken: taken.clone(), mounts, left_out })
}

/// Adds the space, or a sentence why it is unknown; none for a file system without a size, which has
/// nothing that could run out.
fn complete(found: Found, root: &HostRoot, unknown: &mut Vec<String>) -> Option<Mount> {
    let Found { mut mount, behind, is_asked } = found;
    let target = &mount.target;
    if let Some(place) = behind {
        let reason = if place == *target {
            mount.kind.clone()
        } else {
            format!("the way to it leads through {place}, which")
        };
        unknown.push(format!(
            "the space of {target} is not asked for: {reason} could make the question wait for ever"
        ));
        return Some(mount);
    }
    if !is_asked {
        return Some(mount);
    }
    match rustix::fs::statvfs(root.path(target)) {
        Ok(space) if space.f_blocks == 0 => return None,
        Ok(space) => {
            let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
            mount.bytes = Some(Space {
                total: bytes(space.f_blocks),
                free: bytes(space.f_bfree),
                available: bytes(space.f_bavail),
            });
            mount.inodes = (space.f_files > 0).then_some(Space {
                total: space.f_files,
                free: space.f_ffree,
                available: space.f_favail,
            });
        }
        Err(error) => unknown.push(format!("the space of {target} is unknown: {error}")),
    }
    Some(mount)
}

/// A mount that can be reached.
struct Found {
    mount: Mount,
    /// The mount on the way to it, or itself, whose answer may never come.
    behind: Option<String>,
    is_asked: bool,
}

impl Found {
    /// The lower, the more it matters.
    fn weight(&self) -> u8 {
        if self.behind.is_some() {
            2
        } else {
            u8::from(self.mount.read_only || BORROWED.contains(&self.mount.kind.as_str()))
        }
    }
}

fn is_remote(mount: &Mount) -> bool {
    let kind = mount.kind.split('.').next().unwrap_or_default();
    REMOTE.contains(&kind)
}

/// One entry for each file system that can be reached: a later mount hides an earlier one at the
/// same place, and of several places of one device the shortest stands for all.
fn once_each(mounts: Vec<Mount>) -> Vec<Found> {
    let visible: BTreeMap<String, Mount> =
        mounts.into_iter().map(|mount| (mount.target.clone(), mount)).collect();
    // The root is always asked: who cannot reach it cannot do anything.
    let remote: BTreeSet<String> = visible
        .values()
        .filter(|mount| is_remote(mount) && mount.target != "/")
        .map(|mount| mount.target.clone())
        .collect();
    let mut devices: BTreeMap<String, Found> = BTreeMap::new();
    for mount in visible.into_values() {
        // The question goes through each folder on the way, those of other file systems too.
        let mut way = Path::new(&mount.target).ancestors().filter_map(Path::to_str);
        let behind = way.find(|place| remote.contains(*place)).map(str::to_owned);
        let found = Found { mount, behind, is_asked: true };
        // A writable place tells more than a read-only view of the same device, and one that answers more
        // than one that may not.
        let rank = |found: &Found| {
            (found.mount.read_only, found.behind.is_some(), found.mount.target.len())
        };
        match devices.get(&found.mount.device) {
            Some(known) if rank(known) <= rank(&found) => {}
            _ => {
                devices.insert(found.mount.device.clone(), found);
            }
        }
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;
    use wachter_protocol::HostView;

    const MOUNTINFO: &str = r"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
22 21 0:5 / /proc rw,nosuid - proc proc rw
23 21 254:0 /srv/www /bind ro,relatime shared:1 - ext4 /dev/vda1 rw
24 21 8:1 / /mnt/two\040words rw - xfs /dev/sda1 rw
25 21 0:30 / /home rw - nfs4 server:/home rw,vers=4.2
26 21 0:31 / /remote rw master:3 - fuse.sshfs me@host:/ rw
27 21 7:0 / /snap ro,nodev - squashfs /dev/loop0 ro
28 21 9:1 / /gone rw - ext4 /dev/md1 rw
29 21 0:40 / /mnt rw - tmpfs hidden rw
30 21 0:41 / /mnt rw - tmpfs over rw
";

    /// What is seen of a host with these mounts and folders, and what is missing.
    fn look(mountinfo: &str, folders: &[&str]) -> (Mounts, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for path in folders.iter().chain(&["proc/self"]) {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("proc/self/mountinfo"), mountinfo).unwrap();
        let mut missing = Vec::new();
        let mut sentences = Missing::of(HostView::Mounts, &mut missing);
        let root = HostRoot::at(folder.path());
        let mounts = sample(&root, &Moment::default(), &mut sentences).unwrap();
        (mounts, missing)
    }

    fn targets(mounts: &Mounts) -> Vec<&str> {
        mounts.mounts.iter().map(|mount| mount.target.as_str()).collect()
    }

    #[test]
    fn each_file_system_stands_once_and_none_can_hang() {
        let (view, missing) = look(MOUNTINFO, &["mnt/two words", "snap", "home", "remote"]);
        assert_eq!(
            targets(&view),
            ["/", "/gone", "/home", "/mnt", "/mnt/two words", "/remote", "/snap"]
        );
        let mounts = &view.mounts;
        for mount in mounts {
            let unseen = ["/gone", "/home", "/remote"].contains(&mount.target.as_str());
            assert_eq!(mount.bytes.is_none(), unseen, "{mount:?}");
        }
        assert_eq!(mounts[3].source, "over");
        assert!(mounts[6].read_only && !mounts[0].read_only);
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing[0].contains("/gone is unknown: No such file"), "{missing:?}");
        assert!(missing[1].contains("/home is not asked for: nfs4"), "{missing:?}");
    }

    #[test]
    fn what_lies_behind_one_that_may_hang_is_not_asked() {
        let mountinfo = "21 1 254:0 / / rw - ext4 /dev/vda1 rw\n\
            22 21 0:30 / /srv rw - nfs4 server:/ rw\n\
            23 21 0:30 / /home rw - nfs4 server:/ rw\n\
            24 23 8:1 / /home/u/scratch rw - ext4 /dev/sda1 rw\n\
            25 21 8:2 / /home2 rw - ext4 /dev/sda2 rw\n\
            26 23 8:3 / /home/both rw - ext4 /dev/sda3 rw\n\
            27 21 8:3 / /mnt/of/both/places rw - ext4 /dev/sda3 rw\n";
        let folders = ["srv", "home/u/scratch", "home/both", "home2", "mnt/of/both/places"];
        let (view, missing) = look(mountinfo, &folders);
        assert_eq!(
            targets(&view),
            ["/", "/home/u/scratch", "/home2", "/mnt/of/both/places", "/srv"]
        );
        let asked: Vec<_> = view.mounts.iter().map(|mount| mount.bytes.is_some()).collect();
        assert_eq!(asked, [true, false, true, true, false], "{view:?}");
        assert!(
            missing[0].contains("/home/u/scratch is not asked for: the way to it leads through"),
            "{missing:?}"
        );
    }

    #[test]
    fn who_mounts_much_pushes_out_nothing_that_matters() {
        let many = |count: usize, kind: &str| {
            (0..count).fold(
                "9 1 8:1 / /var rw - ext4 /dev/sda1 rw\n".to_owned(),
                |mut text, number| {
                    writeln!(text, "1 1 0:{number} / /home/a/{number} rw - {kind} x rw").unwrap();
                    text
                },
            )
        };
        for (count, kind, listed, left_out) in [
            (300, "fuse.x", 301, 0),
            (1_100, "fuse.x", 1_024, 77),
            (300, "overlay", 301, 0),
            (1_100, "tmpfs", 1_024, 77),
            (300, "ext4", 301, 0),
        ] {
            let (view, missing) = look(&many(count, kind), &["var"]);
            assert_eq!((view.mounts.len(), view.left_out), (listed, left_out), "{count} {kind}");
            let var = view.mounts.iter().find(|mount| mount.target == "/var");
            assert!(var.unwrap().bytes.is_some(), "{count} {kind}");
            assert_eq!(missing[0].contains("mounts are left out, 1024"), left_out > 0);
            let is_cut = missing.iter().any(|line| line.contains("mounts is not asked for, 256"));
            assert_eq!(is_cut, kind != "fuse.x", "{missing:?}");
            assert!(missing.len() < 12, "{missing:?}");
        }
    }

    #[test]
    fn a_disk_is_seen_as_others_see_it_by_a_node_that_may_write_almost_nowhere() {
        let mountinfo = "21 1 254:0 / / ro,relatime - ext4 /dev/vda1 rw,discard\n\
            22 21 254:0 /var/lib/wachter /var/lib/wachter rw - ext4 /dev/vda1 rw,discard\n";
        let (mounts, _) = look(mountinfo, &[]);
        let [mount] = &mounts.mounts[..] else { panic!("{mounts:?}") };
        assert_eq!((mount.target.as_str(), mount.read_only), ("/", false));
    }

    #[test]
    fn the_root_is_always_asked() {
        let mountinfo = "1 1 0:1 / / rw - virtiofs a rw\n2 1 0:2 / /data rw - virtiofs b rw\n";
        let (mounts, _) = look(mountinfo, &["data"]);
        let asked: Vec<_> = mounts.mounts.iter().map(|mount| mount.bytes.is_some()).collect();
        assert_eq!(asked, [true, false]);
    }

    proptest! {
        #[test]
        fn any_places_stand_once(words in prop::collection::vec("[a/é ]{0,12}", 0..5)) {
            let line = |word: &String| format!("1 2 0:1 / /{word} rw - ext4 {word} rw");
            let mounts: Vec<_> = words.iter().filter_map(|word| parse(&line(word))).collect();
            prop_assert_eq!(once_each(mounts).len(), usize::from(!words.is_empty()));
        }
    }
}
