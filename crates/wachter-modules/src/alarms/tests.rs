use super::*;
use proptest::prelude::*;

const KIND: Kind = Kind { topic: "disk.full", severity: Severity::High, what: "% used" };
const BETWEEN: Threshold = Threshold::new(90.0, 80.0);

fn at(seconds: u64) -> Moment {
    Moment { uptime_milliseconds: seconds * 1_000, ..Moment::default() }
}

/// One run a value, a minute apart; `+` where a problem begins, `-` where it ends, `!` where it
/// becomes critical, `~` where it is no more.
fn story(values: &[f64]) -> String {
    story_of(values, BETWEEN, Duration::ZERO)
}

fn story_of(values: &[f64], threshold: Threshold, lasting: Duration) -> String {
    let mut standing = Standing::default();
    let mut story = String::new();
    let mut known = None;
    for (value, minute) in values.iter().zip(1..) {
        let mut alarms = Alarms::new(&mut standing, at(minute * 60));
        alarms.judge_lasting(KIND, "/", *value, threshold, lasting);
        alarms.end_unseen(KIND);
        for finding in alarms.into_findings() {
            assert_eq!(finding.fingerprint, "disk.full:/");
            let mark = match (finding.resolved, known.replace(finding.severity)) {
                (true, _) => '-',
                (false, _) if finding.severity == Severity::Critical => '!',
                (false, Some(Severity::Critical)) => '~',
                (false, _) => '+',
            };
            story.push(mark);
            if finding.resolved {
                known = None;
            }
        }
        story.push('.');
    }
    story
}

#[test]
fn a_value_that_wavers_is_one_problem() {
    for (values, expected) in [
        (&[10.0, 89.9][..], ".."),
        (&[90.0, 85.0, 90.0, 80.0, 79.9, 85.0], "+....-.."),
        (&[95.0, 10.0, 95.0], "+.-.+."),
        (&[f64::NAN, 95.0, f64::NAN], ".+.."),
    ] {
        assert_eq!(story(values), expected, "{values:?}");
    }
}

#[test]
fn a_problem_that_grows_worse_is_told_again() {
    let threshold = BETWEEN.critical(98.0);
    assert_eq!(story_of(&[91.0, 98.0, 94.0, 93.9, 79.0], threshold, Duration::ZERO), "+.!..~.-.");
    assert_eq!(story_of(&[99.0, 95.0, 90.0, 98.5, 10.0], threshold, Duration::ZERO), "!..~.!.-.");
}

#[test]
fn a_peak_is_no_problem() {
    let minutes = Duration::from_secs(120);
    for (values, expected) in [
        (&[95.0, 95.0, 10.0, 95.0][..], "...."),
        (&[95.0, 95.0, 95.0, 95.0, 70.0], "..+..-."),
        (&[95.0, 85.0, 95.0, 95.0], "...."),
    ] {
        assert_eq!(story_of(values, BETWEEN, minutes), expected, "{values:?}");
    }
}

#[test]
fn a_boot_begins_anew() {
    let mut standing = Standing::default();
    for (boot, second, expected) in [("a", 1_000, 0), ("b", 5, 0), ("b", 200, 1)] {
        let now = Moment { boot: boot.to_owned(), ..at(second) };
        let mut alarms = Alarms::new(&mut standing, now);
        alarms.judge_lasting(KIND, "/", 95.0, BETWEEN, Duration::from_secs(100));
        assert_eq!(alarms.into_findings().len(), expected, "{boot} {second}");
    }
}

#[test]
fn what_may_only_be_left_out_stays_open_for_a_while() {
    const HOUR: u64 = 3_600;
    let patience = Duration::from_secs(HOUR);
    let mut standing = Standing::default();
    let told: Vec<String> = [
        (0, "a", Some(95.0), true),
        (HOUR, "a", None, true),
        (2 * HOUR - 1, "a", None, true),
        // Once seen, the time begins anew.
        (2 * HOUR, "a", Some(88.0), true),
        (3 * HOUR, "a", None, true),
        (9 * HOUR, "b", None, true),
        (10 * HOUR - 1, "b", None, true),
        (10 * HOUR, "b", None, true),
        (11 * HOUR, "b", Some(95.0), true),
        (12 * HOUR, "b", None, false),
    ]
    .into_iter()
    .map(|(second, boot, value, is_left_out)| {
        let now = Moment { boot: boot.to_owned(), ..at(second) };
        let mut alarms = Alarms::new(&mut standing, now);
        if let Some(value) = value {
            alarms.judge(KIND, "/", value, BETWEEN);
        }
        alarms.end_unseen_but(KIND, patience, |subject| is_left_out && subject == "/");
        let found = alarms.into_findings();
        found.first().map(|finding| finding.message.clone()).unwrap_or_default()
    })
    .collect();
    let begins = "/: 95.0 % used, at or above 90";
    let ends = "/: not seen for 1 h, among more than can be looked at";
    let gone = "/: no longer there";
    assert_eq!(told, [begins, "", "", "", "", "", "", ends, begins, gone]);
}

#[test]
fn what_cannot_be_measured_stays_open() {
    let mut standing = Standing::default();
    let mut alarms = Alarms::new(&mut standing, at(0));
    for subject in ["/a", "/b"] {
        alarms.judge(KIND, subject, 95.0, BETWEEN);
    }
    let mut alarms = Alarms::new(&mut standing, at(1));
    alarms.unknown_where(KIND, |subject| subject == "/a");
    alarms.end_unseen(KIND);
    let found = alarms.into_findings();
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.subject.as_str(), finding.resolved), ("/b", true));
}

#[test]
fn bounds_are_in_order() {
    for (threshold, expected) in [
        (BETWEEN, ""),
        (BETWEEN.critical(95.0), ""),
        (BETWEEN.critical(90.0), "`critical` (90) must lie above `raise` (90)"),
        (Threshold::new(5.0, 5.0), "`resolve` (5) must lie between 0 and `raise` (5)"),
    ] {
        let message =
            threshold.check("x").err().map(|error| format!("{error:?}")).unwrap_or_default();
        assert!(
            message.contains(expected) && message.is_empty() == expected.is_empty(),
            "{message}"
        );
    }
}

#[test]
fn what_is_gone_is_resolved_and_what_is_unknown_is_not() {
    let mut standing = Standing::default();
    let mut alarms = Alarms::new(&mut standing, at(1));
    alarms.judge(KIND, "/a", 99.0, BETWEEN);
    alarms.judge(KIND, "/b", 99.0, BETWEEN);
    assert_eq!(alarms.into_findings().len(), 2);
    let mut alarms = Alarms::new(&mut standing, at(2));
    alarms.unknown(KIND, "/b");
    alarms.end_unseen(KIND);
    let found = alarms.into_findings();
    assert_eq!((found.len(), found[0].subject.as_str(), found[0].resolved), (1, "/a", true));
    assert_eq!(standing.open.keys().collect::<Vec<_>>(), ["disk.full:/b"]);
}

proptest! {
    #[test]
    fn beginnings_and_ends_alternate(values in prop::collection::vec(0.0..100.0, 0..50)) {
        let marks = story(&values).replace('.', "");
        prop_assert!(!marks.contains("++") && !marks.contains("--") && !marks.starts_with('-'));
    }
}
