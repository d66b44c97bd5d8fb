use serde::{Deserialize, Serialize};

/// The quantiles that are kept, with both ends.
const QUANTILES: [f32; 5] = [0.0, 0.05, 0.5, 0.95, 1.0];

/// How many numbers count; then the older ones count half, so that what changes slowly is followed.
const MOST_COUNTED: u32 = 4_096;

/// How many numbers it takes before one is judged.
const LEAST: u32 = 100;

/// The least scale of a tail, as a natural logarithm: numbers that hardly vary are allowed 5 % to stray by.
const LEAST_SCALE: f32 = 0.05;

/// The surprise, in bans, at which a number is drawn in before it is learned, so that one wild number widens nothing.
const FARTHEST_LEARNED: f32 = 6.0;

/// Quantiles of the numbers at one place of a template, in constant memory: the P² algorithm (Jain and Chlamtac, 1985)
/// for three quantiles at once, over the inverse hyperbolic sine of the numbers, which is a logarithm that takes zero and
/// either sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Numbers {
    counted: u32,
    /// How often a number was higher than all before it: a counter does nothing else.
    records: u32,
    heights: [f32; 5],
    places: [u32; 5],
}

/// As they are stored: whole numbers alone, the heights by their bits.
type Stored = (u32, u32, [u32; 5], [u32; 5]);

/// A number beyond what was usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stray {
    /// How surprising it is, in bans.
    pub(crate) surprise: f32,
    /// Between which nine of ten numbers lie.
    pub(crate) usual: (f32, f32),
}

impl Numbers {
    /// Learns a number, after judging it by what was learned before.
    pub(crate) fn observe(&mut self, number: f32) -> Option<Stray> {
        let height = number.asinh();
        if !height.is_finite() {
            return None;
        }
        let surprise = self.surprise(height);
        let stray = (surprise > 0.0 && !self.is_counter())
            .then(|| Stray { surprise, usual: (self.heights[1].sinh(), self.heights[3].sinh()) });
        self.learn(if surprise > FARTHEST_LEARNED { self.drawn_in(height) } else { height });
        stray
    }

    /// How surprising it is to lie so far out.
    fn surprise(&self, height: f32) -> f32 {
        if self.counted < LEAST {
            return 0.0;
        }
        let [least, _, _, _, most] = self.heights;
        #[allow(clippy::cast_precision_loss, reason = "counts are small")]
        let records = (self.counted as f32).log10();
        let in_bans = |distance: f32, scale: f32| distance / scale / std::f32::consts::LN_10;
        // One number in `counted` is beyond the end, and the tail falls off from there.
        if height > most {
            in_bans(height - most, self.scale_above()) + records
        } else if height < least {
            in_bans(least - height, self.scale_below()) + records
        } else {
            0.0
        }
    }

    fn scale_above(&self) -> f32 {
        self.scale(self.heights[3] - self.heights[2], self.heights[4] - self.heights[3])
    }

    fn scale_below(&self) -> f32 {
        self.scale(self.heights[2] - self.heights[1], self.heights[1] - self.heights[0])
    }

    /// The scale of an exponential tail, by two estimates: how far the outer quantile is from the median, and how far the
    /// end is from that quantile. The second tells tails that end from those that do not; it hangs on one number.
    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    fn scale(&self, inner: f32, outer: f32) -> f32 {
        let inner = inner / std::f32::consts::LN_10;
        let outer = outer / (QUANTILES[1] * self.counted as f32).ln_1p();
        ((inner + 2.0 * outer) / 3.0).max(LEAST_SCALE)
    }

    /// A wild number moves the end by a step; only where such numbers keep coming are they usual some time.
    fn drawn_in(&self, height: f32) -> f32 {
        let [least, .., most] = self.heights;
        height.clamp(least - self.scale_below(), most + self.scale_above())
    }

    /// Whether it can have come from here.
    pub(crate) fn is_sound(&self) -> bool {
        self.counted <= MOST_COUNTED
            && self.heights.iter().all(|height| height.is_finite())
            && (self.counted < 5
                || (self.heights.is_sorted() && self.places.is_sorted_by(|a, b| a < b)))
    }

    const fn is_counter(&self) -> bool {
        self.records > 12 + self.counted / 8
    }

    fn learn(&mut self, height: f32) {
        if self.counted < 5 {
            let counted = self.counted as usize;
            self.heights[counted] = height;
            self.heights[..=counted].sort_by(f32::total_cmp);
            self.counted += 1;
            self.places = [0, 1, 2, 3, 4];
            return;
        }
        if height > self.heights[4] {
            self.records += 1;
            self.heights[4] = height;
        }
        self.heights[0] = self.heights[0].min(height);
        for marker in 1..5 {
            // Those above the number move up; the last one always.
            self.places[marker] += u32::from(marker == 4 || height < self.heights[marker]);
        }
        self.counted += 1;
        for marker in 1..4 {
            self.adjust(marker);
        }
        if self.counted >= MOST_COUNTED {
            self.age();
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are small")]
    fn adjust(&mut self, marker: usize) {
        let wanted = QUANTILES[marker] * (self.counted - 1) as f32;
        let [below, here, above] =
            [marker - 1, marker, marker + 1].map(|at| self.places[at] as f32);
        let off = wanted - here;
        let step = if off >= 1.0 && above - here > 1.0 {
            1.0
        } else if off <= -1.0 && here - below > 1.0 {
            -1.0
        } else {
            return;
        };
        let [low, middle, high] = [marker - 1, marker, marker + 1].map(|at| self.heights[at]);
        let parabola = middle
            + step / (above - below)
                * ((here - below + step) * (high - middle) / (above - here)
                    + (above - here - step) * (middle - low) / (here - below));
        self.heights[marker] = if low < parabola && parabola < high {
            parabola
        } else if step > 0.0 {
            middle + (high - middle) / (above - here)
        } else {
            middle - (middle - low) / (here - below)
        };
        self.places[marker] =
            if step > 0.0 { self.places[marker] + 1 } else { self.places[marker] - 1 };
    }

    /// Halves what was counted. The markers keep their order, and room between them.
    fn age(&mut self) {
        self.counted /= 2;
        self.records /= 2;
        for marker in 1_u32..5 {
            let at = marker as usize;
            self.places[at] = (self.places[at] / 2).max(self.places[at - 1] + 1);
        }
        self.places[4] = self.places[4].max(self.counted - 1);
    }

    /// Not more than this many bytes of JSON.
    pub(crate) const STORED: usize = 120;
}

impl From<Numbers> for Stored {
    fn from(numbers: Numbers) -> Self {
        let Numbers { counted, records, heights, places } = numbers;
        (counted, records, heights.map(f32::to_bits), places)
    }
}

impl From<Stored> for Numbers {
    fn from((counted, records, heights, places): Stored) -> Self {
        Self { counted, records, heights: heights.map(f32::from_bits), places }
    }
}

/// The number in a value: decimal, with a unit of time or size perhaps, in microseconds or bytes then.
pub(crate) fn number(value: &[u8]) -> Option<f32> {
    number_and_unit(value).map(|(number, ..)| number)
}

/// The same with what one of its unit is, and the unit.
pub(crate) fn number_and_unit(value: &[u8]) -> Option<(f32, f32, &[u8])> {
    let unsigned = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(unsigned);
    let mut length = whole;
    if let Some(fraction) = unsigned[whole..].strip_prefix(b".") {
        length += digits(fraction) + 1;
    }
    if whole == 0 || length > 24 {
        return None;
    }
    let (number, unit) = unsigned.split_at(length);
    let factor = match unit {
        b"" | b"%" | b"B" | b"b" => 1.0,
        b"ns" => 1e-3,
        b"us" | b"\xC2\xB5s" | b"\xCE\xBCs" => 1.0,
        b"ms" => 1e3,
        b"s" | b"sec" => 1e6,
        b"m" | b"min" => 60e6,
        b"h" => 3600e6,
        b"k" | b"K" | b"kB" | b"KB" | b"KiB" => 1024.0,
        b"M" | b"MB" | b"MiB" => 1_048_576.0,
        b"G" | b"GB" | b"GiB" => 1_073_741_824.0,
        _ => return None,
    };
    let number: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    let number = if value.starts_with(b"-") { -number * factor } else { number * factor };
    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough to compare by")]
    let (number, factor) = (number as f32, factor as f32);
    number.is_finite().then_some((number, factor, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stream of numbers that look random, from 0 to 1.
    fn uniform() -> impl Iterator<Item = f32> {
        let mut state = 7_u32;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            #[allow(clippy::cast_precision_loss, reason = "24 bits")]
            Some((state >> 8) as f32 / 16_777_216.0)
        })
    }

    fn learned(numbers: impl Iterator<Item = f32>) -> (Numbers, usize) {
        let mut sketch = Numbers::default();
        let strays = numbers
            .filter(|number| sketch.observe(*number).is_some_and(|stray| stray.surprise > 6.0))
            .count();
        (sketch, strays)
    }

    #[test]
    fn quantiles_are_near_the_true_ones() {
        let (sketch, strays) = learned(uniform().map(|number| number * 100.0).take(20_000));
        for (marker, should) in [(1, 5.0_f32), (2, 50.0), (3, 95.0)] {
            let is = sketch.heights[marker].sinh();
            assert!((is / should - 1.0).abs() < 0.2, "{is} instead of {should}");
        }
        assert_eq!(strays, 0);
        let (_, strays) = learned(uniform().map(|number| (-number.ln() * 2.0).exp()).take(20_000));
        assert!(strays <= 2, "{strays} of 20,000 with a heavy tail");
    }

    #[test]
    fn what_is_far_out_is_told_and_widens_nothing() {
        for (usual, odd) in [(10.0, 400.0_f32), (1000.0, 1.0), (5.0, -500.0)] {
            let usual = |number: f32| usual * (1.0 + number);
            let (mut sketch, strays) = learned(uniform().map(usual).take(300));
            assert_eq!(strays, 0);
            for _ in 0..3 {
                let stray = sketch.observe(odd).unwrap();
                assert!(stray.surprise > 6.0, "{odd}: {stray:?}");
            }
            assert_eq!(sketch.observe(usual(0.5)), None);
        }
    }

    #[test]
    fn a_counter_never_strays() {
        let mut number = 1.0_f32;
        let (_, strays) = learned((0..500).map(|_| {
            number *= 1.5;
            number.min(1e30)
        }));
        assert_eq!(strays, 0);
    }

    #[test]
    fn too_few_are_not_judged() {
        let (mut sketch, _) = learned(uniform().take(LEAST as usize - 1));
        assert_eq!(sketch.observe(1e9), None);
    }

    #[test]
    fn numbers_are_read_with_their_units() {
        for (text, expected) in [
            ("12", Some(12.0)),
            ("-3.5", Some(-3.5)),
            ("+1.", Some(1.0)),
            ("250ms", Some(250_000.0)),
            ("2KiB", Some(2048.0)),
            ("97%", Some(97.0)),
            ("10.0.0.1", None),
            ("0x1f", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("12a", None),
            ("1234567890123456789012345", None),
            ("12:30", None),
            ("1e5", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn markers_stay_in_order_and_a_reload_changes_nothing(
            numbers in prop::collection::vec(prop_oneof![-1e9_f32..1e9, 0.0_f32..3.0], 0..300),
        ) {
            let mut sketch = Numbers { counted: 0, ..Numbers::default() };
            for number in numbers {
                sketch.observe(number);
                if sketch.counted >= 5 {
                    prop_assert!(sketch.heights.is_sorted(), "{sketch:?}");
                    prop_assert!(sketch.places.is_sorted_by(|a, b| a < b), "{sketch:?}");
                }
                let stored = serde_json::to_string(&sketch).unwrap();
                prop_assert!(stored.len() <= Numbers::STORED);
                let again: Numbers = serde_json::from_str(&stored).unwrap();
                prop_assert_eq!(&again, &sketch);
                sketch = again;
            }
        }

        #[test]
        fn any_bytes_are_a_finite_number_or_none(value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(number(&value).is_none_or(f32::is_finite));
        }
    }
}
