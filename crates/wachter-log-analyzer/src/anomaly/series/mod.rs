use super::negative_binomial::{surprise_of_at_least, surprise_of_none};
use super::profile::Profile;

/// In how many hours a template has to have had lines before its week is learned: what is rarer has none.
const ACTIVE_FOR_PROFILE: u16 = 6;

/// How many hours have to be known before a burst is told of where the hour of the week is not known yet.
const HOURS_WITHOUT_PROFILE: u32 = 48;

/// The dispersion that is taken on where little is known.
const UNKNOWN_DISPERSION: f64 = 2.0;

/// What is taken on for the dispersion of a template, and how much that counts, in squares of a mean.
const PRIOR_DISPERSION: f64 = 0.3;
const PRIOR_SQUARES: f64 = 100.0;

/// How many weeks of an hour the same time of similar days counts for.
const SIMILAR: f64 = 2.0;

/// How much a mean of one week adds to the dispersion, twice.
const GUESSED: f64 = 0.15;

/// How much of what is known of trend and dispersion an hour leaves.
const TREND_LEFT: f64 = 1.0 - 1.0 / 48.0;
const DISPERSION_LEFT: f64 = 1.0 - 1.0 / 500.0;

/// How many lines of no trend a trend has to prevail against.
const TREND_PRIOR: f64 = 5.0;

/// In how many hours without lines that were due, in a row, a template is taken for gone: that is how it is now.
const GONE: u16 = 168;

/// How many lines make a burst at least.
const LEAST_BURST: u32 = 5;

/// How much of a miss is taken on where none was: most of what never failed to come never will.
const PRIOR_MISSES: f64 = 0.1;

/// How many lines of a template may be due in how few hours for it to be a job: four hours a day.
const JOB_SHARE: u32 = 6;

/// What it takes more than for a job to call what comes all day silent, in bans: it is tried so much more often.
const NOT_A_JOB: f32 = 2.5;

/// From which surprise on nothing is learned from silence, in bans.
const SILENT: f32 = 5.0;

/// How many hours are gone through at most; what was silent for longer is taken up as it is then.
const MOST_HOURS: i32 = 24 * 35;

/// How many hours a template was due in, before the older ones count half.
const MOST_DUE: u32 = 1_000;

/// How many lines of a template each hour brings, and what would be out of the ordinary.
///
/// The expectation of an hour is the mean of its cell in the week, drawn towards the same time of similar days while few weeks
/// are known, times the trend of the last days. Counts are taken for negative binomial, with a dispersion of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) state: State,
    pub(crate) profile: Option<Profile>,
    /// The most surprising hour since it was asked last, which is not stored.
    worst: Option<OddRate>,
}

/// The numbers of a series.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct State {
    /// The hour that is being counted, since the epoch; 0 before the first line.
    hour: i32,
    count: u32,
    /// How many hours were learned, and in how many of them there were lines.
    hours: u32,
    active: u16,
    /// A plain mean over the hours.
    level: f32,
    /// When the week began to be learned.
    since: i32,
    seen: f32,
    expected: f32,
    noise: f32,
    squares: f32,
    due: u32,
    missed: u32,
    /// How long there were no lines, how surprising that is, and how many were to be expected.
    silent: u16,
    silence: f32,
    missing: f32,
    /// Whether the hour before was a burst: how surprising, and what was expected and seen.
    burst: Option<(f32, f32, u32)>,
}

/// As it is stored: whole numbers alone, the others by their bits.
type Stored = ([i32; 2], [u32; 4], [u16; 2], [u32; 7], Option<[u32; 3]>);

/// Whether there are too many lines or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Burst,
    Silence,
}

/// A rate out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OddRate {
    pub(crate) direction: Direction,
    /// How surprising it is, in bans.
    pub(crate) surprise: f32,
    pub(crate) expected: f32,
    pub(crate) seen: u32,
    /// In which hour it began, since the epoch.
    pub(crate) hour: i32,
    /// For how many.
    pub(crate) hours: u16,
}

#[derive(Clone, Copy, Debug)]
struct Expectation {
    mean: f64,
    dispersion: f64,
    /// Without the trend.
    base: f64,
    /// Whether this hour of the week was met before.
    known: bool,
}

impl Series {
    pub(crate) const fn new(state: State, profile: Option<Profile>) -> Self {
        Self { state, profile, worst: None }
    }

    /// Not more than this many bytes of JSON, until an hour ends.
    pub(crate) fn stored(&self) -> usize {
        self.state.stored() + self.profile.as_ref().map_or(4, |_| Profile::STORED)
    }

    /// Counts a line. `is_active` says of an hour whether any line of the host is known from it. Returns whether
    /// an hour ended.
    #[inline]
    pub(crate) fn observe(&mut self, hour: i32, is_active: impl Fn(i32) -> bool) -> bool {
        let state = &mut self.state;
        if hour == state.hour {
            state.count = state.count.saturating_add(1);
            return false;
        }
        if state.hour == 0 {
            state.hour = hour;
        }
        // What comes late counts for the hour that is open; much later it says nothing of any.
        if hour + 1 < state.hour {
            return false;
        }
        let ends = self.state.hour < hour;
        self.advance(hour, is_active);
        self.state.count = self.state.count.saturating_add(1);
        ends
    }

    /// Closes all hours before `hour`.
    pub(crate) fn advance(&mut self, hour: i32, is_active: impl Fn(i32) -> bool) {
        if self.state.hour == 0 {
            return;
        }
        while self.state.hour < hour {
            if self.state.count > 0 || is_active(self.state.hour) {
                self.close();
            }
            self.state.count = 0;
            self.state.hour += 1;
            if hour - self.state.hour > MOST_HOURS {
                self.state.hour = hour;
                self.end_silence();
            }
        }
    }

    /// Says when lines were written that had no time of their own.
    pub(crate) fn begin(&mut self, hour: i32) {
        if self.state.hour == 0 && self.state.count > 0 {
            self.state.hour = hour;
        }
    }

    /// Goes back to `hour` where the open one is later: a clock was wrong.
    pub(crate) fn not_after(&mut self, hour: i32) {
        if self.state.hour > hour {
            self.state.hour = hour;
        }
    }

    /// What is out of the ordinary: a burst in the open hour, or in one that was closed since this was asked last, or in the
    /// last one of all; and silence, for as long as it lasts.
    pub(crate) fn take_odd(&mut self) -> [Option<OddRate>; 2] {
        let state = &self.state;
        let before = state.burst.map(|(surprise, expected, seen)| OddRate {
            direction: Direction::Burst,
            surprise,
            expected,
            seen,
            hour: state.hour - 1,
            hours: 1,
        });
        let open = self.burst(&self.expect(state.hour));
        let silence = (state.silent > 0 && state.silence > 0.0).then(|| self.silence());
        let worst = self.worst.take();
        let more = |a: &OddRate, b: &OddRate| a.surprise.total_cmp(&b.surprise);
        let burst = [before, open, worst.filter(|odd| odd.direction == Direction::Burst)];
        let silence = [silence, worst.filter(|odd| odd.direction == Direction::Silence)];
        [burst.into_iter().flatten().max_by(more), silence.into_iter().flatten().max_by(more)]
    }

    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    fn burst(&self, expectation: &Expectation) -> Option<OddRate> {
        let state = &self.state;
        let judged = expectation.known || state.hours >= HOURS_WITHOUT_PROFILE;
        // An hour that never had a line may have one some time.
        let mean = expectation.mean.max(f64::from(state.level) / 20.0).max(0.05);
        let surprise = if judged && state.count >= LEAST_BURST && f64::from(state.count) > mean {
            surprise_of_at_least(state.count, mean, expectation.dispersion)
        } else {
            0.0
        };
        (surprise > 0.0).then_some(OddRate {
            direction: Direction::Burst,
            surprise: surprise as f32,
            expected: expectation.mean as f32,
            seen: state.count,
            hour: state.hour,
            hours: 1,
        })
    }

    fn silence(&self) -> OddRate {
        let State { silence, missing, silent, hour, .. } = self.state;
        OddRate {
            direction: Direction::Silence,
            surprise: if self.is_job() { silence + NOT_A_JOB } else { silence },
            expected: missing,
            seen: 0,
            hour: hour - i32::from(silent),
            hours: silent,
        }
    }

    /// Whether it comes at few times of a day or a week.
    fn is_job(&self) -> bool {
        self.state.due > 0 && self.state.due < self.state.hours / JOB_SHARE
    }

    fn expect(&self, hour: i32) -> Expectation {
        let state = &self.state;
        let level = f64::from(state.level);
        let unknown =
            Expectation { mean: level, dispersion: UNKNOWN_DISPERSION, base: level, known: false };
        let Some((profile, cell)) =
            self.profile.as_ref().and_then(|profile| Some((profile, profile.mean(hour)?)))
        else {
            return unknown;
        };
        let weeks = f64::from((hour - state.since) / 168).clamp(1.0, 6.0);
        let prior = profile.mean_of_similar(hour).unwrap_or(cell);
        let base = (weeks * cell + SIMILAR * prior) / (weeks + SIMILAR);
        let trend =
            (f64::from(state.seen) + TREND_PRIOR) / (f64::from(state.expected) + TREND_PRIOR);
        let own = (f64::from(state.noise) + PRIOR_SQUARES * PRIOR_DISPERSION)
            / (f64::from(state.squares) + PRIOR_SQUARES);
        Expectation {
            mean: base * trend.clamp(0.1, 10.0),
            // A mean of few weeks is a guess itself.
            dispersion: own.max(0.0) + GUESSED / (weeks + 1.0),
            base,
            known: true,
        }
    }

    /// Judges the open hour, then learns from it.
    fn close(&mut self) {
        let expectation = self.expect(self.state.hour);
        let burst = self.burst(&expectation);
        self.note(burst);
        self.state.burst = burst.map(|odd| (odd.surprise, odd.expected, odd.seen));
        if self.state.count > 0 {
            self.end_silence();
        } else {
            self.be_silent(&expectation);
        }
        let gone = self.state.silent >= GONE && self.state.silence >= SILENT;
        if gone {
            // Learning begins again with the next line.
            *self = Self { worst: self.worst, ..Self::default() };
            return;
        }
        if self.state.silence < SILENT {
            self.learn(&expectation);
        }
    }

    fn note(&mut self, odd: Option<OddRate>) {
        let before = self.worst.map_or(0.0, |worst| worst.surprise);
        if let Some(odd) = odd.filter(|odd| odd.surprise > before) {
            self.worst = Some(odd);
        }
    }

    fn end_silence(&mut self) {
        if self.state.silent > 0 && self.state.silence >= SILENT {
            let silence = self.silence();
            self.note(Some(silence));
        }
        (self.state.silent, self.state.silence, self.state.missing) = (0, 0.0, 0.0);
    }

    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    fn be_silent(&mut self, expectation: &Expectation) {
        if !expectation.known {
            return;
        }
        let state = &mut self.state;
        let mut surprise = surprise_of_none(expectation.mean, expectation.dispersion);
        if is_due(expectation) {
            // How reliably it came when it was due says more of what comes on the minute than any distribution.
            let missed = (f64::from(state.missed) + PRIOR_MISSES)
                / (f64::from(state.due) + 2.0 * PRIOR_MISSES);
            surprise = surprise.max(-missed.log10());
        }
        state.silent = state.silent.saturating_add(1);
        state.silence = (state.silence + surprise as f32).min(1e6);
        state.missing = (state.missing + expectation.mean as f32).min(1e12);
    }

    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    fn learn(&mut self, expectation: &Expectation) {
        let state = &mut self.state;
        let count = f64::from(state.count);
        let Expectation { mean, dispersion, base, known } = *expectation;
        // An hour far out of the ordinary moves nothing further than one that is just ordinary.
        let most = mean + 4.0 * (mean + dispersion * mean * mean).sqrt() + 2.0;
        let drawn_in =
            if known || state.hours >= HOURS_WITHOUT_PROFILE { count.min(most) } else { count };
        state.hours = state.hours.saturating_add(1);
        state.active = state.active.saturating_add(u16::from(state.count > 0));
        let share = 1.0 / f64::from(state.hours.min(336));
        state.level += ((drawn_in - f64::from(state.level)) * share) as f32;
        if known {
            state.seen = (f64::from(state.seen) * TREND_LEFT + drawn_in) as f32;
            state.expected = (f64::from(state.expected) * TREND_LEFT + base) as f32;
            let square = mean * mean;
            let noise = ((drawn_in - mean).powi(2) - mean).clamp(-square, 25.0 * (mean + square));
            state.noise = (f64::from(state.noise) * DISPERSION_LEFT + noise).max(0.0) as f32;
            state.squares = (f64::from(state.squares) * DISPERSION_LEFT + square) as f32;
            if is_due(expectation) {
                state.due += 1;
                state.missed += u32::from(state.count == 0);
                if state.due >= MOST_DUE {
                    (state.due, state.missed) = (state.due / 2, state.missed / 2);
                }
            }
        }
        if self.profile.is_none() && state.active >= ACTIVE_FOR_PROFILE {
            self.profile = Some(Profile::default());
            state.since = state.hour;
        }
        if let Some(profile) = &mut self.profile {
            let weeks = f64::from((state.hour - state.since) / 168);
            profile.learn(state.hour, drawn_in, 1.0 / (weeks + 1.0).min(6.0));
        }
    }

    /// Of templates that become one: that of most lines, all its means scaled to the lines of all.
    #[allow(clippy::cast_possible_truncation, reason = "six digits are enough")]
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let mut state = self.state;
        let scaled = |number: f32| (f64::from(number) * factor) as f32;
        (state.level, state.seen, state.expected) =
            (scaled(state.level), scaled(state.seen), scaled(state.expected));
        Self {
            state,
            profile: self.profile.map(|profile| profile.scaled(factor)),
            worst: self.worst,
        }
    }

    /// Adds what another has counted in the hour that both are in.
    pub(crate) fn add_open(&mut self, other: &Self) {
        if other.state.hour > self.state.hour {
            (self.state.hour, self.state.count) = (other.state.hour, other.state.count);
        } else if other.state.hour == self.state.hour {
            self.state.count = self.state.count.saturating_add(other.state.count);
        }
    }
}

impl State {
    fn stored(&self) -> usize {
        let digits =
            |number: u32| usize::try_from(number.checked_ilog10().unwrap_or(0)).unwrap_or(9) + 1;
        let ([hour, since], counts, [active, silent], bits, burst) = Stored::from(self.clone());
        // The count of the open hour has room to grow.
        let [_, rest @ ..] = counts;
        let small = [hour.unsigned_abs(), since.unsigned_abs(), active.into(), silent.into()];
        let numbers = small.into_iter().chain(rest).chain(bits).chain(burst.into_iter().flatten());
        numbers.map(|number| digits(number) + 1).sum::<usize>() + 11 + 20
    }

    pub(crate) fn is_sound(&self) -> bool {
        [self.level, self.seen, self.expected, self.noise, self.squares, self.silence, self.missing]
            .iter()
            .all(|number| number.is_finite() && *number >= 0.0)
    }
}

fn is_due(expectation: &Expectation) -> bool {
    expectation.known && expectation.mean >= 0.5
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        let State { level, seen, expected, noise, squares, silence, missing, .. } = state;
        (
            [state.hour, state.since],
            [state.count, state.hours, state.due, state.missed],
            [state.active, state.silent],
            [level, seen, expected, noise, squares, silence, missing].map(f32::to_bits),
            state
                .burst
                .map(|(surprise, expected, seen)| [surprise.to_bits(), expected.to_bits(), seen]),
        )
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let ([hour, since], [count, hours, due, missed], [active, silent], bits, burst) = stored;
        let [level, seen, expected, noise, squares, silence, missing] = bits.map(f32::from_bits);
        let float = f32::from_bits;
        let burst =
            burst.map(|[surprise, expected, seen]| (float(surprise), float(expected), seen));
        Self {
            hour,
            count,
            hours,
            active,
            level,
            since,
            seen,
            expected,
            noise,
            squares,
            due,
            missed,
            silent,
            silence,
            missing,
            burst,
        }
    }
}

#[cfg(test)]
mod tests;
