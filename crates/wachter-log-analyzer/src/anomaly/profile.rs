/// The hours of a week.
const CELLS: usize = 168;

/// The days of a week.
const DAYS: usize = 7;

/// A cell that no hour was learned in.
const UNKNOWN: u16 = 4_095;

/// Steps of a cell's logarithm to base e: cells tell means apart that differ by 0.4 %.
const STEPS: f64 = 256.0;

/// The digits in which a profile is stored, two a cell.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How many lines an hour of the week brings: a mean for each of the 168, on a logarithmic scale of twelve bits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile(Box<[u16; CELLS]>);

impl Default for Profile {
    fn default() -> Self {
        Self(Box::new([UNKNOWN; CELLS]))
    }
}

impl Profile {
    /// What is stored, in bytes.
    pub(crate) const STORED: usize = CELLS * 2 + 2;

    /// The mean of an hour's cell, where it is known.
    pub(crate) fn mean(&self, hour: i32) -> Option<f64> {
        read(self.0[cell(hour)])
    }

    /// The mean of the cells at the same time of other days: of working days for one of these, of the weekend for
    /// one of those, or of any where none of these is known.
    pub(crate) fn mean_of_similar(&self, hour: i32) -> Option<f64> {
        let (day, time) = (cell(hour) / 24, cell(hour) % 24);
        let mean = |alike: &dyn Fn(usize) -> bool| {
            let known = (0..DAYS).filter(|other| alike(*other));
            let (sum, count) = known
                .filter_map(|other| read(self.0[other * 24 + time]))
                .fold((0.0, 0.0), |(sum, count), mean| (sum + mean, count + 1.0));
            (count > 0.0).then(|| sum / count)
        };
        mean(&|other| other != day && is_weekend(other) == is_weekend(day))
            .or_else(|| mean(&|other| other != day))
    }

    /// Moves an hour's cell by a share of the way to `count`.
    pub(crate) fn learn(&mut self, hour: i32, count: f64, share: f64) {
        let cell = &mut self.0[cell(hour)];
        *cell = write(read(*cell).map_or(count, |mean| mean + (count - mean) * share));
    }

    /// The same with all means a multiple of what they were.
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        for cell in self.0.iter_mut() {
            if let Some(mean) = read(*cell) {
                *cell = write(mean * factor);
            }
        }
        self
    }

    pub(crate) fn to_text(&self) -> String {
        let digits = self.0.iter().flat_map(|cell| [cell >> 6 & 63, cell & 63]);
        digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
    }

    /// Nothing where the text is no profile.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
        let mut profile = Self::default();
        if text.len() != CELLS * 2 {
            return None;
        }
        for (cell, pair) in profile.0.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *cell = u16::try_from(digit(pair[0])? << 6 | digit(pair[1])?).ok()?;
        }
        Some(profile)
    }
}

/// The cell of an hour since the epoch, which was on a Thursday. The week begins on Monday, in UTC.
fn cell(hour: i32) -> usize {
    usize::try_from((hour + 3 * 24).rem_euclid(168)).expect("a remainder by 168 is below 168")
}

const fn is_weekend(day: usize) -> bool {
    day >= 5
}

fn read(cell: u16) -> Option<f64> {
    (cell != UNKNOWN).then(|| (f64::from(cell) / STEPS).exp_m1())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is brought between the ends before"
)]
fn write(mean: f64) -> u16 {
    (mean.max(0.0).ln_1p() * STEPS).round().clamp(0.0, f64::from(UNKNOWN - 1)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-02 00:00 UTC, a Monday.
    const MONDAY: i32 = 498_216;

    #[test]
    fn the_week_begins_on_monday() {
        for (hours, expected) in [(0, 0), (5 * 24, 120), (167, 167), (168, 0), (-1, 167)] {
            assert_eq!(cell(MONDAY + hours), expected);
        }
    }

    #[test]
    fn unknown_hours_follow_days_of_their_kind() {
        let mut profile = Profile::default();
        assert_eq!(profile.mean_of_similar(MONDAY), None);
        profile.learn(MONDAY, 100.0, 1.0);
        let similar = |profile: &Profile, day: i32| profile.mean_of_similar(MONDAY + day * 24);
        assert!((similar(&profile, 1).unwrap() - 100.0).abs() < 0.5);
        assert!((similar(&profile, 5).unwrap() - 100.0).abs() < 0.5);
        profile.learn(MONDAY + 6 * 24, 2.0, 1.0);
        assert!((similar(&profile, 5).unwrap() - 2.0).abs() < 0.02);
        assert_eq!(profile.mean(MONDAY + 24), None);
    }

    proptest! {
        #[test]
        fn a_profile_survives_as_text(cells in prop::collection::vec(0_u16..=4095, CELLS)) {
            let profile = Profile(Box::new(cells.try_into().unwrap()));
            prop_assert_eq!(profile.to_text().len() + 2, Profile::STORED);
            prop_assert_eq!(Profile::from_text(&profile.to_text()), Some(profile));
        }

        #[test]
        fn means_are_kept_within_half_a_percent(mean in 0.1_f64..1e6) {
            let kept = read(write(mean)).unwrap();
            prop_assert!((kept / mean - 1.0).abs() < 0.025, "{kept} {mean}");
            prop_assert!((kept - mean).abs() <= (mean + 1.0) * 0.002);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,400}") {
            if let Some(profile) = Profile::from_text(&text) {
                prop_assert_eq!(profile.to_text(), text);
            }
        }
    }
}
