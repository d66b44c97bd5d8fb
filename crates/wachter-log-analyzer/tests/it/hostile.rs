//! Logs that are written to break what reads them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use wachter_module::Finished;

use crate::support::Host;

fn output<'a>(finished: &'a Finished, key: &str) -> &'a Value {
    &finished.result.output[key]
}

fn number(finished: &Finished, key: &str) -> u64 {
    output(finished, key).as_u64().unwrap()
}

/// The most that this process has had in memory, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_line_of_100_megabytes_is_cut_and_counted() {
    let mut host = Host::new(&json!({ "limits": { "read": "256MiB" } }));
    let mut file = File::create(host.path("app.log")).unwrap();
    file.write_all(b"before\n").unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&block).unwrap();
    }
    file.write_all(b"\nafter\n").unwrap();
    let before = peak();
    let finished = host.run();
    assert_eq!(number(finished, "records"), 3);
    assert_eq!(number(finished, "cut_bytes"), (100 << 20) - (64 << 10));
    assert_eq!(number(finished, "behind_bytes"), 0);
    let grown = peak() - before;
    assert!(grown < 32 << 10, "{grown} KiB more");
}

#[test]
fn a_long_line_over_many_runs_is_one_cut() {
    let mut host = Host::new(&json!({ "limits": { "read": "1MiB" } }));
    let mut text = vec![b'x'; 5 << 20];
    text.extend_from_slice(b"\nafter\n");
    fs::write(host.path("app.log"), &text).unwrap();
    let (mut records, mut cut) = (0, 0);
    for _ in 0..7 {
        let finished = host.run();
        records += number(finished, "records");
        cut += number(finished, "cut_bytes");
    }
    assert_eq!((records, cut), (2, (5 << 20) - (64 << 10)));
}

#[test]
fn bytes_that_are_no_text_are_read() {
    let mut host = Host::new(&json!({}));
    let mut text = Vec::new();
    for byte in 0..=255_u8 {
        text.extend_from_slice(&[byte, 0, 0xff, 0xc3, 0x28, 0x1b]);
        text.extend_from_slice(b"[31m\nFailed password for x from \xff\xfe port 1\n");
    }
    // Lines of syslog with bytes of all kinds within.
    for byte in 0..=255_u8 {
        text.extend_from_slice(b"Nov 22 10:00:00 h sshd[1]: Failed password for a");
        text.extend_from_slice(&[byte]);
        text.extend_from_slice(b" from 10.0.0.1 port 1 ssh2\n");
    }
    fs::write(host.path("app.log"), text).unwrap();
    let finished = host.run();
    let findings: Vec<_> = finished.findings().collect();
    assert!(findings.iter().any(|finding| finding.fingerprint == "ssh-brute-force:10.0.0.1"));
    for finding in findings {
        let told = serde_json::to_string(finding).unwrap();
        assert!(!told.contains("\\u00") && !told.contains("\\n"), "{told}");
    }
}

#[test]
fn a_log_that_grows_faster_than_it_is_read_is_reported_once() {
    let mut host = Host::new(&json!({
        "limits": { "read": "256KiB" },
        "behind": { "raise": "1MiB", "resolve": "1KiB" },
    }));
    let path = host.path("app.log");
    let line = format!("Nov 22 10:00:00 h app[1]: {}\n", "x".repeat(200));
    let grow = |lines: usize| {
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(line.repeat(lines).as_bytes()).unwrap();
    };
    let mut told = Vec::new();
    let mut lines = 0;
    for _ in 0..4 {
        grow(4_000);
        let finished = host.run();
        told.extend(
            finished.findings().map(|finding| (finding.fingerprint.clone(), finding.resolved)),
        );
        assert!(number(finished, "bytes") < 400 << 10, "a run is bounded");
        lines += number(finished, "lines");
    }
    for _ in 0..40 {
        let finished = host.run();
        told.extend(
            finished.findings().map(|finding| (finding.fingerprint.clone(), finding.resolved)),
        );
        lines += number(finished, "lines");
    }
    let fingerprint = format!("log.behind:{}", path.display());
    assert_eq!(told, [(fingerprint.clone(), false), (fingerprint, true)]);
    assert_eq!(lines, 16_000);
}

#[test]
fn what_is_no_file_any_more_is_reported_and_never_waited_for() {
    let mut host = Host::new(&json!({}));
    let path = host.path("app.log");
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    fs::write(&path, "a\n").unwrap();
    assert_eq!(number(host.run(), "lines"), 1);
    let replaced: [(&dyn Fn(), &str); 4] = [
        (&|| symlink(&secret, &path).unwrap(), "outside of the folders"),
        (
            &|| {
                let fifo = rustix::fs::FileType::Fifo;
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
            },
            "no regular file",
        ),
        (&|| fs::create_dir(&path).unwrap(), "no regular file"),
        (&|| symlink("/dev/zero", &path).unwrap(), "outside of the folders"),
    ];
    for (turn, (replace, expected)) in replaced.into_iter().enumerate() {
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        replace();
        let finished = host.run();
        assert_eq!(number(finished, "bytes"), 0);
        let finding = finished.findings().next().unwrap();
        assert_eq!(finding.kind.as_str(), "log.unreadable");
        assert!(finding.message.contains(expected), "{}", finding.message);
        assert_eq!(host.run().findings().count(), 0, "said once");
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
        fs::write(&path, format!("{turn}, a new file\n")).unwrap();
        let finished = host.run();
        assert!(finished.findings().all(|finding| finding.resolved), "{:?}", finished.messages);
        assert_eq!(number(finished, "lines"), 1);
    }
}

#[test]
fn a_bomb_is_given_up_and_said() {
    let mut host = Host::new(&json!({ "limits": { "decompressed": "8MiB" } }));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = b"Nov 22 10:00:00 h app[1]: nothing to see here, over and over\n".repeat(16 << 10);
    for _ in 0..64 {
        encoder.write_all(&block).unwrap();
    }
    fs::write(host.path("app.log"), "x\n").unwrap();
    host.run();
    fs::remove_file(host.path("app.log")).unwrap();
    fs::write(host.path("app.log.1.gz"), encoder.finish().unwrap()).unwrap();
    fs::write(host.path("app.log"), "y\n").unwrap();
    let mut bytes = 0;
    let mut lost = Vec::new();
    for _ in 0..4 {
        let finished = host.run();
        bytes += number(finished, "bytes");
        lost.extend(
            finished.findings().filter(|finding| finding.kind.as_str() == "log.lost").cloned(),
        );
    }
    assert!((8 << 20..10 << 20).contains(&bytes), "{bytes}");
    assert_eq!(lost.len(), 1);
    assert!(lost[0].message.contains("was given up after"), "{}", lost[0].message);
}

#[test]
fn archives_that_are_damaged_or_unknown_are_said() {
    for (name, bytes, expected) in [
        ("app.log.1.gz", &[0x1f, 0x8b, 0x08, 0, 1, 2, 3][..], "is damaged"),
        ("app.log.1.zst", &[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff][..], ""),
        (
            "app.log.1.xz",
            &[0xfd, b'7', b'z', b'X', b'Z', 0, 0][..],
            "is compressed with xz, which is not read",
        ),
    ] {
        let mut host = Host::new(&json!({}));
        fs::write(host.path("app.log"), "x\n").unwrap();
        host.run();
        fs::remove_file(host.path("app.log")).unwrap();
        fs::write(host.path(name), bytes).unwrap();
        fs::write(host.path("app.log"), "y\nz\n").unwrap();
        let finished = host.run();
        assert_eq!(number(finished, "lines"), 2, "{name}");
        let finding = finished.findings().next().unwrap();
        assert!(finding.message.contains(expected), "{}", finding.message);
    }
}

#[test]
fn a_storm_of_rotations_loses_nothing() {
    let mut host = Host::new(&json!({}));
    fs::write(host.path("app.log"), "").unwrap();
    host.run();
    let mut lines = 0;
    for round in 0..5 {
        for turn in 0..40 {
            for number in (1..250).rev() {
                let from = host.path(&format!("app.log.{number}"));
                if from.exists() {
                    fs::rename(from, host.path(&format!("app.log.{}", number + 1))).unwrap();
                }
            }
            fs::rename(host.path("app.log"), host.path("app.log.1")).unwrap();
            fs::write(host.path("app.log"), format!("line {round} {turn}\n")).unwrap();
        }
        lines += number(host.run(), "lines");
    }
    assert_eq!(lines, 200);
}

#[test]
fn a_flood_of_addresses_is_bounded_and_said() {
    let mut host =
        Host::new(&json!({ "limits": { "subjects": 500, "open": 50, "findings": 100 } }));
    let mut text = String::new();
    for address in 0..3_000 {
        let (high, low) = (address / 250, address % 250);
        for port in 0..2 {
            text.push_str(&format!(
                "Nov 22 10:00:0{port} h sshd[1]: Failed password for root from 10.1.{high}.{low} port {port} ssh2\n"
            ));
        }
    }
    for address in 0..120 {
        for port in 0..6 {
            text.push_str(&format!(
                "Nov 22 10:00:01 h sshd[1]: Failed password for root from 10.2.0.{address} port {port} ssh2\n"
            ));
        }
    }
    fs::write(host.path("app.log"), text).unwrap();
    let finished = host.run();
    let forgotten = output(finished, "forgotten");
    assert!(forgotten["subjects"].as_u64().unwrap() > 5_000, "{forgotten}");
    assert_eq!(
        (forgotten["unreported"].clone(), forgotten["open"].clone()),
        (json!(20), json!(50))
    );
    let state = finished.result.state.as_ref().unwrap();
    assert!(state["alarms"]["windows"].as_array().unwrap().len() <= 500);
    assert!(state.to_string().len() < 200 << 10);
}
