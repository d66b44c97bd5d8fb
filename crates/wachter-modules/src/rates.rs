//! Counters as numbers.

/// A counter as a number of a metric.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float, exact up to 2^53")]
pub(crate) const fn float(counter: u64) -> f64 {
    counter as f64
}

/// What a counter gained in each second; none where it was reset.
pub(crate) fn per_second(now: u64, before: u64, milliseconds: u64) -> Option<f64> {
    Some(float(now.checked_sub(before)?) * 1_000.0 / float(milliseconds))
}
