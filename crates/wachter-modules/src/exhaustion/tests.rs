use proptest::prelude::*;

use super::*;
use crate::chance::chance;

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
        let Some(filling) = foresee(&series, FULL) else { continue };
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
        if let Some(filling) = foresee(&series, FULL) {
            prop_assert!(filling.earliest <= filling.expected && filling.expected <= filling.latest);
            prop_assert!(filling.percent_a_day > 0.0);
        }
    }
}
