use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use wachter_module::host::{
    Core, Cpu, CpuTimes, Fan, Interface, LoadAverages, Memory, Moment, Mount, Mounts, Network,
    Pressure, Process, Processes, Sensors, Space, Temperature, Traffic,
};
use wachter_module::protocol::HostView;
use wachter_module::{Finding, Harness};

use super::*;
use crate::builtin::Builtin;

fn moment(uptime_milliseconds: u64) -> Moment {
    Moment { boot: "one".to_owned(), uptime_milliseconds }
}

fn cpu(uptime: u64, busy: u64, load: f64) -> Cpu {
    let total = CpuTimes {
        user_milliseconds: busy,
        idle_milliseconds: 2 * uptime - busy,
        ..CpuTimes::default()
    };
    let cores = vec![Core::default(), Core { number: 1, ..Core::default() }];
    let load = Some(LoadAverages { one: load, five: load, fifteen: load });
    Cpu { taken: moment(uptime), total, cores, load, pressure: None }
}

fn network(uptime: u64, bytes: u64, errors: u64) -> Network {
    let received = Traffic { bytes, errors, ..Traffic::default() };
    let eth0 = Interface { name: "eth0".to_owned(), received, ..Interface::default() };
    Network { taken: moment(uptime), interfaces: vec![eth0] }
}

fn mount(target: &str, used: u64, inodes_used: u64) -> Mount {
    let space = |used| Some(Space { total: 100, free: 100 - used, available: 100 - used });
    let (bytes, inodes) = (space(used), space(inodes_used));
    Mount { target: target.to_owned(), bytes, inodes, ..Mount::default() }
}

fn mounts(mounts: &[Mount]) -> Mounts {
    Mounts { mounts: mounts.to_vec() }
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
        }],
        fans: vec![],
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

#[test]
fn what_could_not_be_seen_is_said() {
    let finished = Harness::new()
        .host(&Memory { total_bytes: 1, available_bytes: 1, ..Memory::default() })
        .missing("sensors: /sys/class/hwmon cannot be read: not found")
        .run(&SystemMonitor);
    let missing = finished.result.output["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 5, "{missing:?}");
    let told = finished.result.message.unwrap();
    assert_eq!(
        told,
        "No open problems; could not be seen: sensors: /sys/class/hwmon cannot be read: not found; and 4 more"
    );
    let blind = Harness::new().run(&SystemMonitor);
    assert!(blind.result.message.unwrap().contains("grant `host: [cpu, memory, mounts]`"));
}

#[test]
fn it_changes_nothing_and_says_only_what_its_manifest_names() {
    let manifest = Builtin::find("system-monitor").unwrap().manifest();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    let kinds = [
        cpu::LOAD_HIGH,
        disks::DISK_FULL,
        disks::INODES_EXHAUSTED,
        memory::MEMORY_LOW,
        network::NETWORK_ERRORS,
        processes::ZOMBIES,
        sensors::TEMPERATURE_HIGH,
    ];
    assert_eq!(emits, kinds.iter().map(|kind| kind.topic.to_owned()).collect());
    let all = [HostView::Cpu, HostView::Memory, HostView::Mounts, HostView::Network];
    assert!(all.iter().all(|view| manifest.permissions.host.contains(view)));
    let finished = Harness::new().host(&mounts(&[mount("/", 95, 0)])).run(&SystemMonitor);
    assert!(!finished.result.changed);
}

#[test]
fn a_state_of_another_shape_is_forgotten() {
    let finished = Harness::new()
        .host(&mounts(&[mount("/", 95, 0)]))
        .state(json!({ "open": "none", "cpu": 5 }))
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
                .host(&Network { taken: moment(numbers[5]), interfaces: vec![eth0] })
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
    let page = include_str!("../../modules/system-monitor/README.md");
    let full = view_of_everything(1_000);
    let first = full.run(&SystemMonitor);
    let second = view_of_everything(2_000).after(&first).run(&SystemMonitor);
    let mut names: BTreeSet<String> = second.metrics().map(|metric| metric.name.clone()).collect();
    assert!(names.len() > 15, "{names:?}");
    names.extend(json!(Input::default()).as_object().unwrap().keys().cloned());
    let manifest = Builtin::find("system-monitor").unwrap().manifest();
    names.extend(manifest.emits.iter().map(ToString::to_string));
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

fn view_of_everything(uptime: u64) -> Harness {
    let waiting = Some(Pressure { some_percent: 1.0, full_percent: 0.0 });
    let temperature = Temperature { celsius: 40.0, ..Temperature::default() };
    Harness::new()
        .host(&Cpu { pressure: waiting, ..cpu(uptime, uptime, 1.0) })
        .host(&Memory { total_bytes: 1, pressure: waiting, ..Memory::default() })
        .host(&mounts(&[mount("/", 1, 1)]))
        .host(&network(uptime, 0, 0))
        .host(&Processes {
            total: 1,
            processes: vec![Process { state: "R".into(), ..Process::default() }],
            ..Processes::default()
        })
        .host(&Sensors { temperatures: vec![temperature], fans: vec![Fan::default()] })
}
