use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The last matches of one alarm about one subject: as many as the alarm counts to, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Window {
    /// When each was, in milliseconds since 1970, and a hash of the value that has to differ; 0
    /// where matches are counted. In the order in which they came.
    entries: VecDeque<(i64, u32)>,
}

impl Window {
    /// Adds a match, and says whether `count` of them lie within `within` milliseconds of each other
    /// now. Matches with the same `value` count once, with the time of the last.
    pub(crate) fn add(&mut self, time: i64, value: Option<u32>, count: usize, within: i64) -> bool {
        if let Some(value) = value {
            self.entries.retain(|(_, known)| *known != value);
        }
        // What is later stays: this record may be late, or the clock was set back, and then the
        // later ones are pushed out. `saturating` since a record may claim any year.
        self.entries.retain(|(other, _)| time.saturating_sub(*other) <= within);
        if self.entries.len() >= count {
            self.entries.pop_front();
        }
        self.entries.push_back((time, value.unwrap_or(0)));
        self.entries.len() >= count && self.span() <= within
    }

    /// The first and the last moment.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        let times = || self.entries.iter().map(|(time, _)| *time);
        (times().min().unwrap_or(0), times().max().unwrap_or(0))
    }

    /// The number of matches.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn span(&self) -> i64 {
        let (first, last) = self.bounds();
        last.saturating_sub(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One mark a match: `+` where there are enough.
    fn marks(times: &[(i64, Option<u32>)]) -> String {
        let mut window = Window::default();
        times
            .iter()
            .map(|(time, value)| if window.add(*time, *value, 3, 10) { '+' } else { '.' })
            .collect()
    }

    #[test]
    fn enough_within_the_time() {
        let plain =
            |times: &[i64]| marks(&times.iter().map(|time| (*time, None)).collect::<Vec<_>>());
        for (times, expected) in [
            (&[1, 2, 3][..], "..+"),
            (&[1, 2, 12, 13], "...."),
            (&[1, 6, 11], "..+"),
            (&[1, 6, 12, 13], "...+"),
            // Out of order, and the clock set back far.
            (&[5, 3, 4], "..+"),
            (&[1_000, 1_001, 5, 6, 7], "....+"),
            (&[i64::MIN, i64::MAX, 0, 1, 2], "....+"),
        ] {
            assert_eq!(plain(times), expected, "{times:?}");
        }
        let values = [(1, Some(7)), (2, Some(7)), (3, Some(8)), (4, Some(7)), (5, Some(9))];
        assert_eq!(marks(&values), "....+");
    }

    proptest! {
        #[test]
        fn it_says_what_a_search_over_all_says(times in prop::collection::vec(0_i64..60, 0..40)) {
            let times = { let mut times = times; times.sort_unstable(); times };
            let plain: Vec<_> = times.iter().map(|time| (*time, None)).collect();
            let expected: String = (0..times.len())
                .map(|last| if last >= 2 && times[last] - times[last - 2] <= 10 { '+' } else { '.' })
                .collect();
            prop_assert_eq!(marks(&plain), expected);
        }
    }
}
