//! `kill -9` of a process that publishes, consumes, fails, acknowledges with outputs, counts in keys,
//! gives up and prunes, at a random place of what it does, round after round on one journal. Rounds
//! are set by `WACHTER_BUS_ROUNDS`; `cargo xtask soak` runs many.
//!
//! The process is this test binary again. It says on its standard output what it was told, one line
//! each, and this test believes only lines that arrived whole.

mod child;
mod journal;
mod said;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use wachter_bus::Bus;

use child::{FOLDER, IN_FLIGHT};
use said::Said;

/// Runs the process until it has said `lines` lines, and kills it.
fn round(folder: &Path, lines: usize, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child::process", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut count) = (String::new(), 0);
    loop {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if line.ends_with('\n') {
            said.take(&line);
        }
        count += 1;
        if count == lines {
            child.kill().unwrap();
        }
    }
    assert!(count >= lines, "the process ended by itself after {count} lines");
    child.wait().unwrap();
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_only_what_was_in_flight_comes_again() {
    let rounds: usize =
        std::env::var("WACHTER_BUS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let folder = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for number in 0..rounds {
        said.begin();
        round(folder.path(), 40 + number * 7_919 % 901, &mut said);
        assert!(said.repeats <= IN_FLIGHT, "{} repeats in round {number}", said.repeats);
        assert!(said.repeats <= said.open_before, "more than were in flight in round {number}");
        // What the examination writes is taken back, so that the next round opens what the kill left.
        let keep = tempfile::tempdir().unwrap();
        copy(folder.path(), keep.path());
        let bus = Bus::open(child::options(folder.path())).unwrap();
        journal::examine(&bus, &mut said).await;
        bus.close();
        copy(keep.path(), folder.path());
        let _ = std::fs::remove_file(folder.path().join("journal.db-shm"));
        if number % 100 == 99 {
            println!("{} kills: {:?}", number + 1, said.totals);
        }
    }
    let bus = Bus::open(child::options(folder.path())).unwrap();
    journal::drain(&bus, &said).await;
    let totals = &said.totals;
    println!("{rounds} kills: {totals:?}, dropped up to {}", bus.status().first.get() - 1);
    assert!(
        totals.settled > rounds && totals.failed > rounds / 10 && totals.repeats > 0,
        "the rounds were too short to tell anything"
    );
    if rounds >= 50 {
        assert!(bus.status().first.get() > 1, "nothing was pruned");
        assert!(totals.given_up > 0, "nothing was given up");
    }
}

fn copy(from: &Path, to: &Path) {
    for name in ["journal.db", "journal.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}
