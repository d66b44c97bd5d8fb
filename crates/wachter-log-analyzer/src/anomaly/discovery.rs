use serde::{Deserialize, Serialize};

/// How many lines it takes before anything is called new.
const LEAST_LINES: u64 = 500;

/// For how long, in seconds of the log's own time.
const LEAST_TIME: i64 = 24 * 3600;

/// How often lines bring something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Discovery {
    /// When the first line was written, in seconds since the epoch.
    pub(crate) first: i64,
    /// When the last one was.
    pub(crate) last: i64,
    /// Lines, those of long ago counted less.
    lines: u64,
    /// What was new of them, counted likewise.
    new: u64,
    /// The new of this time, which judge each other by what was before them.
    fresh: u64,
    /// The lines of this time.
    current: u64,
}

impl Discovery {
    #[inline]
    pub(crate) fn observe(&mut self, time: i64) {
        if self.first == 0 {
            (self.first, self.last) = (time, time);
        }
        self.last = self.last.max(time);
        self.current += 1;
    }

    pub(crate) const fn discover(&mut self) {
        self.fresh += 1;
    }

    /// Whether enough was seen to call something new.
    pub(crate) const fn is_warm(&self) -> bool {
        self.lines >= LEAST_LINES && self.last - self.first >= LEAST_TIME
    }

    /// How surprising something new is, in bans, by the share of lines that brought something new before.
    #[allow(clippy::cast_precision_loss, reason = "six digits are enough")]
    pub(crate) fn surprise(&self) -> f32 {
        let beside = self.fresh.saturating_sub(1) as f32 / 2.0;
        -((self.new as f32 + beside + 0.5) / (self.lines + self.current + 1) as f32)
            .min(1.0)
            .log10()
    }

    /// How many lines are known, those of long ago counted less.
    pub(crate) const fn lines(&self) -> u64 {
        self.lines + self.current
    }

    /// Takes in what was counted since the last time.
    pub(crate) const fn settle(&mut self) {
        self.lines += self.current;
        self.new += self.fresh;
        (self.current, self.fresh) = (0, 0);
    }

    /// Forgets as days do: half is left after a week. What is warm stays warm.
    pub(crate) fn fade(&mut self, days: u32) {
        for _ in 0..days.min(100) {
            let warm = self.is_warm();
            self.lines = self.lines * 29 / 32;
            self.new = self.new * 29 / 32;
            if warm {
                self.lines = self.lines.max(LEAST_LINES);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lines: u32, new: u32, seconds: i64) -> Discovery {
        let mut discovery = Discovery::default();
        for line in 0..lines {
            discovery.observe(1_000_000 + seconds * i64::from(line) / i64::from(lines - 1));
            if line < new {
                discovery.discover();
            }
        }
        discovery.settle();
        discovery
    }

    #[test]
    fn warmth_takes_lines_and_time() {
        for (lines, seconds, warm) in
            [(500, 86_400, true), (499, 86_400, false), (5000, 86_399, false)]
        {
            assert_eq!(after(lines, 3, seconds).is_warm(), warm, "{lines} {seconds}");
        }
        let mut discovery = after(600, 3, 90_000);
        discovery.fade(100);
        assert!(discovery.is_warm());
    }

    #[test]
    fn where_all_is_new_nothing_is_news() {
        let quiet = after(10_000, 0, 90_000).surprise();
        assert!(quiet > 4.0, "{quiet}");
        assert!(after(10_000, 9_000, 90_000).surprise() < 0.1);
        let mut many = after(10_000, 0, 90_000);
        for _ in 0..50 {
            many.discover();
        }
        assert!(many.surprise() < 2.7);
        many.settle();
        many.fade(30);
        assert!(many.surprise() > 2.0);
    }
}
