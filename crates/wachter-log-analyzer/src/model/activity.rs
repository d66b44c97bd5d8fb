use serde::{Deserialize, Serialize};

/// How many hours are remembered.
const HOURS: i32 = 896;

/// From which of the last hours any line is known. Where the host was off, no template was silent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activity {
    latest: i32,
    bits: [u64; 14],
}

impl Activity {
    #[inline]
    pub(crate) fn mark(&mut self, hour: i32) {
        if hour > self.latest {
            self.move_to(hour);
        }
        if hour > self.latest - HOURS {
            let (word, bit) = place(hour);
            self.bits[word] |= bit;
        }
    }

    pub(crate) fn has(&self, hour: i32) -> bool {
        let (word, bit) = place(hour);
        hour <= self.latest && hour > self.latest - HOURS && self.bits[word] & bit != 0
    }

    /// Forgets what is later: a clock was wrong.
    pub(crate) fn not_after(&mut self, hour: i32) {
        while self.latest > hour && self.latest - hour < HOURS {
            let (word, bit) = place(self.latest);
            self.bits[word] &= !bit;
            self.latest -= 1;
        }
        self.latest = self.latest.min(hour);
    }

    #[cold]
    fn move_to(&mut self, hour: i32) {
        if hour - self.latest >= HOURS {
            self.bits = [0; 14];
        } else {
            for between in self.latest + 1..=hour {
                let (word, bit) = place(between);
                self.bits[word] &= !bit;
            }
        }
        self.latest = hour;
    }
}

fn place(hour: i32) -> (usize, u64) {
    let place = usize::try_from(hour.rem_euclid(HOURS)).expect("a remainder is not negative");
    (place / 64, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_set_of_the_last_hours(hours in prop::collection::vec(1_000_i32..4_000, 1..200)) {
            let mut activity = Activity::default();
            let mut model = BTreeSet::new();
            for hour in hours {
                activity.mark(hour);
                model.insert(hour);
                let latest = *model.last().unwrap();
                model.retain(|hour| *hour > latest - HOURS);
                for hour in latest - 1_000..latest + 10 {
                    prop_assert_eq!(activity.has(hour), model.contains(&hour), "{}", hour);
                }
            }
            let middle = (model.first().unwrap() + model.last().unwrap()) / 2;
            activity.not_after(middle);
            prop_assert!((middle + 1..middle + 2_000).all(|hour| !activity.has(hour)));
            activity.mark(middle + 100);
            prop_assert!((middle + 1..middle + 100).all(|hour| !activity.has(hour)));
        }
    }
}
