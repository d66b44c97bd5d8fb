//! Where a series is going: a robust line through it, how sure that is, and when it reaches a level.
//!
//! The line is that of Theil and Sen: its slope is the median of the slopes between all pairs of points,
//! so that up to 29 % of the points may be anything. How sure the slope is follows Sen (1968): ranks
//! among the slopes, counted off by the variance of Kendall's S with its correction for ties.
//!
//! # Trade-offs
//! Sen's interval takes the points as independent, which measurements of a host are not: each is mostly
//! what the one before it was. The variance is therefore widened by the first autocorrelation of what the
//! line leaves over, as if there were fewer points (Matalas and Sankarasubramanian 2003, Yue and Wang
//! 2004). All pairs are looked at: 144 points are 10,296 slopes, [`MAX_POINTS`] the most.

/// The most points that are looked at; of more, the newest count.
pub(crate) const MAX_POINTS: usize = 512;

/// The fewest points that a line is drawn through.
pub(crate) const MIN_POINTS: usize = 6;

/// Of a normal distribution, 95 % lie within so many deviations on both sides.
const DEVIATIONS: f64 = 1.96;

/// The most that correlation may widen the variance. Without a bound, what is left over of a line that is
/// almost exact would decide.
const MAX_INFLATION: f64 = 20.0;

/// How close to the expected time the bounds of a forecast may come.
const SUREST: f64 = 0.05;

/// A line through a series, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// What the value gains for each unit of `x`.
    pub(crate) slope: f64,
    /// The slope lies above this, at 95 %.
    pub(crate) slope_low: f64,
    /// The slope lies below this, at 95 %.
    pub(crate) slope_high: f64,
    /// The value at `x` = 0.
    pub(crate) intercept: f64,
    /// Half of the points lie no farther from the line than this.
    pub(crate) spread: f64,
}

/// When a level is reached, in units of `x` after the moment that was asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast {
    /// By the slope that is most likely.
    pub(crate) expected: f64,
    /// By the steepest slope that is likely.
    pub(crate) earliest: f64,
    /// By the flattest slope that is likely; none where that is flat or falls.
    pub(crate) latest: Option<f64>,
}

impl Trend {
    /// The line through points `(x, y)`, in the order of their `x`.
    ///
    /// None where there are fewer than [`MIN_POINTS`], where a number is not finite, and where all have
    /// the same `x`.
    pub(crate) fn through(points: &[(f64, f64)]) -> Option<Self> {
        let points = &points[points.len().saturating_sub(MAX_POINTS)..];
        if points.len() < MIN_POINTS || points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite())
        {
            return None;
        }
        let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
        for (index, (x, y)) in points.iter().enumerate() {
            slopes.extend(
                points[index + 1..]
                    .iter()
                    .filter(|other| other.0 > *x)
                    .map(|(other_x, other_y)| (other_y - y) / (other_x - x)),
            );
        }
        if slopes.is_empty() {
            return None;
        }
        let slope = median(&mut slopes);
        let mut rest: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
        let intercept = median(&mut rest.clone());
        for value in &mut rest {
            *value -= intercept;
        }
        let inflation = inflation(&rest);
        for value in &mut rest {
            *value = value.abs();
        }
        let spread = median(&mut rest);
        let (low, high) = ranks(points, slopes.len(), inflation);
        let mut at = |place: usize| *slopes.select_nth_unstable_by(place, f64::total_cmp).1;
        // Rounding of the middle of two may put it a hair beside them.
        let (slope_low, slope_high) = (at(low).min(slope), at(high).max(slope));
        Some(Self { slope, slope_low, slope_high, intercept, spread })
    }

    /// Whether the series rises for sure, at 95 %.
    pub(crate) fn rises(&self) -> bool {
        self.slope_low > 0.0
    }

    /// When a series that goes on as it did reaches `level`, counted from `x`. None where it does not rise.
    /// What is at the level already reaches it after 0.
    ///
    /// Where the series stands at `x` is the middle of where its last third of points leads to: the whole
    /// line would be wrong there after a bend, and the last point alone after any noise.
    ///
    /// The bounds hold the error of the slope at 95 % and that of where the series stands, and are never
    /// closer than [`SUREST`]: what is to come is not as even as what was.
    pub(crate) fn reaches(&self, level: f64, points: &[(f64, f64)], x: f64) -> Option<Forecast> {
        if self.slope <= 0.0 || !level.is_finite() || !x.is_finite() {
            return None;
        }
        let recent = &points[points.len() - points.len().div_ceil(3)..];
        let mut ends: Vec<f64> =
            recent.iter().map(|(at, value)| self.slope.mul_add(x - at, *value)).collect();
        let left = (level - median(&mut ends)).max(0.0);
        // The error of a median is 1.25 of that of a mean, and half of a normal distribution lies within
        // 0.67 deviations.
        let error = DEVIATIONS * 1.25 * self.spread / 0.67 / float(ends.len().max(1)).sqrt();
        let after = |slope: f64, left: f64| left.max(0.0) / slope;
        let expected = after(self.slope, left);
        let latest = after(self.slope_low, left + error).max(expected * (1.0 + SUREST));
        Some(Forecast {
            expected,
            earliest: after(self.slope_high, left - error).min(expected * (1.0 - SUREST)),
            latest: self.rises().then_some(latest),
        })
    }
}

/// The places among the sorted slopes that bound the slope (Sen 1968): as far from the middle as S
/// deviates.
fn ranks(points: &[(f64, f64)], slopes: usize, inflation: f64) -> (usize, usize) {
    let n = float(points.len());
    let mut values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
    values.sort_unstable_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|one, other| one.total_cmp(other).is_eq())
        .map(|tied| float(tied.len()))
        .map(|tied| tied * (tied - 1.0) * 2.0f64.mul_add(tied, 5.0))
        .sum();
    let variance = (n * (n - 1.0) * 2.0f64.mul_add(n, 5.0) - ties).max(0.0) / 18.0;
    let far = DEVIATIONS * (variance * inflation).sqrt();
    let count = float(slopes);
    let last = slopes - 1;
    // Counted from 0; beyond the ends the ends are all that is known.
    (place((count - far) / 2.0 - 1.0, last), place((count + far) / 2.0, last))
}

/// By how much the variance grows since neighbours are alike.
fn inflation(rest: &[f64]) -> f64 {
    // By ranks: one value that is far out must not decide.
    let mut order: Vec<usize> = (0..rest.len()).collect();
    order.sort_by(|one, other| rest[*one].total_cmp(&rest[*other]));
    let mut ranks = vec![0.0; rest.len()];
    let mut before = 0;
    for tied in order.chunk_by(|one, other| rest[*one].total_cmp(&rest[*other]).is_eq()) {
        for index in tied {
            ranks[*index] = float(before) + float(tied.len() - 1) / 2.0;
        }
        before += tied.len();
    }
    let mean = float(rest.len() - 1) / 2.0;
    let spread: f64 = ranks.iter().map(|rank| (rank - mean) * (rank - mean)).sum();
    let along: f64 = ranks.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if spread <= 0.0 {
        return 1.0;
    }
    let correlation = (along / spread).clamp(0.0, 0.99);
    ((1.0 + correlation) / (1.0 - correlation)).min(MAX_INFLATION)
}

/// The middle of values in any order; they change places. 0 for none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let is_odd = values.len() % 2 == 1;
    let (below, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if is_odd {
        return *middle;
    }
    let highest = below.iter().copied().max_by(f64::total_cmp).unwrap_or(*middle);
    f64::midpoint(highest, *middle)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 points")]
const fn float(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place between 0 and the last, by the clamp"
)]
fn place(value: f64, last: usize) -> usize {
    (value.round().clamp(0.0, float(last)) as usize).min(last)
}

#[cfg(test)]
mod tests;
