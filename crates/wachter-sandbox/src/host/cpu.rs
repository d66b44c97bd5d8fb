use wachter_protocol::module::host::{Core, Cpu, CpuTimes, LoadAverages, Moment, Pressure};

use super::lines::{fraction, number};
use super::root::{HostRoot, Missing};

/// Processor time and load.
pub(super) fn sample(root: &HostRoot, taken: &Moment, missing: &mut Missing<'_>) -> Option<Cpu> {
    let text = missing.or_say("proc/stat", root.read("proc/stat"))?;
    let Some(cpu) = parse_stat(&text, root) else {
        missing.say("/proc/stat has no line `cpu`");
        return None;
    };
    let load = missing.or_say("proc/loadavg", root.read("proc/loadavg"));
    Some(Cpu {
        taken: taken.clone(),
        load: load.as_deref().and_then(parse_load),
        pressure: pressure(root, "cpu"),
        ..cpu
    })
}

/// Pressure stall information of a resource. Many kernels are built without; that is nothing to
/// complain of.
pub(super) fn pressure(root: &HostRoot, resource: &str) -> Option<Pressure> {
    parse_pressure(&root.read(&format!("proc/pressure/{resource}")).ok()?)
}

/// proc_stat(5): a line for all cores and one for each, then counters by name.
fn parse_stat(text: &str, root: &HostRoot) -> Option<Cpu> {
    let mut total = None;
    let mut cpu = Cpu::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        match name {
            "ctxt" => cpu.context_switches = number(words.next()),
            "processes" => cpu.forks = number(words.next()),
            "procs_blocked" => {
                cpu.blocked = u32::try_from(number(words.next())).unwrap_or(u32::MAX);
            }
            _ => {}
        }
        let Some(name) = name.strip_prefix("cpu") else { continue };
        let mut next = || root.milliseconds(number(words.next()));
        let times = CpuTimes {
            user_milliseconds: next(),
            nice_milliseconds: next(),
            system_milliseconds: next(),
            idle_milliseconds: next(),
            wait_milliseconds: next(),
            interrupt_milliseconds: next(),
            soft_interrupt_milliseconds: next(),
            stolen_milliseconds: next(),
        };
        if name.is_empty() {
            total = Some(times);
        } else if let Ok(number) = name.parse() {
            cpu.cores.push(Core { number, times });
        }
    }
    Some(Cpu { total: total?, ..cpu })
}

/// proc_loadavg(5): three averages, and more that is not of use.
fn parse_load(text: &str) -> Option<LoadAverages> {
    let mut words = text.split_ascii_whitespace();
    Some(LoadAverages {
        one: fraction(words.next())?,
        five: fraction(words.next())?,
        fifteen: fraction(words.next())?,
    })
}

/// The kernel's Documentation/accounting/psi.rst: a line `some`, and mostly a line `full`.
fn parse_pressure(text: &str) -> Option<Pressure> {
    let average = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        fraction(line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10=")))
    };
    let total = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind));
        number(line.and_then(|line| line.rsplit_once("total=")).map(|(_, total)| total))
    };
    Some(Pressure {
        some_percent: average("some ")?,
        full_percent: average("full ").unwrap_or(0.0),
        some_microseconds: total("some "),
        full_microseconds: total("full "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    const STAT: &str = "cpu  1000 20 300 40000 50 6 7 8 0 0
cpu0 600 20 200 20000 50 6 7 8 0 0
cpu3 400 0 100 20000 0 0 0 0 0 0 99 98
intr 123 4 5
ctxt 7
btime 1700000000
processes 12
procs_running 1
procs_blocked 2
";

    #[test]
    fn cores_and_their_sum() {
        let Cpu { total, cores, context_switches, forks, blocked, .. } =
            parse_stat(STAT, &HostRoot::at(Path::new("/"))).unwrap();
        assert_eq!((context_switches, forks, blocked), (7, 12, 2));
        assert_eq!(total.user_milliseconds, 10_000);
        assert_eq!(total.stolen_milliseconds, 80);
        assert_eq!(total.busy_milliseconds(), 10_000 + 200 + 3_000 + 60 + 70 + 80);
        assert_eq!(cores.iter().map(|core| core.number).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(cores[1].times.system_milliseconds, 1_000);
    }

    #[test]
    fn loads() {
        let load = LoadAverages { one: 0.52, five: 1.0, fifteen: 12.5 };
        for (text, expected) in [
            ("0.52 1.00 12.50 2/345 6789\n", Some(load)),
            ("0.52 1.00", None),
            ("", None),
            ("nan 1 1", None),
        ] {
            assert_eq!(parse_load(text), expected, "{text}");
        }
    }

    #[test]
    fn pressures() {
        let some = "some avg10=1.25 avg60=0.80 avg300=0.10 total=123456\n";
        let full = "full avg10=0.50 avg60=0.30 avg300=0.00 total=23456\n";
        let both = format!("{some}{full}");
        let waited = Pressure {
            some_percent: 1.25,
            full_percent: 0.5,
            some_microseconds: 123_456,
            full_microseconds: 23_456,
        };
        for (text, expected) in [
            (both.as_str(), Some(waited)),
            (some, Some(Pressure { full_percent: 0.0, full_microseconds: 0, ..waited })),
            (full, None),
            ("", None),
        ] {
            assert_eq!(parse_pressure(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, words in "cpu[0-9]{0,12}( [0-9]{0,25}){0,12}") {
            let root = HostRoot::at(Path::new("/"));
            let _ = (parse_stat(&text, &root), parse_stat(&words, &root));
            let _ = (parse_load(&text), parse_pressure(&text));
        }
    }
}
