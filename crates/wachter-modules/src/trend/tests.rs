use proptest::prelude::*;

use super::*;

/// Slope and intercept by the definition, without a thought for time.
fn brute_force(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut slopes = Vec::new();
    for one in points {
        for other in points {
            if one.0 < other.0 {
                slopes.push((other.1 - one.1) / (other.0 - one.0));
            }
        }
    }
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 }
    };
    if slopes.is_empty() {
        return None;
    }
    let slope = middle(slopes);
    Some((slope, middle(points.iter().map(|(x, y)| y - slope * x).collect())))
}

/// Numbers that look like chance and are the same every time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = u32::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32).unwrap();
        f64::from(high) / f64::from(u32::MAX)
    }

    /// Of the normal distribution, by the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn series(count: u32, value: impl FnMut(f64) -> f64) -> Vec<(f64, f64)> {
    let mut value = value;
    (0..count).map(f64::from).map(|x| (x, value(x))).collect()
}

#[test]
fn a_line_is_found_whatever_lies_beside_it() {
    for (points, slope, intercept) in [
        (series(20, |x| 2.0 * x + 5.0), 2.0, 5.0),
        (series(20, |_| 7.0), 0.0, 7.0),
        // Every fourth is somewhere else.
        (series(40, |x| if x % 4.0 == 3.0 { 1e9 } else { 100.0 - x }), -1.0, 100.0),
    ] {
        let trend = Trend::through(&points).unwrap();
        assert!((trend.slope - slope).abs() < 1e-9, "{trend:?}");
        assert!((trend.intercept - intercept).abs() < 10.0, "{trend:?}");
    }
}

#[test]
fn no_line_where_there_is_none() {
    for points in [
        series(5, |x| x),
        vec![(1.0, 2.0); 20],
        series(20, |x| if x == 3.0 { f64::NAN } else { x }),
        series(20, |x| if x == 3.0 { f64::INFINITY } else { x }),
        vec![],
    ] {
        assert_eq!(Trend::through(&points), None, "{points:?}");
    }
}

#[test]
fn levels_are_reached_when_the_line_says() {
    let points = series(20, |x| 10.0 * x);
    let trend = Trend::through(&points).unwrap();
    // An exact line is as sure as anything is.
    let forecast = trend.reaches(500.0, &points, 19.0).unwrap();
    for (value, expected) in
        [(forecast.expected, 31.0), (forecast.earliest, 29.45), (forecast.latest.unwrap(), 32.55)]
    {
        assert!((value - expected).abs() < 1e-9, "{forecast:?}");
    }
    assert!(trend.reaches(100.0, &points, 19.0).unwrap().expected == 0.0);
    let points = series(20, |x| -x);
    assert_eq!(Trend::through(&points).unwrap().reaches(100.0, &points, 19.0), None);
    let mut chance = Chance(7);
    let points = series(60, |_| chance.normal());
    let noise = Trend::through(&points).unwrap();
    assert!(!noise.rises(), "{noise:?}");
    let forecast = noise.reaches(100.0, &points, 59.0);
    assert!(forecast.is_none_or(|forecast| forecast.latest.is_none()));
}

/// How often of `tries` series the interval holds the slope that they were made with.
fn coverage(tries: u32, carried: f64) -> f64 {
    let mut chance = Chance(99);
    let mut held = 0_u32;
    for _ in 0..tries {
        let mut before = 0.0;
        let points = series(60, |x| {
            before = carried * before + chance.normal();
            0.5 * x + 3.0 * before
        });
        let trend = Trend::through(&points).unwrap();
        held += u32::from(trend.slope_low <= 0.5 && 0.5 <= trend.slope_high);
    }
    f64::from(held) / f64::from(tries)
}

#[test]
fn the_interval_is_as_sure_as_it_says() {
    // Of points that are independent, and of ones that remember half of the one before.
    for (carried, least) in [(0.0, 0.92), (0.5, 0.88)] {
        let share = coverage(400, carried);
        assert!(share >= least, "{share} with {carried} carried over");
    }
}

#[test]
fn little_is_found_where_nothing_grows() {
    let mut chance = Chance(5);
    let rising = (0..400)
        .filter(|_| Trend::through(&series(60, |_| chance.normal())).unwrap().rises())
        .count();
    assert!(rising <= 24, "{rising} of 400, where 10 were to be expected");
}

proptest! {
    #[test]
    fn it_is_what_the_definition_says(
        points in prop::collection::vec((-1e3..1e3, -1e3..1e3), MIN_POINTS..40)
    ) {
        let mut points: Vec<(f64, f64)> = points;
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        let trend = Trend::through(&points).map(|trend| (trend.slope, trend.intercept));
        prop_assert_eq!(trend.is_some(), brute_force(&points).is_some());
        if let (Some((slope, intercept)), Some(expected)) = (trend, brute_force(&points)) {
            prop_assert!((slope - expected.0).abs() <= 1e-6 * expected.0.abs().max(1.0));
            prop_assert!((intercept - expected.1).abs() <= 1e-6 * expected.1.abs().max(1.0));
        }
    }

    #[test]
    fn bounds_are_in_order(values in prop::collection::vec(any::<i32>(), 0..100), level: f64, x in 0.0..1e3) {
        let points: Vec<_> = values.iter().zip(0..).map(|(y, x)| (f64::from(x), f64::from(*y))).collect();
        if let Some(trend) = Trend::through(&points) {
            prop_assert!(trend.slope_low <= trend.slope && trend.slope <= trend.slope_high);
            prop_assert!(trend.spread >= 0.0);
            if let Some(forecast) = trend.reaches(level, &points, x) {
                prop_assert!(0.0 <= forecast.earliest && forecast.earliest <= forecast.expected);
                prop_assert!(forecast.latest.is_none_or(|latest| forecast.expected <= latest));
            }
        }
    }

    #[test]
    fn a_fifth_of_the_points_may_be_anything(wild in prop::collection::vec(any::<i32>(), 6)) {
        let points = series(30, |x| 3.0 * x);
        let mut spoilt = points.clone();
        for (index, value) in wild.iter().enumerate() {
            spoilt[index * 5].1 = f64::from(*value);
        }
        // Pairs of good points alone are a majority, and all of them have this slope.
        let trend = Trend::through(&spoilt).unwrap();
        prop_assert!((trend.slope - 3.0).abs() < 1e-9, "{:?}", trend);
    }
}
