use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use wachter_module::{Finding, Finished, Harness};

use super::*;
use crate::builtin::Builtin;

const NOW: i64 = 1_795_348_800;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(NOW).unwrap())
}

fn ata(passed: bool, pending: u64, reallocated: u64) -> Value {
    json!({
        "json_format_version": [1, 0],
        "smartctl": { "version": [7, 3], "exit_status": 0 },
        "device": { "name": "/dev/sda", "type": "sat", "protocol": "ATA" },
        "model_name": "DISK 4000", "serial_number": "S1",
        "local_time": { "time_t": NOW - 600 },
        "smart_status": { "passed": passed },
        "temperature": { "current": 31 }, "power_on_time": { "hours": 20_000 },
        "ata_smart_attributes": { "revision": 16, "table": [
            { "id": 5, "name": "Reallocated_Sector_Ct", "value": 100, "raw": { "value": reallocated, "string": "0" } },
            { "id": 197, "name": "Current_Pending_Sector", "value": 100, "raw": { "value": pending } },
            { "id": 198, "name": "Offline_Uncorrectable", "value": 100, "raw": { "value": 0 } }
        ] }
    })
}

fn nvme(critical_warning: u64, percentage_used: u64) -> Value {
    json!({
        "smartctl": { "exit_status": 0 },
        "device": { "name": "/dev/nvme0" }, "model_name": "FLASH 1", "serial_number": "N1",
        "local_time": { "time_t": NOW }, "smart_status": { "passed": critical_warning == 0 },
        "nvme_smart_health_information_log": {
            "critical_warning": critical_warning, "percentage_used": percentage_used, "media_errors": 0
        }
    })
}

/// As smartctl 7.3 writes it where there is no such disk.
fn absent() -> Value {
    json!({
        "json_format_version": [1, 0],
        "smartctl": {
            "version": [7, 3], "exit_status": 1,
            "messages": [{ "string": "/dev/vda: Unable to detect device type", "severity": "error" }]
        },
        "local_time": { "time_t": NOW }
    })
}

fn run(folder: &Path, earlier: Option<&Finished>) -> Finished {
    let harness = Harness::new().input(json!({ "reports": folder }));
    match earlier {
        Some(earlier) => harness.after(earlier).run(&DiskHealth { now }),
        None => harness.run(&DiskHealth { now }),
    }
}

fn told(finished: &Finished) -> Vec<String> {
    let tell = |finding: &Finding| {
        let mark =
            if finding.resolved { "resolved".to_owned() } else { finding.severity.to_string() };
        format!("{mark} {} {}", finding.fingerprint, finding.message)
    };
    finished.findings().map(tell).collect()
}

#[test]
fn what_reports_say() {
    let mut old = ata(true, 0, 0);
    old["local_time"]["time_t"] = json!(NOW - 40 * 3_600);
    let kept = 7 << 32;
    for (report, expected) in [
        (ata(true, 0, 0), ""),
        (ata(true, 0, kept), ""),
        (ata(true, 0, 9), ""),
        (
            ata(true, 0, 10),
            "high disk.failing:DISK 4000 S1 sda (DISK 4000 S1): 10 sectors were replaced by spare ones; see to a copy of what is on it",
        ),
        (
            ata(true, 8, 0),
            "high disk.failing:DISK 4000 S1 sda (DISK 4000 S1): 8 sectors cannot be read; see to a copy of what is on it",
        ),
        (
            ata(false, 0, 0),
            "critical disk.failing:DISK 4000 S1 sda (DISK 4000 S1): it says itself that it fails; see to a copy of what is on it",
        ),
        (nvme(0, 89), ""),
        (
            nvme(0, 93),
            "medium disk.worn:FLASH 1 N1 nvme0 (FLASH 1 N1): 93 % of its life is used up",
        ),
        (
            nvme(0, 104),
            "high disk.worn:FLASH 1 N1 nvme0 (FLASH 1 N1): 104 % of its life is used up",
        ),
        (
            nvme(8, 1),
            "critical disk.failing:FLASH 1 N1 nvme0 (FLASH 1 N1): it says itself that it fails, it can only be read; see to a copy of what is on it",
        ),
        (
            absent(),
            "medium disk.unreported:a the report a is of no use: smartctl could not ask the disk: /dev/vda: Unable to detect device type",
        ),
        (old, "medium disk.unreported:a the report a is of no use: it is 40 hours old"),
        (
            json!({}),
            "medium disk.unreported:a the report a is of no use: it says nothing of the health of a disk",
        ),
        (
            json!([1]),
            "medium disk.unreported:a the report a is of no use: it is no report of `smartctl --json --all`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), report.to_string()).unwrap();
        std::fs::write(folder.path().join("a.txt"), "no report").unwrap();
        let finished = run(folder.path(), None);
        let first = told(&finished).join(" | ");
        assert!(first.starts_with(expected) && first.is_empty() == expected.is_empty(), "{first}");
        assert!(told(&run(folder.path(), Some(&finished))).is_empty());
    }
}

/// A report of a disk that answered some of the commands and not others.
fn with_status(exit_status: u32, mut report: Value) -> Value {
    report["smartctl"]["exit_status"] = json!(exit_status);
    report
}

#[test]
fn a_failing_disk_that_does_not_answer_everything_is_told_of() {
    for (exit_status, expected) in [
        (12, "critical disk.failing:DISK 4000 S1"),
        (4, "critical disk.failing:DISK 4000 S1"),
        (2, "medium disk.unreported:a"),
        (1, "medium disk.unreported:a"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let report = with_status(exit_status, ata(false, 8, 0)).to_string();
        std::fs::write(folder.path().join("a.json"), report).unwrap();
        let told = told(&run(folder.path(), None));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{exit_status}: {told:?}");
    }
}

#[test]
fn what_a_disk_did_not_answer_ends_nothing() {
    let without = |key: &str, mut report: Value| {
        report.as_object_mut().unwrap().remove(key);
        report
    };
    let table = "ata_smart_attributes";
    for (first, second, ends) in [
        (ata(true, 8, 0), with_status(4, without(table, ata(true, 0, 0))), false),
        (ata(false, 0, 0), with_status(4, without("smart_status", ata(true, 0, 0))), false),
        (ata(false, 8, 0), with_status(4, without(table, ata(true, 0, 0))), false),
        (
            nvme(0, 95),
            with_status(4, without("nvme_smart_health_information_log", nvme(0, 0))),
            false,
        ),
        (ata(true, 8, 0), with_status(4, ata(true, 0, 0)), true),
        (ata(true, 8, 0), without(table, ata(true, 0, 0)), true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, first.to_string()).unwrap();
        let open = run(folder.path(), None);
        assert_eq!(told(&open).len(), 1, "{first}");
        std::fs::write(&path, second.to_string()).unwrap();
        let told = told(&run(folder.path(), Some(&open)));
        assert_eq!(told.len(), usize::from(ends), "{second}: {told:?}");
    }
}

#[test]
fn disks_beyond_those_that_are_read_are_not_gone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, serial: &str, pending| {
        let mut report = ata(true, pending, 0);
        report["serial_number"] = json!(serial);
        std::fs::write(folder.path().join(file), report.to_string()).unwrap();
    };
    write("z.json", "Z", 8);
    let first = run(folder.path(), None);
    assert_eq!(told(&first).len(), 1);
    for number in 0..MAX_REPORTS {
        write(&format!("a{number}.json"), &number.to_string(), 0);
    }
    let second = run(folder.path(), Some(&first));
    assert!(told(&second).is_empty(), "{:?}", told(&second));
    let message = second.result.message.clone().unwrap();
    assert!(message.contains("; 1 more reports are not read"), "{message}");
}

#[test]
fn a_disk_that_is_replaced_is_resolved_and_one_without_report_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |report: Value| std::fs::write(folder.path().join("sda.json"), report.to_string()).unwrap();
    write(ata(true, 3, 0));
    let first = run(folder.path(), None);
    write(absent());
    let second = run(folder.path(), Some(&first));
    assert!(told(&second)[0].starts_with("medium disk.unreported:sda"), "{second:?}");
    assert_eq!(told(&second).len(), 1);
    write(nvme(0, 0));
    let third = run(folder.path(), Some(&second));
    let mut told = told(&third);
    told.sort();
    assert!(told[0].starts_with("resolved disk.failing:DISK 4000 S1"), "{told:?}");
    assert!(told[1].starts_with("resolved disk.unreported:sda"), "{told:?}");
    let blind = Harness::new()
        .input(json!({ "reports": folder.path().join("none") }))
        .run(&DiskHealth { now });
    assert!(blind.result.message.unwrap().contains("cannot be listed"));
}

#[test]
fn schema_manifest_and_page_say_what_it_is() {
    let builtin = Builtin::find("disk-health").unwrap();
    let schema = builtin.input_schema();
    let properties = schema["properties"].as_object().unwrap();
    let defaults: serde_json::Map<_, _> =
        properties.iter().map(|(name, key)| (name.clone(), key["default"].clone())).collect();
    assert_eq!(json!(Input::default()), json!(defaults));
    let manifest = builtin.manifest();
    let emits: BTreeSet<_> = manifest.emits.iter().map(ToString::to_string).collect();
    assert_eq!(
        emits,
        BTreeSet::from([FAILING, WORN, UNREPORTED].map(|kind| kind.topic.to_owned()))
    );
    let page = include_str!("../../../../docs/src/disk-health.md");
    let metrics = [
        "disk_temperature_celsius",
        "disk_worn_ratio",
        "disk_unreadable_sectors",
        "disk_reallocated_sectors",
    ];
    for name in properties.keys().cloned().chain(emits).chain(metrics.map(str::to_owned)) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

proptest! {
    #[test]
    fn any_report_is_read_or_not(bytes: Vec<u8>, text: String, number: u64) {
        let _ = Health::read(&bytes, &text);
        let mut report = ata(true, number, number);
        report["device"]["name"] = json!(text);
        report["serial_number"] = json!(text);
        let health = Health::read(report.to_string().as_bytes(), "a").unwrap();
        prop_assert!(!health.device.chars().any(char::is_control));
        let _ = Health::read(nvme(number, number).to_string().as_bytes(), "a").unwrap();
    }
}
