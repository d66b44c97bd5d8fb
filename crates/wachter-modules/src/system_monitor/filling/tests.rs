use proptest::prelude::*;

use super::*;
use crate::alarms::Standing;

const WEEK: Days = Days { raise: 7.0, resolve: 10.0 };

/// Numbers that look like chance and are the same every time.
fn chance(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX) - 0.5
    }
}

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

/// How far off forecasts are, of lines with noise that are looked at half-way: the share of them that the
/// interval held, and the median of the error.
fn accuracy(tries: u64, noise: f64) -> (f64, f64) {
    let mut held = 0_u32;
    let mut made = 0_u32;
    let mut errors = Vec::new();
    for seed in 0..tries {
        let mut chance = chance(seed * 7 + 1);
        let days = 4.0 + 8.0 * (chance() + 0.5);
        let mut series = Series::default();
        let mut minute = 0.0;
        let mut number = 0;
        while minute < days * DAY / 2.0 {
            let share = minute / (days * DAY) + noise * chance();
            series.record(29_000_000 + number * 5, millionths(share));
            number += 1;
            minute += 5.0;
        }
        let Some(filling) = foresee(&series) else { continue };
        let truth = days * DAY / 2.0;
        made += 1;
        held += u32::from(filling.earliest <= truth && truth <= filling.latest);
        errors.push((filling.expected - truth).abs() / truth);
    }
    assert!(f64::from(made) >= 0.9 * f64::from(u32::try_from(tries).unwrap()), "{made} of {tries}");
    (f64::from(held) / f64::from(made), median(&mut errors))
}

#[test]
fn forecasts_are_as_good_as_they_say() {
    for (noise, most_error) in [(0.005, 0.02), (0.05, 0.08)] {
        let (held, error) = accuracy(60, noise);
        assert!(held >= 0.9 && error <= most_error, "noise {noise}: held {held}, error {error}");
    }
}

proptest! {
    #[test]
    fn any_past_is_judged(shares in prop::collection::vec((0_u64..30, 0.0..1.2_f64), 0..400)) {
        let mut series = Series::default();
        let mut minute = 29_000_000;
        for (step, share) in shares {
            minute += step;
            series.record(minute, millionths(share));
        }
        if let Some(filling) = foresee(&series) {
            prop_assert!(filling.earliest <= filling.expected && filling.expected <= filling.latest);
            prop_assert!(filling.percent_a_day > 0.0);
        }
    }
}
