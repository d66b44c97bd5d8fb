use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use wachter_module::host::{
    Core, Cpu, LeftOut, Memory, Moment, Process, ProcessIo, Processes, Unit, Units, Zombies,
};
use wachter_module::{Finding, Finished, Harness};

use super::*;
use crate::builtin::Builtin;

const MEBIBYTE: u64 = 1 << 20;

/// Seconds since boot.
fn at(seconds: u64) -> Moment {
    let unix_milliseconds = Some(1_800_000_000_000 + seconds * 1_000);
    Moment { boot: "one".to_owned(), uptime_milliseconds: seconds * 1_000, unix_milliseconds }
}

fn process(pid: u32, name: &str, started: u64) -> Process {
    Process {
        pid,
        parent: 1,
        name: name.to_owned(),
        state: "S".to_owned(),
        started_milliseconds: started * 1_000,
        anonymous_bytes: Some(10 * MEBIBYTE),
        resident_bytes: 10 * MEBIBYTE,
        threads: 1,
        ..Process::default()
    }
}

fn of_unit(unit: &str, process: Process) -> Process {
    let cgroup = Some(format!("/system.slice/{unit}"));
    Process { unit: Some(unit.to_owned()), cgroup, ..process }
}

fn of_container(id: &str, process: Process) -> Process {
    let cgroup = Some(format!("/docker/{id}"));
    Process { container: Some(id.to_owned()), cgroup, ..process }
}

fn memory(seconds: u64) -> Memory {
    let total_bytes = 8 << 30;
    Memory { taken: at(seconds), total_bytes, available_bytes: 6 << 30, ..Memory::default() }
}

fn cpu(seconds: u64, forks: u64) -> Cpu {
    let cores = (0..4).map(|number| Core { number, ..Core::default() }).collect();
    Cpu { taken: at(seconds), cores, forks, ..Cpu::default() }
}

/// A host over time, looked at every half a minute.
struct Watched {
    last: Option<Finished>,
    seconds: u64,
    input: Value,
    told: Vec<String>,
    messages: Vec<String>,
}

impl Watched {
    fn new(input: Value) -> Self {
        Self { last: None, seconds: 100_000, input, told: Vec::new(), messages: Vec::new() }
    }

    fn look(&mut self, processes: Vec<Process>) -> &Finished {
        self.look_at(Processes { processes, ..Processes::default() }, 0, None)
    }

    fn look_at(&mut self, view: Processes, forks: u64, units: Option<Vec<Unit>>) -> &Finished {
        let seconds = self.seconds;
        self.seconds += 30;
        let total = u32::try_from(view.processes.len()).unwrap();
        let view = Processes { taken: at(seconds), total, ..view };
        let mut harness = Harness::new()
            .input(self.input.clone())
            .host(&view)
            .host(&memory(seconds))
            .host(&cpu(seconds, forks));
        if let Some(units) = units {
            harness = harness.host(&Units { taken: at(seconds), units, ..Units::default() });
        }
        if let Some(last) = &self.last {
            harness = harness.after(last);
        }
        let finished = harness.run(&ResourceMonitor);
        for finding in finished.findings() {
            self.told.push(tell(finding));
            self.messages.push(finding.message.clone());
        }
        self.last.insert(finished)
    }
}

fn tell(finding: &Finding) -> String {
    assert_eq!(finding.fingerprint, format!("{}:{}", finding.kind, finding.subject));
    format!("{}{}", if finding.resolved { "-" } else { "+" }, finding.fingerprint)
}

#[test]
fn what_is_left_out_has_not_ended() {
    let input = json!({ "cpu_spinning_seconds": 30, "cpu_hog_seconds": 30, "zombies_seconds": 0 });
    let mut host = Watched::new(input);
    let busy = |look: u64| Process {
        cpu_milliseconds: look * 120_000,
        ..of_container("0123456789abcdef", process(7, "loop", 10))
    };
    let zombies = || vec![Zombies { parent: 9, name: "lazy".into(), count: 500 }];
    for look in 0..4 {
        let view =
            Processes { processes: vec![busy(look)], zombies: zombies(), ..Processes::default() };
        host.look_at(view, 0, None);
    }
    let open =
        ["+zombies.storm:lazy[9]", "+cpu.hog:container 0123456789ab", "+cpu.spinning:loop[7]"];
    let told: BTreeSet<&str> = host.told.iter().map(String::as_str).collect();
    assert_eq!(told, BTreeSet::from(open));
    let left_out = |pids: &[u32], unseen, with_memory| {
        let count = u32::try_from(pids.len()).unwrap();
        let left_out = LeftOut { count, unseen, with_memory, pids: pids.to_vec() };
        Processes { left_out: Some(left_out), ..Processes::default() }
    };
    host.told.clear();
    host.look_at(left_out(&[7, 8], 1, 1), 0, None);
    assert_eq!(host.told, Vec::<String>::new());
    // Of those left out none can be of the container.
    host.look_at(left_out(&[7, 8], 0, 0), 0, None);
    assert_eq!(host.told, ["-cpu.hog:container 0123456789ab", "-zombies.storm:lazy[9]"]);
    host.told.clear();
    host.look_at(left_out(&[8], 0, 1), 0, None);
    assert_eq!(host.told, ["-cpu.spinning:loop[7]"]);
}

#[test]
fn what_is_used_is_counted_by_process_unit_and_group() {
    let mut host = Watched::new(json!({ "top": 2 }));
    let web = |pid, cpu_seconds: u64, read: u64| {
        let io = Some(ProcessIo { read_bytes: read * MEBIBYTE, written_bytes: 0 });
        let descriptors = Some(pid);
        let cpu_milliseconds = cpu_seconds * 1_000;
        let web = Process { cpu_milliseconds, io, descriptors, ..process(pid, "web", 10) };
        of_unit("web.service", web)
    };
    let shell = || process(9, "bash", 10);
    let first = host.look(vec![web(7, 5, 0), web(8, 5, 0), shell()]);
    assert_eq!(first.result.output["processes"]["top"]["cpu"], json!([]));
    let second = host.look(vec![web(7, 20, 60), web(8, 8, 30), shell()]);
    let output = &second.result.output;
    assert_eq!(
        output["processes"]["top"]["cpu"],
        json!([
            { "pid": 7, "name": "web", "group": "web.service", "cores": 0.5 },
            { "pid": 8, "name": "web", "group": "web.service", "cores": 0.1 },
        ])
    );
    let unit =
        json!([{ "name": "web.service", "processes": 2, "bytes_per_second": 3.0 * 1_048_576.0 }]);
    assert_eq!(output["units"]["top"]["io"], unit);
    assert_eq!(output["control_groups"]["top"]["descriptors"][0]["open"], 15.0);
    assert_eq!(output["control_groups"]["top"]["memory"][0]["name"], "/system.slice/web.service");
    assert_eq!(
        (output["processes"]["total"].as_u64(), output["units"]["total"].as_u64()),
        (Some(3), Some(1))
    );
    let metric = |name: &str, label: &str| {
        let found = second.metrics().find(|metric| {
            metric.name == name && metric.labels.values().any(|value| value == label)
        });
        found.map(|metric| metric.value)
    };
    assert_eq!(metric("process_cpu_cores", "web"), Some(0.6));
    assert_eq!(metric("group_memory_bytes", "web.service"), Some(20.0 * 1_048_576.0));
    assert_eq!(metric("process_memory_bytes", "bash"), Some(10.0 * 1_048_576.0));
}

#[test]
fn a_service_that_leaks_is_told_of_and_its_process_is_not() {
    let mut host = Watched::new(json!({}));
    let mut minute = 0;
    // A mebibyte a minute of 256.
    let mut look = |host: &mut Watched, started: u64, pid: u32| {
        minute += 1;
        for _ in 0..2 {
            let leaking = Process {
                anonymous_bytes: Some((20 + minute) * MEBIBYTE),
                memory_limit_bytes: Some(256 * MEBIBYTE),
                ..process(pid, "web", started)
            };
            let helper = Process {
                memory_limit_bytes: Some(256 * MEBIBYTE),
                ..process(8, "helper", started)
            };
            host.look(vec![of_unit("web.service", leaking), of_unit("web.service", helper)]);
        }
    };
    while host.told.is_empty() {
        look(&mut host, 10, 7);
        assert!(host.seconds < 110_000, "never told of");
    }
    assert_eq!(host.told, ["+memory.leak:web.service"]);
    let message = &host.messages[0];
    assert!(
        message.starts_with("`web.service` gained 60.0 MiB an hour of memory over the last hour and will reach its limit of 256.0 MiB in about "),
        "{message}"
    );
    assert!(message.ends_with("; most of it is held by web[7]"), "{message}");
    let finding = host.last.as_ref().unwrap().findings().next().unwrap();
    let left = finding.evidence["full_in_days"].as_f64().unwrap() * 1_440.0;
    let used = finding.evidence["used_bytes"].as_f64().unwrap() / 1_048_576.0;
    let truth = 256.0 - used;
    assert!((left - truth).abs() < truth * 0.05, "{left} of {truth}");
    let growing = &host.last.as_ref().unwrap().result.output["growing"];
    assert!(growing["memory.leak:web.service"]["full_in_days"].is_number(), "{growing}");

    // A restart frees it, and is remembered.
    let started = host.seconds;
    host.look(vec![of_unit("web.service", process(70, "web", started))]);
    assert_eq!(host.told.last().unwrap(), "-memory.leak:web.service");
    assert_eq!(
        host.messages.last().unwrap(),
        "`web.service` was started again and holds 10.0 MiB now"
    );
}

#[test]
fn a_process_of_a_session_is_told_of_by_itself() {
    let mut host = Watched::new(json!({}));
    for half_minute in 0..150 {
        let open = 100 + 4 * half_minute;
        let tool = Process {
            descriptors: Some(open),
            descriptors_most: Some(1_024),
            unit: Some("session-3.scope".to_owned()),
            cgroup: Some("/user.slice/session-3.scope".to_owned()),
            ..process(7, "tool", 10)
        };
        host.look(vec![tool]);
    }
    assert_eq!(host.told[0], "+descriptors.leak:tool[7]");
    assert!(
        host.messages[0].starts_with("`tool[7]` opened 480 files an hour more than it closed"),
        "{:?}",
        host.messages
    );
    host.look(vec![]);
    assert_eq!(host.told.last().unwrap(), "-descriptors.leak:tool[7]");
}

#[test]
fn page_cache_is_no_leak() {
    let mut host = Watched::new(json!({}));
    for half_minute in 0..200 {
        let reader = Process {
            resident_bytes: (10 + 20 * half_minute) * MEBIBYTE,
            memory_limit_bytes: Some(8_192 * MEBIBYTE),
            ..process(7, "reader", 10)
        };
        host.look(vec![of_unit("reader.service", reader)]);
    }
    assert_eq!(host.told, Vec::<String>::new());
    let state = host.last.unwrap().result.state.unwrap();
    assert_eq!(state["watch"], json!({}));
}

#[test]
fn what_has_just_started_is_no_leak() {
    let mut host = Watched::new(json!({}));
    for half_minute in 0_u64..19 {
        let young = Process {
            anonymous_bytes: Some((10 + 200 * half_minute) * MEBIBYTE),
            ..process(7, "young", 100_000)
        };
        host.look(vec![young]);
    }
    assert_eq!(host.last.unwrap().result.state.unwrap()["watch"], json!({}));
}

#[test]
fn hogs_are_told_of_when_they_have_lasted() {
    let busy = |unit: Option<&str>, half_minutes: u64, cores: u64| {
        let mut host = Watched::new(json!({ "cpu_spinning_seconds": 900 }));
        let mut spent = 0;
        for _ in 0..half_minutes {
            spent += cores * 30_000;
            let hog = Process { cpu_milliseconds: spent, ..process(7, "hog", 10) };
            host.look(vec![unit.map_or_else(|| hog.clone(), |unit| of_unit(unit, hog.clone()))]);
        }
        let hog = Process { cpu_milliseconds: spent, ..process(7, "hog", 10) };
        host.look(vec![unit.map_or_else(|| hog.clone(), |unit| of_unit(unit, hog.clone()))]);
        host
    };
    // Four cores: two of them are half of the host.
    for (unit, half_minutes, cores, expected) in [
        (None, 21, 2, &[][..]),
        (None, 23, 2, &["+cpu.hog:hog[7]", "-cpu.hog:hog[7]"]),
        (Some("a.service"), 23, 2, &["+cpu.hog:a.service", "-cpu.hog:a.service"]),
        (None, 40, 1, &["+cpu.spinning:hog[7]", "-cpu.spinning:hog[7]"]),
        (None, 30, 1, &[]),
    ] {
        let host = busy(unit, half_minutes, cores);
        assert_eq!(host.told, expected, "{unit:?} {half_minutes} {cores}");
        if expected.len() == 2 && cores == 1 {
            assert_eq!(
                host.messages[0],
                "hog[7]: 100.0 % of a core is kept busy, at or above 95 for 900 s"
            );
        }
    }
}

#[test]
fn zombies_are_told_of_by_their_parent() {
    let mut host = Watched::new(json!({}));
    for count in [40, 40, 40, 20, 5] {
        let zombies = vec![
            Zombies { parent: 88, name: "super".to_owned(), count },
            Zombies { parent: 1, name: "init".to_owned(), count: 9 },
        ];
        host.look_at(Processes { zombies, ..Processes::default() }, 0, None);
    }
    assert_eq!(host.told, ["+zombies.storm:super[88]", "-zombies.storm:super[88]"]);
    assert_eq!(
        host.messages[0],
        "super[88]: 40.0 dead children are not collected, at or above 30 for 60 s"
    );
}

#[test]
fn restarts_are_counted_in_a_window() {
    let story = |counts: &[u64]| {
        let mut host = Watched::new(json!({ "restarts_seconds": 120 }));
        for count in counts {
            let unit =
                Unit { name: "web.service".to_owned(), restarts: Some(*count), ..Unit::default() };
            host.look_at(Processes::default(), 0, Some(vec![unit]));
            host.told.push(".".to_owned());
        }
        host.told.concat().replace("restarts.storm:web.service", "")
    };
    for (counts, expected) in [
        // What was before the first look is no news.
        (&[90, 90, 90][..], "..."),
        (&[0, 5], ".+."),
        (&[0, 2, 4, 5], "...+."),
        // Five within 150 seconds are too few.
        (&[0, 1, 2, 3, 4, 5], "......"),
        (&[0, 1, 2, 3, 4, 6], ".....+."),
        (&[0, 6, 6, 6, 6, 6, 6], ".+....-.."),
        // Somebody started it by hand.
        (&[0, 4, 0, 4], "...."),
    ] {
        assert_eq!(story(counts), expected, "{counts:?}");
    }
}

#[test]
fn units_that_cannot_be_seen_are_not_gone() {
    let mut host = Watched::new(json!({}));
    let units = |restarts| {
        let name = "web.service".to_owned();
        Some(vec![Unit { name, restarts: Some(restarts), ..Unit::default() }])
    };
    for seen in [units(0), units(6), None, Some(vec![])] {
        host.look_at(Processes::default(), 0, seen);
        host.told.push(".".to_owned());
    }
    let story = host.told.concat().replace("restarts.storm:web.service", "");
    assert_eq!(story, ".+..-.");
}

#[test]
fn containers_are_restarted_by_somebody_else() {
    let mut host = Watched::new(json!({ "restarts": { "raise": 3, "resolve": 1 } }));
    let id = "4c3d0f5e0a1b2c3d";
    for life in 0..4 {
        for _ in 0..2 {
            let started = 100_000 + 60 * life;
            host.look(vec![of_container(
                id,
                process(10 + u32::try_from(life).unwrap(), "app", started),
            )]);
        }
    }
    assert_eq!(host.told, ["+restarts.storm:container 4c3d0f5e0a1b"]);
    assert_eq!(
        host.messages[0],
        "container 4c3d0f5e0a1b: 3.0 times it was started again, at or above 3; counted over 600 s"
    );
}

#[test]
fn swarms_of_tasks_are_told_of_with_who_makes_them() {
    let mut host = Watched::new(json!({ "forks_seconds": 0 }));
    let bash = || process(5, "bash", 10);
    host.look_at(Processes { processes: vec![bash()], ..Processes::default() }, 1_000, None);
    let mut processes = vec![bash()];
    processes.extend((20..60).map(|pid| Process { parent: 5, ..process(pid, "sleep", 100_010) }));
    host.look_at(Processes { processes, ..Processes::default() }, 31_000, None);
    assert_eq!(
        host.messages,
        [
            "host: 1000.0 tasks are made in each second, at or above 500; 40 that are new and still there were started by bash[5]"
        ]
    );
    host.look_at(Processes { processes: vec![bash()], ..Processes::default() }, 31_100, None);
    assert_eq!(host.told, ["+forks.storm:host", "-forks.storm:host"]);
}

#[test]
fn what_is_ignored_is_measured_and_not_told() {
    for ignored in ["hog", "a.service"] {
        let mut host = Watched::new(
            json!({ "ignore": [ignored], "cpu_spinning_seconds": 0, "cpu_hog_seconds": 0 }),
        );
        for spent in [0, 120_000] {
            let hog = Process { cpu_milliseconds: spent, ..process(7, "hog", 10) };
            host.look(vec![of_unit("a.service", hog)]);
        }
        let spinning = host.told.iter().any(|told| told.starts_with("+cpu.spinning"));
        assert!(!spinning, "{ignored}: {:?}", host.told);
        let output = &host.last.as_ref().unwrap().result.output;
        assert_eq!(output["processes"]["top"]["cpu"][0]["cores"], 4.0);
    }
}

#[test]
fn a_boot_begins_anew() {
    let mut host = Watched::new(json!({}));
    host.look(vec![process(7, "web", 10)]);
    let before = host.last.take().unwrap();
    let moment = Moment { boot: "two".to_owned(), ..at(50) };
    let later = Process { cpu_milliseconds: 9_000, ..process(7, "web", 10) };
    let view = Processes { taken: moment, processes: vec![later], ..Processes::default() };
    let after = Harness::new().host(&view).after(&before).run(&ResourceMonitor);
    assert_eq!(after.result.output["processes"]["top"]["cpu"], json!([]));
}

#[test]
fn without_processes_it_fails_and_says_what_to_do() {
    let failed = Harness::new().host(&memory(5)).run(&ResourceMonitor);
    let message = failed.result.message.unwrap();
    assert!(message.contains("grant `host: [cpu, memory, processes, units]`"), "{message}");
    let view = Processes { taken: at(5), ..Processes::default() };
    let alone = Harness::new().host(&view).run(&ResourceMonitor);
    assert_eq!(alone.result.output["missing"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_state_is_bounded() {
    // Each in a group of its own, and all of them grow. What is watched grows to 5 KiB each, which the
    // history's own test says.
    for (count, most) in [(150_u32, 80 << 10), (5_000, 280 << 10)] {
        let mut host = Watched::new(json!({}));
        for half_minute in 0..4 {
            let process = |number: u32| {
                let grown = u64::from(number % 997) * MEBIBYTE / 4 * half_minute;
                let crowd = Process {
                    cpu_milliseconds: 1 << 40,
                    io: Some(ProcessIo { read_bytes: 1 << 50, written_bytes: 1 << 50 }),
                    descriptors: Some(5_000),
                    descriptors_most: Some(65_536),
                    anonymous_bytes: Some(grown + (1 << 30)),
                    ..process(4_000_000 + number, "crowd", 90_000)
                };
                of_unit(&format!("a-service-with-a-name-of-usual-length-{number}.service"), crowd)
            };
            host.look((0..count).map(process).collect());
        }
        let state = host.last.unwrap().result.state.unwrap();
        let size = state.to_string().len();
        println!("{count} processes: {size} bytes");
        assert!(size <= most, "{count} processes: {size} bytes");
        assert_eq!(state["watch"].as_object().map(serde_json::Map::len), Some(leaks::MAX_WATCHED));
    }
}

#[test]
fn every_topic_stands_in_the_manifest_and_on_the_page() {
    let builtin = Builtin::find("resource-monitor").unwrap();
    let manifest = builtin.manifest();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    let kinds = [
        MEMORY_LEAK,
        DESCRIPTORS_LEAK,
        hogs::CPU_HOG,
        hogs::CPU_SPINNING,
        storms::ZOMBIE_STORM,
        storms::RESTART_STORM,
        storms::FORK_STORM,
    ];
    assert_eq!(emits, kinds.iter().map(|kind| kind.topic.to_owned()).collect());
    let page = include_str!("../../../../docs/src/resource-monitor.md");
    let schema = builtin.input_schema();
    let inputs = schema["properties"].as_object().unwrap().keys().cloned();
    for name in inputs.chain(emits) {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not on the page");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_host_is_looked_at(
        crowd in prop::collection::vec(
            (0_u32..6, 0_u64..200_000_000, any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u32>>()),
            0..12,
        ),
        limits in any::<(Option<u64>, Option<u64>)>(),
        forks: u64,
    ) {
        let mut host = Watched::new(json!({}));
        for round in 0..3 {
            let processes = crowd.iter().map(|(pid, started, cpu, bytes, anonymous, open)| Process {
                pid: pid + round,
                name: "x".to_owned(),
                state: "S".to_owned(),
                started_milliseconds: *started,
                cpu_milliseconds: *cpu,
                resident_bytes: *bytes,
                swapped_bytes: *bytes,
                anonymous_bytes: *anonymous,
                memory_limit_bytes: limits.0,
                descriptors: *open,
                descriptors_most: limits.1,
                cgroup: (pid % 2 == 0).then(|| "/a".to_owned()),
                io: Some(ProcessIo { read_bytes: *bytes, written_bytes: *cpu }),
                ..Process::default()
            });
            let view = Processes { processes: processes.collect(), ..Processes::default() };
            let finished = host.look_at(view, forks, None);
            prop_assert_eq!(finished.result.outcome, wachter_module::protocol::module::Outcome::Succeeded);
        }
    }

    #[test]
    fn any_state_is_read_or_forgotten(text in "[\\[\\]{}:,\"a-z0-9]{0,60}", numbers: Vec<u32>) {
        for state in [
            serde_json::from_str(&text).unwrap_or(Value::Null),
            json!({ "processes": numbers, "watch": { "x": numbers } }),
            json!({ "processes": [[1, 2, 3, 4, 5, 6], numbers] }),
        ] {
            let view = Processes { taken: at(5), ..Processes::default() };
            let finished = Harness::new().host(&view).state(state).run(&ResourceMonitor);
            prop_assert_eq!(finished.result.outcome, wachter_module::protocol::module::Outcome::Succeeded);
        }
    }
}
