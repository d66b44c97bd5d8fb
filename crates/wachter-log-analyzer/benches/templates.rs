//! Templates beside Drain3 0.9.11 in the same run: how well the labelled sets of loghub are grouped, how fast, and what it takes
//! on millions of random lines.
//!
//! `cargo bench -p wachter-log-analyzer --bench templates`. Drain3 comes from PyPI into a virtual environment in
//! the folder for temporary files; without Python or a network its columns stay empty. The argument is a number of rounds: with one,
//! little is measured, and nothing installed.

#![allow(clippy::print_stdout, reason = "figures are data")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]

#[path = "../tests/it/generator.rs"]
#[allow(dead_code, reason = "its random numbers are enough here")]
mod generator;
#[path = "../tests/it/loghub.rs"]
mod loghub;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use generator::Random;
use jiff::Timestamp;
use loghub::{Labelled, SETS, grouping_accuracy, read};
use wachter_log_analyzer::{Model, Record};

const LINES: usize = 200_000;
const RANDOM_LINES: u32 = 5_000_000;
const ROUNDS: u32 = 3;
const DRAIN3: &str = "drain3==0.9.11";

/// What `logparser`'s benchmark sets for each of the sets: similarity, depth, and the masks.
const SETTINGS: [(&str, &str, &[&str]); 4] = [
    ("0.5", "4", &[r"(\d+\.){3}\d+"]),
    ("0.5", "4", &[r"blk_-?\d+", r"(\d+\.){3}\d+(:\d+)?"]),
    ("0.39", "6", &[r"(\d+\.){3}\d+", r"\d{2}:\d{2}:\d{2}"]),
    ("0.6", "5", &[r"(\d+\.){3}\d+", r"([\w-]+\.){2,}[\w-]+"]),
];

/// Groups the lines of a file, and says for each line which group it got when it was read, and how long all took.
const SCRIPT: &str = r#"
import sys, time
from drain3.template_miner import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig
from drain3.masking import MaskingInstruction
path, similarity, depth, *masks = sys.argv[1:]
config = TemplateMinerConfig()
config.drain_sim_th = float(similarity)
config.drain_depth = int(depth)
config.masking_instructions = [MaskingInstruction(mask, "*") for mask in masks]
with open(path, encoding="utf-8", errors="replace") as file:
    lines = file.read().split("\n")[:-1]
miner = TemplateMiner(config=config)
began = time.perf_counter()
groups = [miner.add_log_message(line)["cluster_id"] for line in lines]
print(time.perf_counter() - began)
print(" ".join(map(str, groups)))
"#;

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse::<u32>().ok());
    let rounds = asked.unwrap_or(ROUNDS);
    let lines = if rounds == 1 { 4_000 } else { LINES };
    // Before anything else takes memory.
    random_lines(if rounds == 1 { 20_000 } else { RANDOM_LINES });
    let drain3 = drain3(rounds > 1);
    println!("             accuracy            lines/s of {lines}                      MB/s");
    println!("set          here     Drain3     here         Drain3      times     here     Drain3");
    let mut sum = [0.0; 2];
    for (set, settings) in SETS.iter().zip(SETTINGS) {
        let Some(labelled) = read(set) else { break };
        let peer = drain3.as_deref();
        let accuracies =
            [here(&labelled), peer.map_or(f64::NAN, |peer| there(peer, settings, &labelled))];
        let many = repeated(&labelled, lines);
        let bytes: usize = many.iter().map(|line| line.len() + 1).sum();
        // The best of as many rounds of each: other work on the machine only ever adds.
        let mine = (0..rounds).map(|_| time_of(&many)).min().unwrap().as_secs_f64();
        let other = peer.map_or(f64::NAN, |peer| {
            (0..rounds).map(|_| groups(peer, settings, &many).0).fold(f64::INFINITY, f64::min)
        });
        let speed = |seconds: f64| lines as f64 / seconds;
        let megabytes = |seconds: f64| bytes as f64 / seconds / 1e6;
        println!(
            "{set:<12} {:<8.4} {:<10.4} {:<12.0} {:<11.0} {:<9.0} {:<8.1} {:.1}",
            accuracies[0],
            accuracies[1],
            speed(mine),
            speed(other),
            other / mine,
            megabytes(mine),
            megabytes(other)
        );
        sum[0] += accuracies[0];
        sum[1] += accuracies[1];
    }
    println!("{:<12} {:<8.4} {:<8.4}", "mean", sum[0] / 4.0, sum[1] / 4.0);
}

/// How well the lines are grouped here, by one configuration for all sets.
fn here(lines: &[Labelled]) -> f64 {
    let mut model = Model::default();
    lines.iter().for_each(|line| model.observe(&record(&line.content, 0)));
    let text =
        |line: &Labelled| model.find(&record(&line.content, 0)).map(|template| template.text);
    let groups: Vec<_> = lines.iter().map(text).collect();
    grouping_accuracy(&groups, lines)
}

fn there(peer: &Path, settings: (&str, &str, &[&str]), lines: &[Labelled]) -> f64 {
    let contents: Vec<_> = lines.iter().map(|line| line.content.clone()).collect();
    grouping_accuracy(&groups(peer, settings, &contents).1, lines)
}

/// The whole model: templates, rates, values and evidence, and a conclusion each 10,000 lines.
fn time_of(lines: &[Vec<u8>]) -> Duration {
    let mut model = Model::default();
    let began = Instant::now();
    for (seconds, line) in (1_800_000_000..).zip(lines) {
        model.observe(&record(line, seconds));
        if seconds % 10_000 == 0 {
            model.conclude(Timestamp::from_second(seconds).unwrap());
        }
    }
    began.elapsed()
}

fn record(message: &[u8], seconds: i64) -> Record<'_> {
    let time = Timestamp::from_second(seconds).ok().filter(|_| seconds > 0);
    Record {
        source: "a.log",
        offset: 0,
        time,
        host: None,
        program: Some("a"),
        process: None,
        message,
    }
}

/// So many lines: the same again and again, with other digits each time.
fn repeated(lines: &[Labelled], count: usize) -> Vec<Vec<u8>> {
    let mut random = Random(1);
    let changed = |line: &Labelled| {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => b'0' + u8::try_from(random.below(10)).unwrap(),
            other => *other,
        };
        line.content.iter().map(digit).collect()
    };
    lines.iter().cycle().take(count).map(changed).collect()
}

/// Drain3's Python, installed where it is missing and `install` is asked for.
fn drain3(install: bool) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join("wachter-benchmark-drain3-0.9.11");
    let python = folder.join("bin/python");
    let works = || {
        let import = Command::new(&python).args(["-c", "import drain3"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    if install && !works() {
        println!("installing {DRAIN3} into {}", folder.display());
        let _ = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
        let _ = Command::new(&python).args(["-m", "pip", "install", "--quiet", DRAIN3]).status();
    }
    if works() {
        return Some(python);
    }
    println!("without Drain3: no Python with {DRAIN3}");
    None
}

/// The seconds that Drain3 takes for lines, and the group of each.
fn groups(peer: &Path, settings: (&str, &str, &[&str]), lines: &[Vec<u8>]) -> (f64, Vec<u32>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        file.path(),
        lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect::<Vec<u8>>(),
    )
    .unwrap();
    let (similarity, depth, masks) = settings;
    let mut command = Command::new(peer);
    command.args(["-c", SCRIPT]).arg(file.path()).args([similarity, depth]).args(masks);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (seconds, groups) = text
        .split_once('\n')
        .unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (
        seconds.parse().unwrap(),
        groups.split_whitespace().map(|group| group.parse().unwrap()).collect(),
    )
}

/// Lines of words that come but once: the worst there is for what learns them.
fn random_lines(count: u32) {
    let mut random = Random(2);
    let mut model = Model::default();
    let before = resident();
    let (mut most, mut busy, mut line) = (0, Duration::ZERO, String::new());
    for number in 0..count {
        line.clear();
        for _ in 0..3 + random.below(12) {
            line.push_str(&random.name());
            line.push_str(&random.name());
            line.push(' ');
        }
        let began = Instant::now();
        model.observe(&record(line.as_bytes(), 1_800_000_000 + i64::from(number / 1_000)));
        if number % 500_000 == 499_999 {
            model.conclude(
                Timestamp::from_second(1_800_000_000 + i64::from(number / 1_000)).unwrap(),
            );
        }
        busy += began.elapsed();
        if number % 100_000 == 99_999 || number + 1 == count {
            most = most.max(serde_json::to_vec(&model).unwrap().len());
        }
    }
    println!(
        "{count} random lines: {:.0} lines/s, {} KiB as JSON at most, {} KiB more in memory, {} templates, {} forgotten",
        f64::from(count) / busy.as_secs_f64(),
        most / 1024,
        resident().saturating_sub(before),
        model.progress().templates,
        model.progress().forgotten
    );
}

/// The most memory that this process has had, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
