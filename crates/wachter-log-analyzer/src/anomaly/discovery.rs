use serde::{Deserialize, Serialize};

/// How many lines it takes before anything is called new.
const LEAST_LINES: u64 = 500;

/// For how long, in seconds of the log's own time.
const LEAST_TIME: i64 = 24 * 3600;

/// Or how many lines over how long, of what says little.
const FEW_LINES: u64 = 10;
const LONG_TIME: i64 = 14 * 24 * 3600;

/// How many lines of the whole host count beside those of one program: what says little is judged by the others.
const HOST_LINES: f32 = 50.0;

/// How often lines bring something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Discovery {
    /// When the first line was written, in seconds since the epoch.
    pub(crate) first: i64,
    /// When the last one was.
    pub(crate) last: i64,
    /// All lines.
    total: u64,
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
        let time = self.last - self.first;
        (self.total >= LEAST_LINES && time >= LEAST_TIME)
            || (self.total >= FEW_LINES && time >= LONG_TIME)
    }

    /// How surprising something new is, in bans, by the share of lines that brought something new before: those of
    /// this program, and to some extent those of the host.
    pub(crate) fn surprise(&self, host: &Self) -> f32 {
        -self.share(HOST_LINES * host.share(0.0, 0.0, 0.5), HOST_LINES, 0.0).min(1.0).log10()
    }

    /// The same where there is nothing wider to go by.
    pub(crate) fn surprise_alone(&self) -> f32 {
        -self.share(0.0, 1.0, 0.5).min(1.0).log10()
    }

    #[allow(clippy::cast_precision_loss, reason = "six digits are enough")]
    fn share(&self, new: f32, lines: f32, least: f32) -> f32 {
        // Those of this time judge each other at half their number.
        let beside = self.fresh.saturating_sub(1) as f32 / 2.0;
        (self.new as f32 + beside + new + least)
            / ((self.lines + self.current) as f32 + lines).max(1.0)
    }

    /// How many lines there were before this time.
    pub(crate) const fn lines_before(&self) -> u64 {
        self.total
    }

    /// Whether there was any.
    pub(crate) const fn is_known(&self) -> bool {
        self.total + self.current > 0
    }

    /// Takes in what was counted since the last time.
    pub(crate) const fn settle(&mut self) {
        self.total += self.current;
        self.lines += self.current;
        self.new += self.fresh;
        (self.current, self.fresh) = (0, 0);
    }

    /// Forgets as days do: half is left after a week. What is warm stays warm.
    pub(crate) fn fade(&mut self, days: u32) {
        for _ in 0..days.min(100) {
            self.lines = self.lines * 29 / 32;
            self.new = self.new * 29 / 32;
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
        const DAY: i64 = 86_400;
        for (lines, seconds, warm) in [
            (500, DAY, true),
            (499, DAY, false),
            (5000, DAY - 1, false),
            (10, 14 * DAY, true),
            (9, 99 * DAY, false),
        ] {
            assert_eq!(after(lines, 3, seconds).is_warm(), warm, "{lines} {seconds}");
        }
        let mut discovery = after(12, 3, 15 * DAY);
        discovery.fade(100);
        assert!(discovery.is_warm());
    }

    #[test]
    fn where_all_is_new_nothing_is_news() {
        let host = after(100_000, 100, 90_000);
        let quiet = after(10_000, 0, 90_000).surprise(&host);
        assert!(quiet > 4.0, "{quiet}");
        assert!(after(10_000, 9_000, 90_000).surprise(&host) < 0.1);
        let mut many = after(10_000, 0, 90_000);
        for _ in 0..50 {
            many.discover();
        }
        assert!(many.surprise(&host) < 2.7);
        many.settle();
        many.fade(30);
        assert!(many.surprise(&host) > 2.0);
    }

    #[test]
    fn what_says_little_is_judged_by_the_host() {
        let few = after(20, 0, 30 * 86_400);
        assert!(few.surprise(&after(100_000, 100, 90_000)) > 3.0);
        assert!(few.surprise(&after(100_000, 50_000, 90_000)) < 1.0);
    }
}
