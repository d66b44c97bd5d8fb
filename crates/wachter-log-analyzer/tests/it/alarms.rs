//! Findings of patterns: when they begin, what they say, and when they end.

use std::fs::OpenOptions;
use std::io::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wachter_module::{Finding, Harness};

use crate::support::Host;

struct Story {
    host: Host,
}

impl Story {
    fn new(input: &Value) -> Self {
        Self { host: Host::new(input) }
    }

    /// Lines of `sshd`, each so many seconds ago.
    fn says(&self, lines: &[(i64, &str)]) {
        let mut file =
            OpenOptions::new().append(true).create(true).open(self.host.path("app.log")).unwrap();
        for (ago, message) in lines {
            let time = Timestamp::now() - SignedDuration::from_secs(*ago);
            writeln!(file, "{time} host sshd[7]: {message}").unwrap();
        }
    }

    /// `+` or `-` and the fingerprint of each finding of a run.
    fn run(&mut self) -> Vec<String> {
        self.host.run().findings().map(told).collect()
    }
}

fn told(finding: &Finding) -> String {
    format!("{}{}", if finding.resolved { "-" } else { "+" }, finding.fingerprint)
}

const FAILED: &str = "Failed password for invalid user bob from 203.0.113.9 port 1 ssh2";

#[test]
fn one_finding_when_it_begins_and_one_when_it_ends() {
    let mut story = Story::new(&json!({}));
    story.says(&[(3_595, FAILED); 5]);
    assert_eq!(story.run(), Vec::<String>::new());
    story.says(&[(3_590, FAILED)]);
    assert_eq!(story.run(), ["+ssh-brute-force:203.0.113.9"], "counted over two runs");
    story.says(&[(3_580, FAILED); 3]);
    assert_eq!(story.run(), Vec::<String>::new(), "no more is said of it");
    story.says(&[(4_000, "Connection closed")]);
    assert_eq!(story.run(), Vec::<String>::new());
}

#[test]
fn what_has_been_quiet_has_ended() {
    let mut story = Story::new(&json!({}));
    story.says(&[(3_700, FAILED); 6]);
    assert_eq!(story.run(), ["+ssh-brute-force:203.0.113.9", "-ssh-brute-force:203.0.113.9"]);
    let finished = story.host.run();
    assert_eq!(finished.result.output["open"], json!([]));
}

#[test]
fn a_finding_says_what_happened_and_shows_it() {
    let mut story = Story::new(&json!({}));
    let line = "Failed password for ro\x1b[0mot from 2001:db8:1:2::7 port 1 ssh2";
    story.says(&[(9, line); 8]);
    let finished = story.host.run();
    let finding = finished.findings().next().unwrap();
    assert_eq!(finding.subject, "2001:db8:1:2::/64");
    assert_eq!(
        finding.message,
        "6 logins over SSH failed from 2001:db8:1:2::/64 within 1m, the last as `ro\\u{1b}[0mot`"
    );
    let lines = finding.evidence["lines"].as_array().unwrap();
    assert_eq!((lines.len(), finding.evidence["count"].clone()), (5, json!(6)));
    assert!(lines[0].as_str().unwrap().contains("ro\\u{1b}[0mot"), "{lines:?}");
}

#[test]
fn a_slow_guesser_and_a_list_of_names_are_seen() {
    let mut story = Story::new(&json!({}));
    let slow: Vec<_> = (0..12).rev().map(|turn| (turn * 1_500 + 10, FAILED)).collect();
    story.says(&slow);
    assert_eq!(story.run(), ["+ssh-brute-force-slow:203.0.113.9"]);
    let names = ["ann", "bea", "cay", "dee"];
    let lines: Vec<_> =
        names.iter().map(|name| format!("Invalid user {name} from 203.0.113.8 port 1")).collect();
    let lines: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(turn, line)| (6_000 - 900 * turn as i64, &line[..]))
        .collect();
    story.says(&lines);
    assert_eq!(story.run(), ["+ssh-user-enumeration:203.0.113.8"]);
}

#[test]
fn a_clock_that_is_set_back_does_not_blind_it() {
    let mut story = Story::new(&json!({}));
    story.says(&[(10, FAILED); 5]);
    story.says(&[(7_200, FAILED); 7]);
    assert_eq!(story.run()[0], "+ssh-brute-force:203.0.113.9");
}

#[test]
fn a_verdict_ends_a_finding_for_long() {
    let mut story = Story::new(&json!({}));
    story.says(&[(9, FAILED); 6]);
    assert_eq!(story.run(), ["+ssh-brute-force:203.0.113.9"]);
    let fingerprint = "ssh-brute-force:203.0.113.9";
    let event = |verdict: &str| json!({ "type": "finding.judged", "data": { "fingerprint": fingerprint, "verdict": verdict } });
    assert_eq!(story.host.run_for(event("confirmed")).findings().count(), 0);
    let finished = story.host.run_for(event("false-positive"));
    assert_eq!(finished.findings().map(told).collect::<Vec<_>>(), [format!("-{fingerprint}")]);
    story.says(&[(2, FAILED); 7]);
    let other = "+ssh-brute-force-slow:203.0.113.9";
    assert_eq!(story.run(), [other], "that one nobody called false");
}

#[test]
fn patterns_of_ones_own_and_without_those_that_ship() {
    let mut story = Story::new(&json!({
        "without": ["ssh-login-failed"],
        "patterns": [{
            "name": "doors",
            "programs": ["ssh*"],
            "contains": ["door"],
            "match": ["^door (?<door>\\w+) opened by (?<who>\\w+)"],
            "unless": ["by guard"],
            "alarms": [{
                "name": "door-opened", "type": "log.alert", "severity": "low", "subject": "{door}",
                "count": 2, "within": "1m", "distinct": "who", "message": "{door} was opened by {who}",
            }],
        }],
    }));
    story.says(&[(9, FAILED); 30]);
    story.says(&[
        (9, "door north opened by ann"),
        (8, "door north opened by ann"),
        (7, "door north opened by guard"),
        (6, "door south opened by bea"),
        (5, "door north opened by cay"),
    ]);
    assert_eq!(story.run(), ["+door-opened:north"]);
}

#[test]
fn a_dry_run_is_like_any_other_and_keeps_nothing() {
    let story = Story::new(&json!({}));
    story.says(&[(9, FAILED); 6]);
    let harness = Harness::new().input(story.host.input_value()).dry_run();
    let finished = harness.run(&wachter_log_analyzer::LogAnalyzer);
    assert_eq!(finished.findings().count(), 1);
    assert_eq!(finished.result.state, None);
}
