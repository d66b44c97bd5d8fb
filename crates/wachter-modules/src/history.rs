//! The past of a measured value, in the state of a module.
//!
//! Each series is kept three times: the last hour by minute, the last day by ten minutes, the last 30 days
//! by six hours. Each point is the median of those of the finer kind that it stands for, so that one
//! measurement that is far out leaves no trace.
//!
//! # Limits
//! 60, 144 and 120 points a series. As JSON a series has 5 KiB at most, and 1 to 2 KiB mostly: points are
//! written as differences to the one before.
//!
//! # Invariants
//! - Points are in the order of their time, and none lies in the future of the last measurement. A clock
//!   that is set back takes the points with it that it had not reached yet.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::trend::median;

/// The most measurements that one minute's median is taken of; further ones do not count.
const MAX_CURRENT: usize = 40;

/// What a point may be at most, so that its text stays short: a share in millionths fits.
const MAX_VALUE: i64 = 9_999_999;

/// Minutes that a point stands for, and how many points are kept.
const MINUTES: (u64, usize) = (1, 60);
const TENS: (u64, usize) = (10, 144);
const QUARTERS: (u64, usize) = (360, 120);

/// The past of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Series {
    minutes: Level,
    tens: Level,
    quarters: Level,
}

/// How finely the past is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The last hour by minute.
    Hour,
    /// The last day by ten minutes.
    Day,
    /// The last 30 days by six hours.
    Month,
}

impl Scale {
    /// As in "over the last day".
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "30 days",
        }
    }
}

impl Series {
    /// Adds what was measured at a time, in minutes since 1970.
    pub(crate) fn record(&mut self, minute: u64, value: i64) {
        let value = value.clamp(0, MAX_VALUE);
        if let Some((start, median)) = self.minutes.add(MINUTES, minute, value)
            && let Some((start, median)) = self.tens.add(TENS, start, median)
        {
            self.quarters.add(QUARTERS, start, median);
        }
        for (level, kind) in
            [(&mut self.minutes, MINUTES), (&mut self.tens, TENS), (&mut self.quarters, QUARTERS)]
        {
            level.forget(kind, minute);
        }
    }

    /// Times in minutes, and values: what is kept, and at its end what is not yet a whole point.
    pub(crate) fn points(&self, scale: Scale) -> Vec<(f64, f64)> {
        let (level, (width, _)) = match scale {
            Scale::Hour => (&self.minutes, MINUTES),
            Scale::Day => (&self.tens, TENS),
            Scale::Month => (&self.quarters, QUARTERS),
        };
        let current = level.median().map(|value| (level.bucket, value));
        // The middle of the time that the point stands for.
        let point = |(bucket, value): (u64, i64)| {
            (float(bucket.saturating_mul(width)) + float(width) / 2.0, signed(value))
        };
        level.points.iter().copied().chain(current).map(point).collect()
    }

    /// When something was last added, in minutes since 1970.
    pub(crate) const fn last(&self) -> u64 {
        self.minutes.bucket
    }
}

/// Points that are equally far apart, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    /// The number of the point in time, counted in its width, and its value.
    points: VecDeque<(u64, i64)>,
    /// The point that measurements are still added to.
    bucket: u64,
    current: Vec<i64>,
}

impl Level {
    /// Adds a measurement. Where it begins a new point, the one before is done: when it began, in minutes,
    /// and its value.
    fn add(&mut self, (width, most): (u64, usize), minute: u64, value: i64) -> Option<(u64, i64)> {
        let bucket = minute / width;
        let done = if bucket > self.bucket { self.median() } else { None };
        if let Some(value) = done {
            self.points.push_back((self.bucket, value));
            while self.points.len() > most {
                self.points.pop_front();
            }
        }
        let done = done.map(|value| (self.bucket.saturating_mul(width), value));
        if bucket != self.bucket {
            self.current.clear();
            self.bucket = bucket;
        }
        if self.current.len() < MAX_CURRENT {
            self.current.push(value);
        }
        done
    }

    /// Drops what lies after a time, and what is older than this kind of point is kept.
    fn forget(&mut self, (width, most): (u64, usize), minute: u64) {
        let now = minute / width;
        if self.bucket > now {
            self.current.clear();
            self.bucket = now;
        }
        let oldest = now.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
        self.points.retain(|(bucket, _)| (oldest..now).contains(bucket));
    }

    fn median(&self) -> Option<i64> {
        let mut values: Vec<f64> = self.current.iter().map(|value| signed(*value)).collect();
        (!values.is_empty()).then(|| rounded(median(&mut values)))
    }
}

/// Two lists: the number of the current point and its measurements; the number and the value of the first
/// point, and of each further one the differences to the one before.
impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut current = vec![whole(self.bucket)];
        current.extend(&self.current);
        let mut points = Vec::with_capacity(self.points.len() * 2);
        let mut before = (0, 0);
        for (bucket, value) in &self.points {
            points.extend([whole(*bucket) - before.0, value.saturating_sub(before.1)]);
            before = (whole(*bucket), *value);
        }
        (current, points).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (current, differences) = <(Vec<i64>, Vec<i64>)>::deserialize(deserializer)?;
        let (bucket, current) = current.split_first().unwrap_or((&0, &[]));
        let mut points = VecDeque::with_capacity(differences.len() / 2);
        let mut before = (0_i64, 0_i64);
        for pair in differences.chunks_exact(2) {
            before = (before.0.saturating_add(pair[0]), before.1.saturating_add(pair[1]));
            points.push_back((u64::try_from(before.0).unwrap_or(0), before.1));
        }
        let bucket = u64::try_from(*bucket).unwrap_or(0);
        let current = current.iter().take(MAX_CURRENT).copied().collect();
        Ok(Self { points, bucket, current })
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes since 1970 are far below 2^52")]
const fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "values have seven digits at most")]
const fn signed(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a median of values of seven digits")]
const fn rounded(value: f64) -> i64 {
    value.round() as i64
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCALES: [Scale; 3] = [Scale::Hour, Scale::Day, Scale::Month];

    /// A series with a value every minute, from a minute on.
    fn series(from: u64, count: u64, value: impl Fn(u64) -> i64) -> Series {
        let mut series = Series::default();
        for minute in 0..count {
            series.record(from + minute, value(minute));
        }
        series
    }

    #[test]
    fn each_scale_keeps_its_time() {
        let month = series(1_000_000_000, 31 * 24 * 60, |minute| i64::try_from(minute).unwrap());
        for (scale, points, apart) in
            [(Scale::Hour, 61, 1.0), (Scale::Day, 145, 10.0), (Scale::Month, 121, 360.0)]
        {
            let told = month.points(scale);
            assert_eq!(told.len(), points, "{scale:?}");
            assert!((told[1].0 - told[0].0 - apart).abs() < 1e-9, "{told:?}");
            // A line stays one, whatever medians are taken of it.
            assert!((told[1].1 - told[0].1 - apart).abs() <= 1.0, "{told:?}");
        }
    }

    #[test]
    fn one_that_is_far_out_leaves_no_trace() {
        let spoilt = series(0, 600, |minute| if minute % 10 == 3 { 999_999 } else { 500 });
        assert!(spoilt.points(Scale::Day).iter().all(|(_, value)| (*value - 500.0).abs() < 1e-9));
    }

    #[test]
    fn several_in_a_minute_are_one_point() {
        let mut series = Series::default();
        for (minute, value) in [(5, 10), (5, 30), (5, 20), (6, 1)] {
            series.record(minute, value);
        }
        assert_eq!(series.points(Scale::Hour), [(5.5, 20.0), (6.5, 1.0)]);
    }

    #[test]
    fn a_gap_stays_one_and_what_is_old_goes() {
        let mut gap = series(0, 30, |_| 7);
        gap.record(50, 8);
        assert_eq!(gap.points(Scale::Hour).len(), 31);
        gap.record(100, 9);
        let told = gap.points(Scale::Hour);
        assert_eq!(told, [(50.5, 8.0), (100.5, 9.0)]);
        gap.record(1_000_000, 9);
        assert_eq!(gap.points(Scale::Month).len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_the_future_with_it() {
        let mut set = series(10_000, 100, |_| 7);
        set.record(10_050, 8);
        assert!(set.points(Scale::Hour).iter().all(|(time, _)| *time < 10_051.0));
        set.record(10_051, 8);
        let told = set.points(Scale::Hour);
        assert_eq!(told.last(), Some(&(10_051.5, 8.0)));
        assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "{told:?}");
    }

    #[test]
    fn it_is_as_short_as_it_says() {
        // As many digits as there can be, in every point and every measurement.
        let wild = |minute: u64| if minute.is_multiple_of(2) { MAX_VALUE } else { 0 };
        let mut worst = series(29_000_000, 31 * 24 * 60, wild);
        for level in [&mut worst.tens, &mut worst.quarters] {
            for (index, point) in level.points.iter_mut().enumerate() {
                point.1 = wild(u64::try_from(index).unwrap());
            }
            level.current = vec![MAX_VALUE; MAX_CURRENT];
        }
        worst.minutes.current = vec![MAX_VALUE; MAX_CURRENT];
        let size = serde_json::to_string(&worst).unwrap().len();
        assert!(size <= 5 << 10, "{size}");
        let quiet = serde_json::to_string(&series(29_000_000, 31 * 24 * 60, |_| 800_000)).unwrap();
        assert!(quiet.len() < 2 << 10, "{}", quiet.len());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(times in prop::collection::vec((0_u64..100_000, any::<i64>()), 0..300)) {
            let mut series = Series::default();
            for (minute, value) in times {
                series.record(minute, value);
                let text = serde_json::to_string(&series).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Series>(&text).unwrap(), &series);
                for scale in SCALES {
                    let points = series.points(scale);
                    prop_assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", points);
                }
            }
        }

        #[test]
        fn any_state_is_read_or_not(numbers in prop::collection::vec(any::<i64>(), 0..20), minute in 0_u64..1_000_000_000) {
            let level = serde_json::json!([numbers, numbers]);
            let state = serde_json::json!({ "minutes": level, "tens": level, "quarters": level });
            let mut series: Series = serde_json::from_value(state).unwrap();
            series.record(minute, 5);
            for scale in SCALES {
                let _ = series.points(scale);
            }
        }
    }
}
