use super::*;
use crate::alarms::Standing;
use crate::chance::chance;

const WEEK: Days = Days { raise: 7.0, resolve: 10.0 };

/// What is told over a time, with a measurement every `step` minutes: `share` says how much is used.
fn tell(minutes: u64, step: u64, mut share: impl FnMut(f64) -> f64) -> Vec<(u64, String)> {
    let mut past = Past::default();
    let mut standing = Standing::default();
    let mut told = Vec::new();
    for minute in (0..minutes).step_by(usize::try_from(step).unwrap()) {
        let unix = (29_000_000 + minute) * 60_000;
        let now = Moment { unix_milliseconds: Some(unix), ..Moment::default() };
        let mut alarms = Alarms::new(&mut standing, now.clone());
        #[expect(clippy::cast_precision_loss, reason = "a month has few minutes")]
        let share = share(minute as f64);
        past.judge((DISK_FILLING, "/var"), &now, 100, share, WEEK, &mut alarms);
        for finding in alarms.into_findings() {
            let mark =
                if finding.resolved { "resolved".to_owned() } else { finding.severity.to_string() };
            told.push((minute, format!("{mark} {}", finding.message)));
        }
    }
    told
}

#[test]
fn a_disk_that_fills_is_told_of_days_before() {
    // From 40 % on it gains 5 % a day: full after 12 days.
    let mut chance = chance(1);
    let told = tell(12 * 1_440, 15, |minute| 0.4 + minute / 1_440.0 * 0.05 + 0.002 * chance());
    let (first, message) = &told[0];
    let left = 12.0 - f64::from(u32::try_from(*first).unwrap()) / 1_440.0;
    assert!((6.0..8.0).contains(&left), "{told:?}");
    assert!(message.starts_with("medium `/var` will be full in about 7 days ("), "{told:?}");
    let severities: Vec<_> = told.iter().map(|(_, told)| told.split(' ').next().unwrap()).collect();
    assert_eq!(severities, ["medium", "high", "critical"], "{told:?}");
}

#[test]
fn a_disk_that_fills_within_hours_is_told_of_in_half_an_hour() {
    let told = tell(180, 1, |minute| 0.3 + (minute - 60.0).max(0.0) / 60.0 * 0.2);
    let (first, message) = &told[0];
    assert!((70..=100).contains(first), "{told:?}");
    assert!(message.contains("critical `/var` will be full in about 3 hours ("), "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn nothing_is_told_of_what_does_not_fill() {
    let day = 1_440.0;
    let noise = &mut chance(3);
    let shares: [(&str, &mut dyn FnMut(f64) -> f64); 5] = [
        ("flat", &mut |_| 0.8),
        ("noise", &mut |_| 0.8 + 0.02 * noise()),
        // What is written by day and tidied up each night.
        ("a day's tide", &mut |minute| 0.80 + 0.1 * (minute % day) / day),
        ("a week's tide", &mut |minute| 0.70 + 0.2 * (minute % (7.0 * day)) / (7.0 * day)),
        ("falling", &mut |minute| 0.9 - 0.1 * minute / (28.0 * day)),
    ];
    for (name, share) in shares {
        // While the first tide rises there is no telling that it will ebb.
        let told = tell(28 * 1_440, 20, share);
        let late: Vec<_> = told
            .iter()
            .filter(|(minute, told)| *minute > 8 * 1_440 && !told.starts_with("resolved"))
            .collect();
        assert!(late.is_empty(), "{name}: {late:?}");
    }
}

#[test]
fn a_rise_that_ends_is_resolved_once() {
    let told = tell(10 * 1_440, 15, |minute| 0.5 + minute.min(4.0 * 1_440.0) / 1_440.0 * 0.1);
    let marks: Vec<_> = told.iter().map(|(_, told)| told.split(' ').next().unwrap()).collect();
    assert_eq!(marks.first(), Some(&"medium"), "{told:?}");
    assert_eq!(marks.iter().filter(|mark| **mark == "resolved").count(), 1, "{told:?}");
    let (last, _) = told.last().unwrap();
    // It levels off after four days.
    assert!((4 * 1_440..6 * 1_440).contains(last), "{told:?}");
}

#[test]
fn a_disk_that_was_made_larger_begins_anew() {
    let mut past = Past::default();
    let mut standing = Standing::default();
    for (minute, total) in [(0, 100), (1, 100), (2, 200)] {
        let now = Moment { unix_milliseconds: Some(minute * 60_000), ..Moment::default() };
        let mut alarms = Alarms::new(&mut standing, now.clone());
        past.judge((DISK_FILLING, "/"), &now, total, 0.5, WEEK, &mut alarms);
    }
    assert_eq!(past.series["disk.filling:/"].series.points(Scale::Hour).len(), 1);
    past.forget(&Moment { unix_milliseconds: Some(8 * 24 * 60 * 60_000), ..Moment::default() });
    assert!(past.series.is_empty());
}

#[test]
fn no_more_is_kept_than_fits() {
    let mut past = Past::default();
    let mut standing = Standing::default();
    let now = Moment { unix_milliseconds: Some(60_000), ..Moment::default() };
    for number in 0..200 {
        let mut alarms = Alarms::new(&mut standing, now.clone());
        past.judge((DISK_FILLING, &format!("/{number}")), &now, 1, 0.5, WEEK, &mut alarms);
    }
    assert_eq!(past.series.len(), MAX_SERIES);
}
