//! How well faults in made logs are told: precision and recall over logs that no threshold was chosen by.
//!
//! `cargo bench -p wachter-log-analyzer --bench anomalies`. The argument is the number of logs.

#![allow(clippy::print_stdout, reason = "figures are data")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "../tests/it/evaluation.rs"]
mod evaluation;
#[path = "../tests/it/generator.rs"]
mod generator;

use std::collections::BTreeMap;
use std::time::Instant;

use evaluation::{Evaluation, evaluate};

const LOGS: u64 = 20;

/// Seeds below are for choosing thresholds by.
const FIRST_SEED: u64 = 1_001;

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok());
    let logs = asked.unwrap_or(LOGS);
    let weeks = if logs == 1 { 6 } else { 8 };
    let began = Instant::now();
    let mut all = Evaluation::default();
    for seed in FIRST_SEED..FIRST_SEED + logs {
        all.add(evaluate(seed, 4, weeks));
    }
    println!("{logs} logs of {weeks} weeks, {} lines, {:.1?}", all.lines, began.elapsed());
    println!("score   precision  recall  told wrongly, of all hours of templates");
    for score in [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99] {
        let (precision, recall) = all.precision_and_recall(score);
        println!("{score:<7} {precision:<10.3} {recall:<7.3} {:.5} %", all.rates(score).1 * 100.0);
    }
    let mut kinds: BTreeMap<_, [u32; 2]> = BTreeMap::new();
    for (kind, score) in &all.faults {
        let counts = kinds.entry(format!("{kind:?}")).or_default();
        counts[0] += u32::from(*score >= 0.5);
        counts[1] += 1;
    }
    println!("\nfault       told at 0.5");
    for (kind, [told, of]) in kinds {
        println!("{kind:<11} {told} of {of}");
    }
    let mut wrong: BTreeMap<_, u32> = BTreeMap::new();
    for (kind, score, right, message) in &all.alarms {
        if *score >= 0.5 && !right {
            *wrong.entry(kind.name()).or_default() += 1;
            if std::env::var_os("VERBOSE").is_some() {
                println!("{score:.2} {message}");
            }
        }
    }
    println!("\nwrong alarms at 0.5: {wrong:?}");
}
