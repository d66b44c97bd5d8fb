use std::time::SystemTime;

use wachter_protocol::module::host::Moment;

use super::lines::fraction;
use super::root::{HostRoot, Missing};

/// The time since boot, and which boot.
pub(super) fn sample(root: &HostRoot, missing: &mut Missing<'_>) -> Moment {
    let uptime = missing.or_say("proc/uptime", root.read("proc/uptime"));
    let boot = "proc/sys/kernel/random/boot_id";
    let boot = missing.or_say(boot, root.read(boot)).unwrap_or_default();
    Moment {
        boot: boot.trim().chars().take(64).collect(),
        uptime_milliseconds: uptime.as_deref().map_or(0, parse),
        unix_milliseconds: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .and_then(|time| u64::try_from(time.as_millis()).ok()),
    }
}

/// proc_uptime(5): two numbers of seconds; the first counts.
fn parse(text: &str) -> u64 {
    let seconds = fraction(text.split_whitespace().next()).unwrap_or(0.0).max(0.0);
    std::time::Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|uptime| u64::try_from(uptime.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uptimes() {
        for (text, expected) in
            [("350735.47 234388.90\n", 350_735_470), ("", 0), ("-1 0", 0), ("nan", 0), ("1e300", 0)]
        {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_uptime_or_none(text: String) {
            let _ = parse(&text);
        }
    }
}
