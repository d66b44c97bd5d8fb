//! Any line of a log is a record, is compared with the patterns, and is learned from within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_log_analyzer::{Calendar, Entry, Limits, Model, PatternSet, shipped};

thread_local! {
    static PATTERNS: PatternSet = {
        let shipped = shipped().expect("is tested");
        PatternSet::new(shipped).expect("is tested")
    };
}

fuzz_target!(|log: &[u8]| PATTERNS.with(|patterns| read(log, patterns)));

fn read(log: &[u8], patterns: &PatternSet) {
    let latest = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000);
    let calendar = Calendar::new(jiff::tz::TimeZone::UTC, latest);
    let mut model = Model::new(Limits::default());
    for line in log.split(|byte| *byte == b'\n') {
        let entry = Entry::read("/var/log/any", 0, line, None, &calendar);
        patterns.find(&entry, |found| assert!(!patterns.pattern(found).name.is_empty()));
        model.observe(&entry.record);
    }
    let _ = model.conclude(latest);
    let kept = serde_json::to_string(&model).expect("is JSON");
    let _: Model = serde_json::from_str(&kept).expect("reads what it wrote");
}
