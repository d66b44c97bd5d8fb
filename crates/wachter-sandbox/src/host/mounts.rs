use std::collections::BTreeMap;
use std::path::Path;

use wachter_protocol::module::host::{Moment, Mount, Mounts, Space};

use super::root::{HostRoot, Missing};

/// The most file systems that are asked for their space.
const MAX_MOUNTS: usize = 256;

/// File systems without content of their own.
const PSEUDO: [&str; 23] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tracefs",
];

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

/// Mounted file systems and their free space.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Mounts> {
    let text = missing.or_say("proc/self/mountinfo", root.read("proc/self/mountinfo"))?;
    let mut found = once_each(text.lines().filter_map(parse).collect());
    if found.len() > MAX_MOUNTS {
        missing.say(format_args!(
            "{} mounts are left out, {MAX_MOUNTS} are the most",
            found.len() - MAX_MOUNTS
        ));
        found.truncate(MAX_MOUNTS);
    }
    let mut mounts = Vec::new();
    for mut mount in found {
        if may_hang(&mount) {
            missing.say(format_args!(
                "the space of {} is not asked for: {} could make the question wait for ever",
                mount.target, mount.kind
            ));
            mounts.push(mount);
            continue;
        }
        match rustix::fs::statvfs(root.path(&mount.target)) {
            // A file system without a size has nothing that could run out.
            Ok(space) if space.f_blocks == 0 => {}
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
                mounts.push(mount);
            }
            Err(error) => {
                missing.say(format_args!("the space of {} is unknown: {error}", mount.target));
                mounts.push(mount);
            }
        }
    }
    Some(Mounts { taken: taken.clone(), mounts })
}

fn may_hang(mount: &Mount) -> bool {
    let kind = mount.kind.split('.').next().unwrap_or_default();
    REMOTE.contains(&kind) && mount.target != "/"
}

/// proc_pid_mountinfo(5): six fields, optional ones, a hyphen, three fields.
fn parse(line: &str) -> Option<Mount> {
    let (first, last) = line.split_once(" - ")?;
    let mut first = first.split(' ').skip(2);
    let device = first.next()?.to_owned();
    let target = unescaped(first.nth(1)?);
    first.next()?;
    let mut last = last.split(' ');
    let kind = last.next()?.to_owned();
    let source = unescaped(last.next()?);
    let options = last.next().unwrap_or_default();
    if PSEUDO.contains(&kind.as_str()) || !Path::new(&target).is_absolute() {
        return None;
    }
    // The file system's own options. Those of the mount say what this process may do there: a node under
    // systemd may write almost nowhere, while others fill the same disk.
    let read_only = options.split(',').any(|option| option == "ro");
    Some(Mount { target, source, device, kind, read_only, ..Mount::default() })
}

/// Undoes the escapes of spaces, tabs, line feeds and backslashes: `\040` and so on.
fn unescaped(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                text.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

/// One entry for each file system that can be reached: a later mount hides an earlier one at the
/// same place, and of several places of one device the shortest stands for all.
fn once_each(mounts: Vec<Mount>) -> Vec<Mount> {
    let visible: BTreeMap<String, Mount> =
        mounts.into_iter().map(|mount| (mount.target.clone(), mount)).collect();
    let mut devices: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in visible.into_values() {
        let rank = |mount: &Mount| (mount.read_only, mount.target.len());
        match devices.get(&mount.device) {
            // A writable place tells more than a read-only view of the same device.
            Some(known) if rank(known) <= rank(&mount) => {}
            _ => {
                devices.insert(mount.device.clone(), mount);
            }
        }
    }
    let mut once: Vec<_> = devices.into_values().collect();
    once.sort_by(|one, other| one.target.cmp(&other.target));
    once
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
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

    #[test]
    fn lines() {
        let found = parse(MOUNTINFO.lines().nth(3).unwrap()).unwrap();
        assert_eq!(found.device, "8:1");
        assert_eq!(found.target, "/mnt/two words");
        assert_eq!((found.source.as_str(), found.kind.as_str()), ("/dev/sda1", "xfs"));
        for line in
            ["", "a - b", "1 2 3 4 5", "21 1 254:0 / / rw -", "1 1 0:5 / relative rw - ext4 a rw"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn escapes() {
        for (word, expected) in [
            (r"a\040b", "a b"),
            (r"\134", "\\"),
            (r"\", "\\"),
            (r"\9", r"\9"),
            (r"\777", r"\777"),
            (r"\é", r"\é"),
        ] {
            assert_eq!(unescaped(word), expected, "{word}");
        }
    }

    #[test]
    fn each_file_system_stands_once_and_none_can_hang() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["proc/self", "mnt/two words", "snap", "home", "remote"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("proc/self/mountinfo"), MOUNTINFO).unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mounts =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Mounts, &mut missing))
                .unwrap()
                .mounts;
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        assert_eq!(targets, ["/", "/gone", "/home", "/mnt", "/mnt/two words", "/remote", "/snap"]);
        for mount in &mounts {
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
    fn a_disk_is_seen_as_others_see_it_by_a_node_that_may_write_almost_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        let mountinfo = "21 1 254:0 / / ro,relatime - ext4 /dev/vda1 rw,discard\n\
            22 21 254:0 /var/lib/wachter /var/lib/wachter rw - ext4 /dev/vda1 rw,discard\n";
        std::fs::write(folder.path().join("proc/self/mountinfo"), mountinfo).unwrap();
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mounts =
            sample(&root, &Moment::default(), &mut Missing::of(HostView::Mounts, &mut missing))
                .unwrap();
        let [mount] = &mounts.mounts[..] else { panic!("{mounts:?}") };
        assert_eq!((mount.target.as_str(), mount.read_only), ("/", false));
    }

    #[test]
    fn the_root_is_always_asked() {
        let mount = |target: &str| Mount {
            target: target.into(),
            kind: "virtiofs".into(),
            ..Mount::default()
        };
        assert!(!may_hang(&mount("/")) && may_hang(&mount("/data")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, word in "[\\\\0-9a/é ]{0,12}") {
            let _ = (text.lines().filter_map(parse).collect::<Vec<_>>(), unescaped(&word));
            let line = format!("1 2 0:1 / /{word} rw - ext4 {word} rw");
            let _ = once_each(line.lines().filter_map(parse).collect());
        }

        #[test]
        fn a_word_without_backslash_stays(word in "[^\\\\]{0,20}") {
            prop_assert_eq!(unescaped(&word), word);
        }
    }
}
