use wachter_protocol::module::host::{Memory, Moment, Paging};

use super::cpu::pressure;
use super::lines::number;
use super::root::{HostRoot, Missing};

/// Memory and swap.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Memory> {
    let text = missing.or_say("proc/meminfo", root.read("proc/meminfo"))?;
    let Some(memory) = parse(&text) else {
        missing.say("/proc/meminfo does not say how much memory there is");
        return None;
    };
    let counters = missing.or_say("proc/vmstat", root.read("proc/vmstat"));
    Some(Memory {
        taken: taken.clone(),
        paging: counters.map(|text| parse_paging(&text, root)),
        pressure: pressure(root, "memory"),
        ..memory
    })
}

/// The kernel's `/proc/vmstat`: a name and a number a line, of which pages are counted.
fn parse_paging(text: &str, root: &HostRoot) -> Paging {
    let mut paging = Paging::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let value = number(Some(value.trim()));
        match name {
            "pswpin" => paging.swapped_in_bytes = root.bytes(value),
            "pswpout" => paging.swapped_out_bytes = root.bytes(value),
            "pgmajfault" => paging.major_faults = value,
            "oom_kill" => paging.killed = value,
            _ => {}
        }
    }
    paging
}

/// proc_meminfo(5): a name, a colon, a number and `kB`, which means KiB.
fn parse(text: &str) -> Option<Memory> {
    let find = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(number(rest.split_ascii_whitespace().next()).saturating_mul(1_024))
    };
    let bytes = |name| find(name).unwrap_or(0);
    let cached_bytes =
        bytes("Cached").saturating_add(bytes("Buffers")).saturating_add(bytes("SReclaimable"));
    let free_bytes = bytes("MemFree");
    Some(Memory {
        total_bytes: find("MemTotal").filter(|total| *total > 0)?,
        free_bytes,
        available_bytes: find("MemAvailable").unwrap_or(free_bytes.saturating_add(cached_bytes)),
        cached_bytes,
        dirty_bytes: bytes("Dirty"),
        shared_bytes: bytes("Shmem"),
        kernel_bytes: bytes("SUnreclaim")
            .saturating_add(bytes("KernelStack"))
            .saturating_add(bytes("PageTables")),
        committed_bytes: bytes("Committed_AS"),
        commit_limit_bytes: bytes("CommitLimit"),
        swap_total_bytes: bytes("SwapTotal"),
        swap_free_bytes: bytes("SwapFree"),
        ..Memory::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal:        8000 kB
MemFree:         1000 kB
MemAvailable:    5000 kB
Buffers:          100 kB
Cached:          2000 kB
SwapCached:        77 kB
SwapTotal:       4000 kB
SwapFree:        3000 kB
SReclaimable:      50 kB
SUnreclaim:         3 kB
KernelStack:        2 kB
PageTables:         1 kB
Committed_AS:    9000 kB
HugePages_Total:       0
";
        let memory = parse(text).unwrap();
        assert_eq!(memory.total_bytes, 8_000 * 1_024);
        assert_eq!(memory.available_bytes, 5_000 * 1_024);
        assert_eq!(memory.cached_bytes, 2_150 * 1_024);
        assert_eq!(memory.swap_free_bytes, 3_000 * 1_024);
        assert_eq!((memory.kernel_bytes, memory.committed_bytes), (6 * 1_024, 9_000 * 1_024));
        let without = text.replace("MemAvailable", "Other");
        assert_eq!(parse(&without).unwrap().available_bytes, 3_150 * 1_024);
        assert_eq!(parse(""), None);
        assert_eq!(parse("MemTotal: 0 kB"), None);
    }

    #[test]
    fn pages_are_told_in_bytes() {
        let root = HostRoot::at(Path::new("/"));
        let text = "pswpin 2\npswpout 3\npgmajfault 4\noom_kill 5\noom_kill_disable\n";
        let expected = Paging {
            swapped_in_bytes: 8_192,
            swapped_out_bytes: 12_288,
            major_faults: 4,
            killed: 5,
        };
        assert_eq!(parse_paging(text, &root), expected);
        assert_eq!(parse_paging("", &root), Paging::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, value in "[0-9]{0,30}") {
            let _ = parse_paging(&text, &HostRoot::at(Path::new("/")));
            let _ = (parse(&text), parse(&format!("MemTotal: {value} kB\nCached:{value}\nBuffers:{value}")));
        }
    }
}
