use jiff::Timestamp;

/// The time by which validity is judged.
///
/// A node's clock can be set back, by mistake or by someone who wants an expired release to be
/// taken. So the judge is the latest of three times: the node's clock, the latest time that the node
/// has ever judged by (which it keeps on disk), and the date on which the program was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidityClock {
    /// The node's clock.
    pub now: Timestamp,
    /// The latest time ever judged by, as kept by the node.
    pub floor: Timestamp,
    /// When the program was built.
    pub build_date: Timestamp,
}

impl ValidityClock {
    /// The time to judge by; also the next floor.
    #[must_use]
    pub fn judge(&self) -> Timestamp {
        self.now.max(self.floor).max(self.build_date)
    }

    /// Whether the node's clock is behind a time that has certainly passed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.now < self.judge()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (now, floor, build_date, judge, behind) in
            [(9, 1, 2, 9, false), (1, 9, 2, 9, true), (1, 2, 9, 9, true), (3, 3, 3, 3, false)]
        {
            let clock =
                ValidityClock { now: at(now), floor: at(floor), build_date: at(build_date) };
            assert_eq!((clock.judge(), clock.is_behind()), (at(judge), behind), "{clock:?}");
        }
    }
}
