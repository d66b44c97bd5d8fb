use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use wachter_module::host::{
    Clock, Core, Cpu, CpuTimes, Discipline, Disk, Disks, Fan, Interface, LeftOut, LoadAverages,
    Memory, Moment, Mount, Mounts, Network, OpenFiles, Paging, Pressure, Process, Processes,
    Sensors, Sockets, Space, TcpCounters, Temperature, Tracked, Traffic, Transfers, Unit, Units,
    View, Zombies,
};
use wachter_module::protocol::HostView;
use wachter_module::{Finding, Harness};

use super::*;
use crate::builtin::Builtin;

fn moment(uptime_milliseconds: u64) -> Moment {
    let unix_milliseconds = Some(1_800_000_000_000 + uptime_milliseconds);
    Moment { boot: "one".to_owned(), uptime_milliseconds, unix_milliseconds }
}

fn cpu(uptime: u64, busy: u64, load: f64) -> Cpu {
    let total = CpuTimes {
        user_milliseconds: busy,
        idle_milliseconds: 2 * uptime - busy,
        ..CpuTimes::default()
    };
    let cores = vec![Core::default(), Core { number: 1, ..Core::default() }];
    let load = Some(LoadAverages { one: load, five: load, fifteen: load });
    Cpu { taken: moment(uptime), total, cores, load, ..Cpu::default() }
}

fn network(uptime: u64, bytes: u64, errors: u64) -> Network {
    let received = Traffic { bytes, errors, ..Traffic::default() };
    let eth0 = Interface { name: "eth0".to_owned(), received, ..Interface::default() };
    Network { taken: moment(uptime), interfaces: vec![eth0], ..Network::default() }
}

fn mount(target: &str, used: u64, inodes_used: u64) -> Mount {
    let space = |used| Some(Space { total: 100, free: 100 - used, available: 100 - used });
    let (bytes, inodes) = (space(used), space(inodes_used));
    Mount { target: target.to_owned(), bytes, inodes, ..Mount::default() }
}

fn mounts(mounts: &[Mount]) -> Mounts {
    Mounts { taken: moment(1_000), mounts: mounts.to_vec(), ..Mounts::default() }
}

fn told<'a>(findings: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    let tell = |finding: &Finding| {
        let end = if finding.resolved { "-" } else { "+" };
        assert_eq!(finding.fingerprint, format!("{}:{}", finding.kind, finding.subject));
        format!("{end}{}", finding.fingerprint)
    };
    findings.map(tell).collect()
}

#[test]
fn rates_need_two_runs_of_one_boot() {
    let first = Harness::new()
        .host(&cpu(1_000, 500, 0.5))
        .host(&network(1_000, 5_000, 0))
        .run(&SystemMonitor);
    assert_eq!(first.result.output["cpu"]["used_percent"], Value::Null);
    let second = Harness::new()
        .host(&cpu(3_000, 1_500, 0.5))
        .host(&network(3_000, 25_000, 0))
        .after(&first)
        .run(&SystemMonitor);
    // Two cores, two seconds: 4,000 ms in all, 1,000 of them busy.
    assert_eq!(second.result.output["cpu"]["used_percent"], 25.0);
    assert_eq!(second.result.output["network"]["eth0"]["received_bytes_per_second"], 10_000.0);
    let value =
        |name: &str| second.metrics().find(|metric| metric.name == name).map(|metric| metric.value);
    assert_eq!(value("cpu_used_ratio"), Some(0.25));
    assert_eq!(value("network_received_bytes_per_second"), Some(10_000.0));

    let mut later = cpu(9_000, 6_000, 0.5);
    later.taken.boot = "two".to_owned();
    let rebooted = Harness::new().host(&later).after(&second).run(&SystemMonitor);
    assert_eq!(rebooted.result.output["cpu"]["used_percent"], Value::Null);
}

#[test]
fn a_missing_view_does_not_cost_the_rates() {
    let first = Harness::new().host(&network(1_000, 0, 0)).run(&SystemMonitor);
    let between = Harness::new().host(&Memory::default()).after(&first).run(&SystemMonitor);
    let third = Harness::new().host(&network(3_000, 4_000, 0)).after(&between).run(&SystemMonitor);
    assert_eq!(third.result.output["network"]["eth0"]["received_bytes_per_second"], 2_000.0);
}

#[test]
fn disks_are_judged_apart() {
    let first = Harness::new()
        .host(&mounts(&[mount("/", 95, 10), mount("/var", 10, 95), mount("/ok", 89, 89)]))
        .run(&SystemMonitor);
    assert_eq!(told(first.findings()), ["+disk.full:/", "+inodes.exhausted:/var"]);
    assert_eq!(first.result.output["open"], json!(["disk.full:/", "inodes.exhausted:/var"]));
    assert_eq!(first.result.output["mounts"]["fullest"]["target"], "/");
    // The first is between the bounds, the second is gone.
    let second =
        Harness::new().host(&mounts(&[mount("/", 87, 10)])).after(&first).run(&SystemMonitor);
    assert_eq!(told(second.findings()), ["-inodes.exhausted:/var"]);
    let hung = Mount { bytes: None, ..mount("/", 0, 0) };
    let third = Harness::new().host(&mounts(&[hung])).after(&second).run(&SystemMonitor);
    assert_eq!(told(third.findings()), Vec::<String>::new());
    let fourth =
        Harness::new().host(&mounts(&[mount("/", 80, 0)])).after(&third).run(&SystemMonitor);
    assert_eq!(told(fourth.findings()), ["-disk.full:/"]);
    let finding = fourth.findings().next().unwrap();
    assert_eq!(finding.message, "/: 80.0 % of the space is in use, below 85");
    assert_eq!(finding.evidence["value"], 80.0);
}

#[test]
fn images_and_ignored_mounts_are_not_reported() {
    let image = Mount { read_only: true, ..mount("/snap", 100, 100) };
    let view = mounts(&[image, mount("/scratch", 99, 99)]);
    let finished = Harness::new()
        .host(&view)
        .input(json!({ "ignore_mounts": ["/scratch"] }))
        .run(&SystemMonitor);
    assert_eq!(told(finished.findings()), Vec::<String>::new());
    assert!(finished.metrics().any(|metric| metric.labels["target"] == "/scratch"));
}

#[test]
fn thresholds_come_from_the_input() {
    let memory =
        |available_bytes| Memory { total_bytes: 100, available_bytes, ..Memory::default() };
    let hot = |celsius, critical_celsius| Sensors {
        temperatures: vec![Temperature {
            chip: "chip".into(),
            label: "core".into(),
            celsius,
            critical_celsius,
            ..Temperature::default()
        }],
        ..Sensors::default()
    };
    let zombies = |count| Processes {
        total: count,
        processes: (0..count)
            .map(|pid| Process { pid, state: "Z".into(), ..Process::default() })
            .collect(),
        ..Processes::default()
    };
    let low = json!({ "memory_used_percent": { "raise": 50, "resolve": 40 } });
    for (harness, expected) in [
        (Harness::new().host(&memory(6)), None),
        (Harness::new().host(&memory(5)), Some("+memory.low:memory")),
        (Harness::new().host(&memory(50)).input(low), Some("+memory.low:memory")),
        (Harness::new().host(&cpu(1_000, 0, 7.9)), None),
        (Harness::new().host(&cpu(1_000, 0, 8.0)), Some("+load.high:cpu")),
        (Harness::new().host(&hot(89.0, None)), None),
        (Harness::new().host(&hot(90.0, None)), Some("+temperature.high:chip/core")),
        (Harness::new().host(&hot(90.0, Some(100.0))), None),
        (Harness::new().host(&hot(70.0, Some(75.0))), Some("+temperature.high:chip/core")),
        (Harness::new().host(&hot(70.0, Some(0.0))), None),
        (Harness::new().host(&zombies(99)), None),
        (Harness::new().host(&zombies(100)), Some("+processes.zombie:processes")),
    ] {
        let found = told(harness.run(&SystemMonitor).findings());
        assert_eq!(found.first().map(String::as_str), expected, "{harness:?}");
    }
}

#[test]
fn errors_are_counted_a_second() {
    let run = |view: &Network, earlier: Option<&wachter_module::Finished>| {
        let harness = Harness::new().host(view);
        match earlier {
            Some(earlier) => harness.after(earlier).run(&SystemMonitor),
            None => harness.run(&SystemMonitor),
        }
    };
    let first = run(&network(1_000, 0, 500), None);
    let second = run(&network(2_000, 0, 510), Some(&first));
    let third = run(&network(3_000, 0, 510), Some(&second));
    let told = [&first, &second, &third].map(|finished| told(finished.findings()).join(" "));
    assert_eq!(told, ["", "+network.errors:eth0", "-network.errors:eth0"]);
}

/// What runs of views tell, one after the other, each with the state of the one before.
fn story<T: View>(views: &[T]) -> Vec<String> {
    let mut earlier: Option<wachter_module::Finished> = None;
    let mut story = Vec::new();
    for view in views {
        let mut harness = Harness::new().host(view);
        if let Some(earlier) = &earlier {
            harness = harness.after(earlier);
        }
        let finished = harness.run(&SystemMonitor);
        story.push(told(finished.findings()).join(" "));
        earlier = Some(finished);
    }
    story
}

/// Views a minute apart, made of numbers.
fn minutes<T, N: Copy>(numbers: &[N], view: impl Fn(Moment, N) -> T) -> Vec<T> {
    numbers.iter().zip(1..).map(|(number, minute)| view(moment(minute * 60_000), *number)).collect()
}

#[test]
fn what_lasts_is_told_and_peaks_are_not() {
    // Of two cores, so many milliseconds of each minute were taken by others.
    let stolen = |taken: Moment, stolen| Cpu {
        total: CpuTimes {
            stolen_milliseconds: stolen,
            idle_milliseconds: 2 * taken.uptime_milliseconds - stolen,
            ..CpuTimes::default()
        },
        taken,
        ..Cpu::default()
    };
    let cases = [
        (vec![0, 20_000, 20_000, 20_000, 20_000], vec!["", "", "", "", ""]),
        (
            vec![0, 20_000, 40_000, 60_000, 80_000, 80_000],
            vec!["", "", "", "+cpu.stolen:cpu", "", "-cpu.stolen:cpu"],
        ),
    ];
    for (counters, expected) in cases {
        assert_eq!(story(&minutes(&counters, stolen)), expected, "{counters:?}");
    }
    let waiting = |taken: Moment, some_microseconds| Cpu {
        pressure: Some(Pressure { some_microseconds, ..Pressure::default() }),
        taken,
        ..Cpu::default()
    };
    let counters = [0, 55_000_000, 110_000_000, 165_000_000, 166_000_000];
    let expected = ["", "", "", "+pressure.high:cpu", "-pressure.high:cpu"];
    assert_eq!(story(&minutes(&counters, waiting)), expected);
}

#[test]
fn memory_that_is_swapped_in_and_processes_that_were_ended() {
    let paging = |taken, (mebibytes, killed): (u64, u64)| Memory {
        taken,
        total_bytes: 100,
        available_bytes: 50,
        paging: Some(Paging { swapped_in_bytes: mebibytes << 20, killed, ..Paging::default() }),
        ..Memory::default()
    };
    let counters = [(0, 3), (300, 3), (600, 3), (900, 5), (900, 5)];
    let expected =
        ["", "", "", "+memory.swapping:swap +memory.killed:memory", "-memory.swapping:swap"];
    assert_eq!(story(&minutes(&counters, paging)), expected);
    // For an hour nothing is ended any more.
    let counters: Vec<_> = (0..65).map(|minute| (0, u64::from(minute > 1))).collect();
    let story_of_killed = story(&minutes(&counters, paging));
    assert_eq!(story_of_killed[2], "+memory.killed:memory");
    assert_eq!(story_of_killed[62], "-memory.killed:memory", "{story_of_killed:?}");
    assert!(story_of_killed[3..62].iter().all(String::is_empty), "{story_of_killed:?}");
    let full = |free| Memory {
        total_bytes: 100,
        available_bytes: 50,
        swap_total_bytes: 100,
        swap_free_bytes: free,
        ..Memory::default()
    };
    assert_eq!(story(&[full(20), full(25), full(31)]), ["+swap.full:swap", "", "-swap.full:swap"]);
}

#[test]
fn a_disk_that_can_do_no_more() {
    let disk = |taken, (busy_milliseconds, queued_milliseconds): (u64, u64)| {
        let disk = |name: &str, partition_of: Option<&str>| Disk {
            name: name.to_owned(),
            partition_of: partition_of.map(str::to_owned),
            busy_milliseconds,
            queued_milliseconds,
            ..Disk::default()
        };
        let disks = vec![disk("sda", None), disk("sda1", Some("sda"))];
        Disks { taken, disks, ..Disks::default() }
    };
    for (queue, expected) in [
        (20, ["", "", "", "+disk.saturated:sda", "-disk.saturated:sda"]),
        // Always busy, with one request after the other: it could do more.
        (1, ["", "", "", "", ""]),
    ] {
        let busy = [0, 60_000, 120_000, 180_000, 190_000];
        let counters = busy.map(|busy| (busy, busy * queue));
        assert_eq!(story(&minutes(&counters, disk)), expected, "{queue}");
    }
}

#[test]
fn sockets_that_run_out() {
    let sockets = |taken, (waiting, listen_overflows, count): (u64, u64, u64)| Sockets {
        taken,
        tcp: [("close-wait".to_owned(), waiting)].into(),
        counters: Some(TcpCounters { listen_overflows, ..TcpCounters::default() }),
        tracked: Some(Tracked { count, most: 100 }),
        ..Sockets::default()
    };
    let counters = [(0, 7, 0), (300, 127, 95), (300, 127, 85), (300, 127, 79), (50, 127, 0)];
    let expected = [
        "",
        "+sockets.overflow:tcp +sockets.tracked-full:tracked",
        "-sockets.overflow:tcp",
        "+sockets.close-wait:tcp -sockets.tracked-full:tracked",
        "-sockets.close-wait:tcp",
    ];
    assert_eq!(story(&minutes(&counters, sockets)), expected);
}

#[test]
fn open_files_that_run_out() {
    let processes = |descriptors, most, open| Processes {
        open_files: Some(OpenFiles { open, most: 100 }),
        processes: vec![Process {
            pid: 7,
            name: "web".into(),
            descriptors: Some(descriptors),
            descriptors_most: most,
            ..Process::default()
        }],
        ..Processes::default()
    };
    let views = [
        processes(950, Some(1_000), 50),
        processes(950, Some(2_000), 95),
        processes(10, None, 10),
        Processes::default(),
    ];
    let expected = [
        "+descriptors.exhausted:web[7]",
        "+descriptors.exhausted:host -descriptors.exhausted:web[7]",
        "-descriptors.exhausted:host",
        "",
    ];
    assert_eq!(story(&views), expected);
}

#[test]
fn units_that_failed_or_start_again_and_again() {
    let unit = |name: &str, active: &str, restarts| Unit {
        name: name.to_owned(),
        active: active.to_owned(),
        result: Some("exit-code".to_owned()),
        restarts,
        ..Unit::default()
    };
    let view = |taken, (active, restarts): (&str, u64)| Units {
        taken,
        total: 2,
        units: vec![unit("a.service", active, Some(restarts)), unit("b.service", "active", None)],
    };
    let runs = [
        // What happened before the first look is no news.
        ("active", 50),
        ("active", 52),
        ("failed", 54),
        ("failed", 55),
        ("active", 55),
    ];
    let expected =
        ["", "", "+unit.failed:a.service", "+unit.restarting:a.service", "-unit.failed:a.service"];
    assert_eq!(story(&minutes(&runs, view)), expected);
    // An hour in which it holds ends it.
    let runs: Vec<_> =
        (0..130).map(|minute| ("active", if minute < 6 { minute } else { 6 })).collect();
    let story_of_hours = story(&minutes(&runs, view));
    assert_eq!(story_of_hours[5], "+unit.restarting:a.service");
    assert_eq!(story_of_hours[121], "-unit.restarting:a.service", "{story_of_hours:?}");
    // It was removed.
    let gone = [view(moment(1), ("failed", 0)), Units { taken: moment(2), ..Units::default() }];
    assert_eq!(story(&gone), ["+unit.failed:a.service", "-unit.failed:a.service"]);
    let ignored = Harness::new()
        .host(&view(moment(1), ("failed", 0)))
        .input(json!({ "ignore_units": ["a.service"] }))
        .run(&SystemMonitor);
    assert_eq!(told(ignored.findings()), Vec::<String>::new());
    let finished = Harness::new().host(&view(moment(1), ("failed", 0))).run(&SystemMonitor);
    assert_eq!(finished.findings().next().unwrap().message, "a.service has failed (exit-code)");
}

/// What is told of a subject that is not seen any more: nothing where it may only have been left out, else its
/// end.
fn told_of_one_left_out<T: View>(open: T, left_out: T, gone: T) -> Vec<String> {
    let story = story(&[open, left_out, gone]);
    assert!(story[0].starts_with('+') && story[1].is_empty(), "{story:?}");
    assert_eq!(story[2], story[0].replace('+', "-"), "{story:?}");
    story
}

#[test]
fn what_is_left_out_of_a_view_stays_open() {
    let with = |left_out, view: Mounts| Mounts { left_out, ..view };
    told_of_one_left_out(
        with(3, mounts(&[mount("/var", 95, 0)])),
        with(3, mounts(&[mount("/", 1, 0)])),
        with(0, mounts(&[mount("/", 1, 0)])),
    );
    let hot = |celsius: &[f64], left_out| {
        let sensor = |celsius: &f64| Temperature { celsius: *celsius, ..Temperature::default() };
        let temperatures = celsius.iter().map(sensor).collect();
        Sensors { temperatures, left_out, ..Sensors::default() }
    };
    told_of_one_left_out(hot(&[95.0], 9), hot(&[], 9), hot(&[], 0));
    let first = network(1_000, 0, 500);
    let empty = |left_out, uptime| Network { left_out, taken: moment(uptime), interfaces: vec![] };
    let [second, third, fourth] = [network(2_000, 0, 900), empty(1, 3_000), empty(0, 4_000)];
    assert_eq!(
        story(&[first, second, third, fourth]),
        ["", "+network.errors:eth0", "", "-network.errors:eth0"]
    );
    let sockets = |taken, (waiting, in_part): (u64, bool)| Sockets {
        taken,
        tcp: [("close-wait".to_owned(), waiting)].into(),
        in_part,
        ..Sockets::default()
    };
    let counts = [(300, false), (300, true), (300, true), (20, true), (20, false)];
    let expected = ["", "", "+sockets.close-wait:tcp", "", "-sockets.close-wait:tcp"];
    assert_eq!(story(&minutes(&counts, sockets)), expected);
}

#[test]
fn processes_that_are_left_out_have_not_ended() {
    let full = Process {
        pid: 7,
        name: "web".into(),
        descriptors: Some(950),
        descriptors_most: Some(1_000),
        ..Process::default()
    };
    let view = |process: Option<&Process>, pids: &[u32]| Processes {
        processes: process.into_iter().cloned().collect(),
        left_out: Some(LeftOut {
            count: u32::try_from(pids.len()).unwrap(),
            pids: pids.to_vec(),
            ..LeftOut::default()
        }),
        ..Processes::default()
    };
    // It has ended, though others are left out.
    told_of_one_left_out(view(Some(&full), &[8]), view(None, &[7, 8]), view(None, &[8]));
    // Its files cannot be seen for a moment.
    let hidden = Process { descriptors: None, descriptors_most: None, ..full.clone() };
    told_of_one_left_out(view(Some(&full), &[]), view(Some(&hidden), &[]), view(None, &[]));
    // The dead are left out first, and are counted all the same.
    let dead = |count| Processes {
        zombies: vec![Zombies { parent: 1, name: "init".into(), count }],
        ..view(None, &[7])
    };
    assert_eq!(
        story(&[dead(120), dead(30)]),
        ["+processes.zombie:processes", "-processes.zombie:processes"]
    );
}

#[test]
fn units_that_are_left_out_stay_as_they_were() {
    let unit = |name: &str, active: &str| Unit {
        name: name.to_owned(),
        active: active.to_owned(),
        restarts: None,
        ..Unit::default()
    };
    let view = |units: Vec<Unit>, total| Units { total, units, ..Units::default() };
    let others = || vec![unit("b.service", "failed")];
    let runs = [
        view(vec![unit("a.service", "failed")], 1),
        view(others(), 2),
        // Where one is told of that has not failed, no failed one is left out.
        view(vec![unit("c.service", "active")], 3),
    ];
    let expected = [
        "+unit.failed:a.service",
        "+unit.failed:b.service",
        "-unit.failed:a.service -unit.failed:b.service",
    ];
    assert_eq!(story(&runs), expected);
    let restarting = |taken, restarts: Option<u64>| Units {
        taken,
        total: 2,
        units: restarts
            .map(|count| Unit { restarts: Some(count), ..unit("a.service", "active") })
            .into_iter()
            .collect(),
    };
    let runs = [Some(0), Some(6), None, None, Some(6)];
    let expected = ["", "+unit.restarting:a.service", "", "", ""];
    assert_eq!(story(&minutes(&runs, restarting)), expected);
}

#[test]
fn sensors_of_one_name_are_told_apart() {
    let sensor = |device: Option<&str>, celsius| Temperature {
        chip: "nvme".into(),
        device: device.map(str::to_owned),
        label: "Composite".into(),
        celsius,
        critical_celsius: None,
    };
    let view = |temperatures| Sensors { temperatures, ..Sensors::default() };
    for (one, other, expected) in [
        (None, None, "+temperature.high:nvme/Composite"),
        (Some("nvme0"), Some("nvme1"), "+temperature.high:nvme0/Composite"),
        (Some("0000:01:00.0"), None, "+temperature.high:nvme/0000:01:00.0/Composite"),
        (Some("nvme0"), Some("nvme0"), "+temperature.high:nvme0/Composite"),
    ] {
        let hot_and_cold = view(vec![sensor(one, 95.0), sensor(other, 40.0)]);
        assert_eq!(story(&[hot_and_cold.clone(), hot_and_cold]), [expected, ""]);
        let finished = Harness::new()
            .host(&view(vec![sensor(one, 40.0), sensor(other, 40.0)]))
            .run(&SystemMonitor);
        let labels: BTreeSet<_> = finished.metrics().map(|metric| metric.labels.clone()).collect();
        assert_eq!(labels.len(), 2, "{labels:?}");
    }
    let second = view(vec![sensor(None, 40.0), sensor(None, 95.0)]);
    assert_eq!(story(&[second]), ["+temperature.high:nvme/Composite#2"]);
}

#[test]
fn a_clock_that_nothing_keeps_in_step() {
    let clock = |taken, synchronized| Clock { taken, synchronized, discipline: None };
    let mut states = vec![false; 17];
    states.push(true);
    let story = story(&minutes(&states, clock));
    assert_eq!(story.concat(), "+clock.unsynchronized:clock-clock.unsynchronized:clock");
    assert_eq!((story[15].is_empty(), story[17].is_empty()), (false, false), "{story:?}");
}

#[test]
fn what_fills_is_foreseen_from_run_to_run() {
    let filling = |minute: u64| {
        let taken = moment(minute * 60_000);
        let used = 400_000 + minute * 3_000;
        let (free, total) = (1_000_000 - used, 1_000_000);
        let bytes = Some(Space { total, free, available: free });
        let mounts = vec![Mount { target: "/var".into(), bytes, ..Mount::default() }];
        Mounts { taken, mounts, ..Mounts::default() }
    };
    let mut finished = Harness::new().host(&filling(0)).run(&SystemMonitor);
    let mut findings = Vec::new();
    for minute in 1..60 {
        finished = Harness::new().host(&filling(minute)).after(&finished).run(&SystemMonitor);
        findings.extend(finished.findings().cloned());
    }
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.kind.as_str(), "disk.filling");
    assert_eq!(finding.message, "`/var` will be full in about 3 hours (1 to 4)");
    assert_eq!(finding.evidence["seen_over"], "hour");
    let days =
        finished.result.output["mounts"]["filling"]["/var"]["full_in_days"].as_f64().unwrap();
    // 423,000 are left, at 3,000 a minute.
    assert!((days * 1_440.0 - 141.0).abs() < 5.0, "{days}");
}

#[test]
fn what_comes_and_goes_has_a_trend() {
    let memory = |minute: u64| Memory {
        taken: moment(minute * 60_000),
        total_bytes: 10_000,
        available_bytes: 8_000 - minute * 10 - (minute % 2) * 100,
        ..Memory::default()
    };
    let mut finished = Harness::new().host(&memory(0)).run(&SystemMonitor);
    for minute in 1..120 {
        finished = Harness::new().host(&memory(minute)).after(&finished).run(&SystemMonitor);
    }
    let trend = &finished.result.output["memory"]["trend"];
    let number = |name: &str| trend[name].as_f64().unwrap();
    // A tenth of a percent a minute: the last hour lies around minute 90, all of it around minute 60.
    assert!((number("hour_median_percent") - 29.5).abs() < 1.0, "{trend}");
    assert!((number("day_median_percent") - 26.5).abs() < 1.0, "{trend}");
    assert!((number("percent_a_day") - 144.0).abs() < 5.0, "{trend}");
    // Of too little, nothing is said.
    let first = Harness::new().host(&memory(0)).run(&SystemMonitor);
    assert_eq!(first.result.output["memory"]["trend"]["percent_a_day"], Value::Null);
}

#[test]
fn a_state_stays_as_small_as_it_says() {
    let mount = |number: u32| Mount { target: format!("/mnt/{number:0>60}"), ..mount("/", 50, 50) };
    let many: Vec<_> = (0..256).map(mount).collect();
    let view = |minute: u64| Mounts {
        taken: moment(minute * 60_000),
        mounts: many.clone(),
        ..Mounts::default()
    };
    let mut finished = Harness::new().host(&view(0)).run(&SystemMonitor);
    for minute in 1..4 {
        finished = Harness::new().host(&view(minute)).after(&finished).run(&SystemMonitor);
    }
    let size = json!(finished.result.state).to_string().len();
    // That each series has 5 KiB at most is a test of its own.
    assert!(size < 96 * (5 << 10), "{size}");
}

#[test]
fn what_could_not_be_seen_is_said() {
    let finished = Harness::new()
        .host(&Memory { total_bytes: 1, available_bytes: 1, ..Memory::default() })
        .missing("sensors: /sys/class/hwmon cannot be read: not found")
        .run(&SystemMonitor);
    let missing = finished.result.output["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 9, "{missing:?}");
    let told = finished.result.message.unwrap();
    assert_eq!(
        told,
        "No open problems; could not be seen: sensors: /sys/class/hwmon cannot be read: not found; and 8 more"
    );
    let blind = Harness::new().run(&SystemMonitor);
    assert!(blind.result.message.unwrap().contains("grant `host: [cpu, memory, mounts]`"));
}

#[test]
fn it_changes_nothing_and_says_only_what_its_manifest_names() {
    let manifest = Builtin::find("system-monitor").unwrap().manifest();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    let kinds = [
        clock::UNSYNCHRONIZED,
        cpu::CPU_STOLEN,
        cpu::LOAD_HIGH,
        cpu::PRESSURE_HIGH,
        disks::DISK_SATURATED,
        filling::DISK_FILLING,
        filling::INODES_FILLING,
        mounts::DISK_FULL,
        mounts::INODES_EXHAUSTED,
        memory::MEMORY_KILLED,
        memory::MEMORY_LOW,
        memory::MEMORY_SWAPPING,
        memory::SWAP_FULL,
        network::NETWORK_ERRORS,
        processes::DESCRIPTORS,
        processes::ZOMBIES,
        sensors::TEMPERATURE_HIGH,
        sockets::CLOSE_WAIT,
        sockets::OVERFLOW,
        sockets::TRACKED_FULL,
        units::UNIT_FAILED,
        units::UNIT_RESTARTING,
    ];
    assert_eq!(emits, kinds.iter().map(|kind| kind.topic.to_owned()).collect());
    assert_eq!(manifest.permissions.host, BTreeSet::from(HostView::ALL));
    let finished = Harness::new().host(&mounts(&[mount("/", 95, 0)])).run(&SystemMonitor);
    assert!(!finished.result.changed);
}

#[test]
fn a_state_of_another_shape_is_forgotten() {
    let finished = Harness::new()
        .host(&mounts(&[mount("/", 95, 0)]))
        .state(json!({ "standing": "none", "cpu": 5 }))
        .run(&SystemMonitor);
    assert_eq!(told(finished.findings()), ["+disk.full:/"]);
}

proptest! {
    #[test]
    fn any_counters_give_a_result(numbers in prop::collection::vec(any::<u64>(), 12)) {
        let view = |numbers: &[u64]| {
            let traffic = Traffic { bytes: numbers[0], packets: 1, errors: numbers[1], dropped: numbers[2] };
            let eth0 = Interface { name: "e".into(), received: traffic, sent: traffic, ..Interface::default() };
            let times = CpuTimes {
                user_milliseconds: numbers[3],
                idle_milliseconds: numbers[4],
                ..CpuTimes::default()
            };
            let space = Space { total: numbers[0], free: numbers[1], available: numbers[2] };
            let mount = Mount { target: "/".into(), bytes: Some(space), inodes: Some(space), ..Mount::default() };
            Harness::new()
                .host(&Network { taken: moment(numbers[5]), interfaces: vec![eth0], ..Network::default() })
                .host(&Cpu { taken: moment(numbers[5]), total: times, ..Cpu::default() })
                .host(&Memory { total_bytes: numbers[0], available_bytes: numbers[1], ..Memory::default() })
                .host(&mounts(&[mount]))
        };
        let first = view(&numbers[..6]).run(&SystemMonitor);
        let second = view(&numbers[6..]).after(&first).run(&SystemMonitor);
        prop_assert_eq!(first.result.outcome, second.result.outcome);
        for metric in second.metrics() {
            prop_assert!(metric.value >= 0.0, "{:?}", metric);
        }
    }
}

#[test]
fn the_page_tells_of_every_key_finding_and_metric() {
    let page = include_str!("../../../../docs/src/system-monitor.md");
    let full = view_of_everything(1_000);
    let first = full.run(&SystemMonitor);
    let second = view_of_everything(2_000).after(&first).run(&SystemMonitor);
    let mut names: BTreeSet<String> = second.metrics().map(|metric| metric.name.clone()).collect();
    assert!(names.len() > 35, "{names:?}");
    // A forecast takes more than two runs.
    names.insert("filesystem_full_days".to_owned());
    names.extend(json!(Input::default()).as_object().unwrap().keys().cloned());
    let manifest = Builtin::find("system-monitor").unwrap().manifest();
    names.extend(manifest.emits.iter().map(ToString::to_string));
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

fn view_of_everything(uptime: u64) -> Harness {
    let waiting = Some(Pressure { some_percent: 1.0, ..Pressure::default() });
    let temperature = Temperature { celsius: 40.0, ..Temperature::default() };
    Harness::new()
        .host(&Cpu { pressure: waiting, ..cpu(uptime, uptime, 1.0) })
        .host(&Memory {
            taken: moment(uptime),
            total_bytes: 1,
            pressure: waiting,
            paging: Some(Paging::default()),
            ..Memory::default()
        })
        .host(&Disks {
            taken: moment(uptime),
            disks: vec![Disk { reads: Transfers::default(), ..Disk::default() }],
            pressure: waiting,
            ..Disks::default()
        })
        .host(&Sockets {
            taken: moment(uptime),
            tcp: [("listen".to_owned(), 1)].into(),
            counters: Some(TcpCounters::default()),
            tracked: Some(Tracked { count: 1, most: 2 }),
            ..Sockets::default()
        })
        .host(&Units { taken: moment(uptime), ..Units::default() })
        .host(&Clock {
            taken: moment(uptime),
            synchronized: true,
            discipline: Some(Discipline::default()),
        })
        .host(&mounts(&[mount("/", 1, 1)]))
        .host(&network(uptime, 0, 0))
        .host(&Processes {
            total: 1,
            open_files: Some(OpenFiles { open: 1, most: 2 }),
            processes: vec![Process { state: "R".into(), ..Process::default() }],
            ..Processes::default()
        })
        .host(&Sensors {
            temperatures: vec![temperature],
            fans: vec![Fan::default()],
            ..Sensors::default()
        })
}
