//! How long it takes until a journal is ready: closed properly, and as a kill leaves it.

use std::fs;
use std::time::Instant;

use wachter_bus::{Bus, Options};

/// With a million events.
const GOAL_SECONDS: f64 = 2.0;

pub(crate) fn measure(bus: Bus, options: Options) {
    let killed = options.folder.with_extension("killed");
    fs::create_dir_all(&killed).expect("a folder can be made");
    // Nothing is written now, so this is what a kill would leave.
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(options.folder.join(name), killed.join(name)).expect("the disk has room");
    }
    drop(bus);
    ready("closed properly", options.clone());
    ready("killed", Options { folder: killed, ..options });
}

fn ready(how: &str, options: Options) {
    let begun = Instant::now();
    let bus = Bus::open(options).expect("the journal can be opened again");
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{how}: ready after {seconds:.2} s with {} events, {} of them checked (goal {GOAL_SECONDS}){}",
        bus.status().last,
        bus.opened().verified,
        if seconds > GOAL_SECONDS { " MISSED" } else { "" }
    );
}
