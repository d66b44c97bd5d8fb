use wachter_protocol::module::host::{Disk, Disks, Moment, Transfers};

use super::cpu::pressure;
use super::lines::number;
use super::root::{HostRoot, Missing};

/// The most block devices: a server of storage has some hundreds.
const MAX_DISKS: usize = 256;

/// What the kernel counts in, whatever the disk does.
const SECTOR_BYTES: u64 = 512;

/// Block devices. One that nothing was ever read from or written to, such as an unused loop device, is
/// left out.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Disks> {
    let text = missing.or_say("proc/diskstats", root.read("proc/diskstats"))?;
    let used = |disk: &Disk| disk.reads.requests > 0 || disk.writes.requests > 0;
    let mut disks: Vec<_> = text.lines().filter_map(parse).filter(used).collect();
    for disk in &mut disks {
        disk.partition_of = std::fs::read_link(root.path(entry(disk)))
            .ok()
            .and_then(|device| parent(device.to_str()?).map(str::to_owned));
    }
    let left_out = disks.len().saturating_sub(MAX_DISKS);
    if left_out > 0 {
        missing
            .say(format_args!("{left_out} block devices are left out, {MAX_DISKS} are the most"));
        choose(&mut disks);
    }
    for disk in &mut disks {
        if disk.name.starts_with("dm-") {
            let name = root.read(&format!("{}/dm/name", entry(disk))).ok();
            disk.mapped_name = name.map(|name| name.trim().chars().take(128).collect());
        }
    }
    let left_out = u32::try_from(left_out).unwrap_or(u32::MAX);
    Some(Disks { taken: taken.clone(), disks, left_out, pressure: pressure(root, "io") })
}

fn entry(disk: &Disk) -> String {
    format!("sys/dev/block/{}", disk.device)
}

/// Leaves [`MAX_DISKS`] in the order that they have: what partitions and files do is part of what their
/// disks do.
fn choose(disks: &mut Vec<Disk>) {
    let weight =
        |disk: &Disk| u8::from(disk.partition_of.is_some() || disk.name.starts_with("loop"));
    let mut order: Vec<usize> = (0..disks.len()).collect();
    order.sort_by_key(|place| weight(&disks[*place]));
    order.truncate(MAX_DISKS);
    let mut place = 0;
    disks.retain(|_| {
        place += 1;
        order.contains(&(place - 1))
    });
}

/// The kernel's Documentation/admin-guide/iostats.rst: two numbers, a name, and 11 counters or more.
fn parse(line: &str) -> Option<Disk> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor, name) = (words.next()?, words.next()?, words.next()?);
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(major) || !digits(minor) {
        return None;
    }
    let counters: Vec<u64> = words.map(|word| number(Some(word))).collect();
    let transfers = |first: usize| Transfers {
        requests: counters[first],
        bytes: counters[first + 2].saturating_mul(SECTOR_BYTES),
        milliseconds: counters[first + 3],
    };
    (counters.len() >= 11).then(|| Disk {
        name: name.chars().take(64).collect(),
        device: format!("{major}:{minor}"),
        partition_of: None,
        mapped_name: None,
        reads: transfers(0),
        writes: transfers(4),
        in_flight: counters[8],
        busy_milliseconds: counters[9],
        queued_milliseconds: counters[10],
    })
}

/// The disk of a partition, by the place of its folder in `/sys/devices`: `…/block/sda/sda1`.
fn parent(device: &str) -> Option<&str> {
    let mut parts = device.rsplit('/').skip(1);
    let parent = parts.next()?;
    (parts.next()? == "block").then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wachter_protocol::HostView;

    const STATS: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
 254       0 vda 100 2 800 1000 50 6 400 700 3 900 1700 39 10 85 14 59 10
 254       1 vda1 90 2 720 900 50 6 400 700 3 900 1600
 253       0 dm-0 10 0 80 100 0 0 0 0 0 90 100
";

    #[test]
    fn counters_partitions_and_mapped_names() {
        let folder = tempfile::tempdir().unwrap();
        let block = folder.path().join("sys/dev/block");
        std::fs::create_dir_all(folder.path().join("proc")).unwrap();
        std::fs::create_dir_all(block.join("253:0/dm")).unwrap();
        std::fs::write(folder.path().join("proc/diskstats"), STATS).unwrap();
        std::fs::write(block.join("253:0/dm/name"), "group-root\n").unwrap();
        let link = |to, device| std::os::unix::fs::symlink(to, block.join(device)).unwrap();
        link("../../devices/pci0/virtio0/block/vda", "254:0");
        link("../../devices/pci0/virtio0/block/vda/vda1", "254:1");
        let mut missing = Vec::new();
        let root = HostRoot::at(folder.path());
        let mut missing = Missing::of(HostView::Disks, &mut missing);
        let disks = sample(&root, &Moment::default(), &mut missing).unwrap().disks;
        let [disk, partition, mapped] = &disks[..] else { panic!("{disks:?}") };
        assert_eq!((disk.name.as_str(), disk.device.as_str()), ("vda", "254:0"));
        assert_eq!(disk.reads, Transfers { requests: 100, bytes: 409_600, milliseconds: 1_000 });
        assert_eq!(disk.writes, Transfers { requests: 50, bytes: 204_800, milliseconds: 700 });
        assert_eq!((disk.in_flight, disk.busy_milliseconds), (3, 900));
        assert_eq!((disk.queued_milliseconds, &disk.partition_of), (1_700, &None));
        assert_eq!(partition.partition_of.as_deref(), Some("vda"));
        assert_eq!(mapped.mapped_name.as_deref(), Some("group-root"));
    }

    #[test]
    fn partitions_are_left_out_first() {
        let disk = |number: u32| Disk {
            name: format!("sd{number}"),
            partition_of: (!number.is_multiple_of(3)).then(|| "sd0".to_owned()),
            ..Disk::default()
        };
        let mut disks: Vec<Disk> = (0..300).map(disk).collect();
        choose(&mut disks);
        assert_eq!(disks.len(), MAX_DISKS);
        assert_eq!(disks.iter().filter(|disk| disk.partition_of.is_none()).count(), 100);
        assert_eq!((disks[255].name.as_str(), disks[1].name.as_str()), ("sd297", "sd1"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, words in "[0-9]{1,3} [0-9]{1,3} [a-z]{1,5}( [0-9]{0,25}){0,20}") {
            let _ = (text.lines().filter_map(parse).count(), parse(&words), parent(&text));
        }
    }
}
