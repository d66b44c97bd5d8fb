//! Logs that are rotated, truncated and compressed between runs: each line counts once.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::json;

use crate::support::Host;

/// What happens to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many lines are written.
    Write(usize),
    /// `app.log` becomes `app.log.1`, that becomes `app.log.2` and so on; a new one is made.
    Rename,
    /// The same, and no new one is made.
    RenameAway,
    /// `app.log` is copied to `app.log.1` and emptied.
    CopyTruncate,
    /// The oldest that is not compressed is, by gzip.
    Gzip,
    /// The same, by zstd.
    Zstandard,
    /// The module runs.
    Run,
}

use Step::{CopyTruncate, Gzip, Rename, RenameAway, Run, Write, Zstandard};

struct Log {
    host: Host,
    written: u64,
}

impl Log {
    fn new() -> Self {
        Self { host: Host::new(&json!({})), written: 0 }
    }

    fn base(&self) -> PathBuf {
        self.host.path("app.log")
    }

    fn write(&mut self, lines: usize) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.base()).unwrap();
        for _ in 0..lines {
            self.written += 1;
            // No two lines are alike, and none is so long that the beginning tells all of them apart.
            writeln!(file, "Nov 22 10:00:00 h app[1]: line {}", self.written).unwrap();
        }
    }

    fn shift(&self) {
        for number in (1..30).rev() {
            for ending in ["", ".gz", ".zst"] {
                let from = self.host.path(&format!("app.log.{number}{ending}"));
                if from.exists() {
                    let to = self.host.path(&format!("app.log.{}{ending}", number + 1));
                    fs::rename(from, to).unwrap();
                }
            }
        }
    }

    fn compress(&self, ending: &str, compressed: impl Fn(&[u8]) -> Vec<u8>) {
        let oldest = (1..31)
            .rev()
            .map(|number| self.host.path(&format!("app.log.{number}")))
            .find(|path| path.exists());
        let Some(path) = oldest else { return };
        let mut bytes = Vec::new();
        let mut file = File::open(&path).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let target = format!("{}{ending}", path.display());
        fs::write(&target, compressed(&bytes)).unwrap();
        File::options().append(true).open(&target).unwrap().set_modified(modified).unwrap();
        fs::remove_file(path).unwrap();
    }

    fn step(&mut self, step: Step) {
        match step {
            Write(lines) => self.write(lines),
            Rename | RenameAway if self.base().exists() => {
                self.shift();
                fs::rename(self.base(), self.host.path("app.log.1")).unwrap();
                if step == Rename {
                    File::create(self.base()).unwrap();
                }
            }
            Rename | RenameAway => {}
            CopyTruncate if self.base().exists() => {
                self.shift();
                fs::copy(self.base(), self.host.path("app.log.1")).unwrap();
                File::options().write(true).open(self.base()).unwrap().set_len(0).unwrap();
            }
            CopyTruncate => {}
            Gzip => self.compress(".gz", |bytes| {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }),
            Zstandard => self.compress(".zst", |bytes| {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                ruzstd::encoding::compress_to_vec(bytes, level)
            }),
            Run => {
                self.host.run();
            }
        }
    }

    /// Lines that were counted, and findings about losses.
    fn counted(&mut self) -> (u64, usize) {
        let finished = self.host.run();
        let lost =
            finished.findings().filter(|finding| finding.kind.as_str() == "log.lost").count();
        (finished.result.output["since_the_first_run"]["lines"].as_u64().unwrap(), lost)
    }
}

/// Runs a story, after a first run that finds nothing, and one more time at its end: every line
/// counts once.
fn check(steps: &[Step]) {
    let mut log = Log::new();
    log.step(Run);
    for step in steps {
        log.step(*step);
    }
    let written = log.written;
    assert_eq!(log.counted(), (written, 0), "{steps:?}");
    // Nothing is there twice.
    assert_eq!(log.counted(), (written, 0), "again, {steps:?}");
}

#[test]
fn stories_of_rotation() {
    for steps in [
        &[Write(3)][..],
        &[Write(3), Run, Write(2)],
        &[Write(3), Run, Write(2), Rename, Write(4)],
        &[Write(3), Run, Write(2), Rename, Write(4), Gzip],
        &[Write(3), Run, Write(2), Rename, Write(4), Zstandard],
        &[Write(3), Run, Rename, Gzip, Write(1)],
        &[Write(100), Run, Write(100), Rename, Write(100), Rename, Write(100), Rename, Write(1)],
        &[
            Write(100),
            Run,
            Write(100),
            Rename,
            Write(100),
            Gzip,
            Rename,
            Write(100),
            Gzip,
            Rename,
            Write(1),
        ],
        &[Write(100), Run, Write(2), CopyTruncate, Write(3)],
        &[Write(2), Run, Write(1), CopyTruncate, Write(100)],
        &[Write(100), Run, Write(2), CopyTruncate, Write(3), Gzip, CopyTruncate, Write(1), Gzip],
        &[Write(3), Run, Write(1), RenameAway, Run, Run, Write(5)],
        &[Write(3), Run, RenameAway, Gzip, Run, Write(5)],
        &[Write(1), Run, Rename, Run, Write(1), Rename, Run, Write(1)],
        &[Run, Write(5), Rename, Write(5), Rename],
        &[Write(1), Run, Rename, Rename, Rename, Write(1)],
    ] {
        check(steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_story_counts_each_line_once(
        story in prop::collection::vec(prop_oneof![
            4 => (0_usize..60).prop_map(Write),
            1 => Just(Rename),
            1 => Just(RenameAway),
            1 => Just(CopyTruncate),
            1 => Just(Gzip),
            1 => Just(Zstandard),
            3 => Just(Run),
        ], 1..25)
    ) {
        check(&story);
    }
}

#[test]
fn a_line_written_to_the_rotated_file_is_read_alone() {
    for compress in [None, Some(Gzip)] {
        let mut log = Log::new();
        for step in [Write(3), Run, Rename, Run] {
            log.step(step);
        }
        append(&log.host.path("app.log.1"), "Nov 22 10:00:00 h app[1]: late\n");
        assert_eq!(log.counted(), (4, 0));
        // What compresses it need not keep its time.
        compress.into_iter().for_each(|step| log.step(step));
        if compress.is_some() {
            let path = log.host.path("app.log.1.gz");
            let now = std::time::SystemTime::now();
            File::options().append(true).open(path).unwrap().set_modified(now).unwrap();
        }
        assert_eq!(log.counted(), (4, 0));
        log.write(2);
        assert_eq!(log.counted(), (6, 0));
        for step in [CopyTruncate, Run, Write(1), Rename, Run, Write(1)] {
            log.step(step);
        }
        assert_eq!(log.counted(), (8, 0));
    }
}

#[test]
fn what_is_gone_is_said_with_its_size() {
    let mut log = Log::new();
    log.write(2);
    log.host.run();
    // It is known to be larger than what was read, by a limit that one run reaches.
    log.host.input()["limits"] = json!({ "read": "64KiB" });
    log.write(20_000);
    log.host.run();
    fs::remove_file(log.base()).unwrap();
    log.write(1);
    let finished = log.host.run();
    let finding = finished.findings().find(|finding| finding.kind.as_str() == "log.lost").unwrap();
    assert!(finding.evidence["bytes"].as_u64().unwrap() > 500_000, "{finding:?}");
    assert!(
        finding.message.contains("is lost: it was truncated or removed"),
        "{}",
        finding.message
    );
    let again = log.host.run();
    assert_eq!(again.findings().count(), 0, "said once");
}

#[test]
fn logs_begin_at_their_end_and_new_ones_at_their_beginning() {
    let mut log = Log::new();
    log.host.input()["start"] = json!("end");
    let pattern = log.host.path("*.log");
    log.host.input()["sources"] = json!([{ "path": pattern }]);
    log.write(5);
    fs::write(log.host.path("unfinished.log"), "a\nb").unwrap();
    assert_eq!(log.counted(), (0, 0));
    log.write(2);
    append(&log.host.path("unfinished.log"), " c\n");
    fs::write(log.host.path("new.log"), "1\n2\n3\n").unwrap();
    fs::write(log.host.path("late.log.1"), "1\n2\n").unwrap();
    fs::write(log.host.path("late.log"), "3\n").unwrap();
    assert_eq!(log.counted(), (2 + 1 + 3 + 3, 0));
}

fn append(path: &Path, text: &str) {
    File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn an_unfinished_record_waits() {
    let mut log = Log::new();
    log.host.input()["hold"] = json!("1h");
    fs::write(log.base(), "ERROR x\n\tat a\n").unwrap();
    assert_eq!(log.counted(), (0, 0));
    append(&log.base(), "\tat b\nINFO y\n");
    assert_eq!(log.counted(), (3, 0), "the trace is complete, the line after it may go on");
    log.host.input()["hold"] = json!("0s");
    assert_eq!(log.counted(), (4, 0));
}
