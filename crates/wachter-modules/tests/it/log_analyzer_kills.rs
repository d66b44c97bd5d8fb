//! The log analyzer, killed at random moments while a log is written and rotated.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wachter_module::Harness;
use wachter_module::protocol::module::{Message, Outcome, parse_line};

/// Runs that are killed.
const KILLS: u32 = 25;
/// Lines of a file before it is rotated.
const LINES: u64 = 3_000;
/// Rotations. More than the names that are there for them would lose lines before anyone reads them, on a
/// machine that writes much faster than it analyzes.
const ROTATIONS: u64 = 150;

/// Writes lines and rotates: a file in turn by renaming, and by copying and emptying it while
/// nothing is written. Says how many lines there are at the end.
fn write_until(stop: &AtomicBool, base: &Path) -> u64 {
    let mut written = 0;
    let mut file = File::options().append(true).create(true).open(base).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if written == LINES * ROTATIONS {
            std::thread::park_timeout(Duration::from_millis(1));
            continue;
        }
        written += 1;
        // In one write, as programs do. A reader may see half of it all the same.
        let line = format!("Nov 22 10:00:00 host app[7]: record number {written} of many\n");
        file.write_all(line.as_bytes()).unwrap();
        if written % LINES == 0 {
            shift(base);
            let rotated = with_number(base, 1);
            if (written / LINES).is_multiple_of(2) {
                fs::rename(base, rotated).unwrap();
                file = File::options().append(true).create(true).open(base).unwrap();
            } else {
                fs::copy(base, rotated).unwrap();
                file.set_len(0).unwrap();
            }
        }
        if written % 20 == 0 {
            // As slow as a busy log, and not as fast as a disk.
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
    written
}

fn with_number(base: &Path, number: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn shift(base: &Path) {
    for number in (1..200).rev() {
        let from = with_number(base, number);
        if from.exists() {
            fs::rename(from, with_number(base, number + 1)).unwrap();
        }
    }
}

/// One run; its state, unless it was killed before its result. `patience` is how long it has.
fn run(input: &Value, state: &Value, patience: Option<Duration>) -> Option<Value> {
    let request = Harness::new().input(input.clone()).state(state.clone()).request_text();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wachter-modules"))
        .arg("log-analyzer")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).unwrap();
    drop(stdin);
    if let Some(patience) = patience {
        let end = Instant::now() + patience;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_micros(300));
        }
        // It may have ended by itself just now.
        let _ = child.kill();
    }
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut state = None;
    for line in stdout.lines() {
        // The last line of one that was killed may be half a line.
        if let Ok(Some(Message::Result(result))) = parse_line(line.unwrap().as_bytes()) {
            assert_eq!(result.outcome, Outcome::Succeeded, "{:?}", result.message);
            state = result.state;
        }
    }
    child.wait().unwrap();
    state
}

#[test]
fn each_line_counts_once_however_often_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("app.log");
    File::create(&base).unwrap();
    let input = json!({
        "folders": [folder.path()],
        "sources": [{ "path": base }],
        "start": "beginning",
        "hold": "20ms",
    });
    let mut state = run(&input, &Value::Null, None).unwrap();
    let stop = AtomicBool::new(false);
    let (mut killed, mut accepted) = (0, 0);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&stop, &base));
        let usual = {
            let start = Instant::now();
            state = run(&input, &state, None).unwrap();
            start.elapsed()
        };
        // On a machine that is busy with something else a run may be over before it is killed.
        let enough = |killed, accepted| killed >= 5 && accepted >= 5;
        for round in 0..20 * KILLS {
            if round >= KILLS && enough(killed, accepted) {
                break;
            }
            // Spread over the time that a run takes; every third one is left alone.
            let patience = (round % 3 > 0).then(|| usual * (round * 7 % KILLS) / KILLS);
            match run(&input, &state, patience) {
                Some(next) => {
                    state = next;
                    accepted += 1;
                }
                None => killed += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let counted = |state: &Value| state["totals"]["lines"].as_u64().unwrap();
    // The last lines are held back for a moment, and a file that was just rotated is.
    let end = Instant::now() + Duration::from_secs(30);
    while counted(&state) < written && Instant::now() < end {
        state = run(&input, &state, None).unwrap();
    }
    let state = run(&input, &state, None).unwrap();
    println!("{written} lines, {killed} runs killed, {accepted} accepted");
    assert_eq!(counted(&state), written);
    assert!(killed >= 5 && accepted >= 5 && written > LINES, "{killed} killed, {written} written");
}
