/// How many terms of a tail are added up; what follows is bounded by a geometric series.
const MOST_TERMS: u32 = 4_000;

/// How surprising a count of at least `count` is, in bans: the negative decimal logarithm of its probability under a negative
/// binomial distribution with this mean, and a variance of mean + dispersion × mean².
///
/// A dispersion of 0 is a Poisson distribution. The result is finite, and 0 where the count is no more than the mean.
pub(crate) fn surprise_of_at_least(count: u32, mean: f64, dispersion: f64) -> f64 {
    let mean = mean.max(1e-9);
    let count = f64::from(count);
    if count <= mean {
        return 0.0;
    }
    let size = 1.0 / dispersion.max(1e-6);
    let odds = mean / (mean + size);
    let first = libm::lgamma(count + size) - libm::lgamma(size) - libm::lgamma(count + 1.0)
        + size * (size / (size + mean)).ln()
        + count * odds.ln();
    let (mut sum, mut term) = (1.0, 1.0);
    for step in 0..MOST_TERMS {
        let next = count + f64::from(step);
        let ratio = odds * (next + size) / (next + 1.0);
        term *= ratio;
        sum += term;
        if term < sum * 1e-9 {
            break;
        }
        if step + 1 == MOST_TERMS {
            sum += term * ratio / (1.0 - ratio).max(1e-9);
        }
    }
    (-(first + sum.ln()) / std::f64::consts::LN_10).max(0.0)
}

/// How surprising it is that nothing is counted, in bans.
pub(crate) fn surprise_of_none(mean: f64, dispersion: f64) -> f64 {
    let dispersion = dispersion.max(1e-6);
    (dispersion * mean.max(0.0)).ln_1p() / dispersion / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition: the sum over what is below, by the recurrence of the distribution.
    fn plain(count: u32, mean: f64, dispersion: f64) -> f64 {
        let size = 1.0 / dispersion;
        let mut term = (size / (size + mean)).powf(size);
        let mut below = 0.0;
        for k in 0..count {
            below += term;
            term *= mean / (mean + size) * (f64::from(k) + size) / (f64::from(k) + 1.0);
        }
        -(1.0_f64 - below).log10()
    }

    #[test]
    fn tails_are_those_of_the_definition() {
        for (count, mean, dispersion) in [
            (3, 1.0, 0.5),
            (10, 4.0, 0.2),
            (40, 10.0, 1.0),
            (5, 0.3, 2.0),
            (130, 100.0, 0.01),
            (60, 50.0, 1e-4),
        ] {
            let (is, should) =
                (surprise_of_at_least(count, mean, dispersion), plain(count, mean, dispersion));
            assert!((is - should).abs() < 1e-4, "{count} {mean} {dispersion}: {is} {should}");
        }
        // Poisson: exp(-2) of none.
        assert!((surprise_of_none(2.0, 0.0) - 2.0 / std::f64::consts::LN_10).abs() < 1e-4);
        assert!((surprise_of_none(2.0, 1.0) - 3.0_f64.log10()).abs() < 1e-9);
    }

    #[test]
    fn a_higher_count_is_never_less_surprising() {
        for (mean, dispersion) in [(0.0, 0.5), (1e-3, 2.0), (7.0, 0.1), (1e6, 0.3), (4e9, 1e-3)] {
            let mut last = 0.0;
            for power in 0..32 {
                let now = surprise_of_at_least(1 << power, mean, dispersion);
                assert!(
                    now.is_finite() && now >= last,
                    "{mean} {dispersion} {power}: {now} {last}"
                );
                last = now;
            }
        }
    }
}
