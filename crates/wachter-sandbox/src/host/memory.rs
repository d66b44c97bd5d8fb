use wachter_protocol::module::host::Memory;

use super::cpu::pressure;
use super::lines::number;
use super::root::{HostRoot, Missing};

/// Memory and swap.
pub(super) fn sample(root: &HostRoot, missing: &mut Missing<'_>) -> Option<Memory> {
    let text = missing.or_say("proc/meminfo", root.read("proc/meminfo"))?;
    let Some(memory) = parse(&text) else {
        missing.say("/proc/meminfo does not say how much memory there is");
        return None;
    };
    Some(Memory { pressure: pressure(root, "memory"), ..memory })
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
        swap_total_bytes: bytes("SwapTotal"),
        swap_free_bytes: bytes("SwapFree"),
        pressure: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
HugePages_Total:       0
";
        let memory = parse(text).unwrap();
        assert_eq!(memory.total_bytes, 8_000 * 1_024);
        assert_eq!(memory.available_bytes, 5_000 * 1_024);
        assert_eq!(memory.cached_bytes, 2_150 * 1_024);
        assert_eq!(memory.swap_free_bytes, 3_000 * 1_024);
        let without = text.replace("MemAvailable", "Other");
        assert_eq!(parse(&without).unwrap().available_bytes, 3_150 * 1_024);
        assert_eq!(parse(""), None);
        assert_eq!(parse("MemTotal: 0 kB"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, value in "[0-9]{0,30}") {
            let _ = (parse(&text), parse(&format!("MemTotal: {value} kB\nCached:{value}\nBuffers:{value}")));
        }
    }
}
