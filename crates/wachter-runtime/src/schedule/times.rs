use jiff::{SignedDuration, Timestamp};
use wachter_config::{Schedule, Spread, Trigger, Window};
use wachter_model::Duration;

/// The ticks of one agent: those of its schedule, moved into its window and spread by its jitter.
///
/// Each tick has a base: its own time where the window is open, and the next opening where it is not.
/// Ticks with the same base are one, named by the latest. It is due at its base and up to the jitter
/// later, but always before the next base and before the window closes, so the order stays.
#[derive(Clone, Debug)]
pub struct Times {
    schedule: Schedule,
    window: Option<Window>,
    spread: Spread,
}

/// One tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// The time that the schedule named.
    pub(super) scheduled_for: Timestamp,
    /// When it is due.
    pub(super) due: Timestamp,
    /// Whether the window moved it.
    pub(super) deferred: bool,
}

/// The least time between two points in time.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

impl Times {
    /// Of their parts. `spread` sets agents and nodes apart, or makes nodes agree.
    #[must_use]
    pub fn new(schedule: Schedule, window: Option<Window>, spread: Spread) -> Self {
        Self { schedule, window, spread }
    }

    /// The schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// When the ticks after `after` are due, without end; what a person is shown.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        let mut last = after;
        std::iter::from_fn(move || {
            let point = self.next(last)?;
            last = point.scheduled_for;
            Some(point.due)
        })
    }

    /// The first tick of which the schedule says more than `after`.
    pub(super) fn next(&self, after: Timestamp) -> Option<Point> {
        let tick = self.schedule.next_after(self.spread, after)?;
        let base = self.opening(tick)?;
        let scheduled_for = if base == tick { tick } else { self.latest(base)? };
        Some(Point { scheduled_for, due: self.due_from(base)?, deferred: scheduled_for != base })
    }

    /// The last tick of the schedule at or before `at`.
    pub(super) fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        self.schedule.latest_before(self.spread, at.checked_add(INSTANT).ok()?)
    }

    /// The ticks after `after` that are due at `now`, the oldest first: the latest `most` of those whose
    /// jitter is over, before those of a window are made one. None only where none is due.
    pub(super) fn backlog(&self, after: Timestamp, now: Timestamp, most: usize) -> Vec<Point> {
        let mut oldest = None;
        let mut before = self.due_before(after, now);
        for _ in 0..most {
            let tick = before.and_then(|at| self.schedule.latest_before(self.spread, at));
            let Some(tick) = tick.filter(|tick| *tick > after) else { break };
            (oldest, before) = (Some(tick), Some(tick));
        }
        let Some(oldest) = oldest else { return Vec::new() };
        let mut last = oldest.checked_sub(INSTANT).unwrap_or(after);
        let points = std::iter::from_fn(|| {
            let point = self.next(last).filter(|point| point.due <= now)?;
            last = point.scheduled_for;
            Some(point)
        });
        points.collect()
    }

    /// The moment before which every tick after `after` is due at `now`. Each is due before the next
    /// base, so those that are not have one base in common, and it is the last.
    fn due_before(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let latest = self.latest(now)?;
        let base = self.opening(latest)?;
        if self.due_from(base)? <= now {
            return now.checked_add(INSTANT).ok();
        }
        if self.opening(base.checked_sub(INSTANT).ok()?)? != base {
            return Some(base);
        }
        // The window opens at the base; how many ticks fell into the time before does not matter. It
        // opens and closes on whole seconds.
        let (mut open, mut closed) = (after.as_second(), base.as_second());
        while closed - open > 1 {
            let middle = open + (closed - open) / 2;
            match self.opening(Timestamp::from_second(middle).ok()?)? == base {
                true => closed = middle,
                false => open = middle,
            }
        }
        Timestamp::from_second(closed).ok()
    }

    /// When whatever waits at `now` may go on: at once, or when the window has opened.
    pub(super) fn open_from(&self, now: Timestamp) -> Option<Timestamp> {
        match self.opening(now)? {
            opening if opening == now => Some(now),
            opening => self.due_from(opening),
        }
    }

    /// The trigger in words: as long as they are the same, ticks go on from the last one.
    pub(super) fn trigger(&self) -> String {
        match self.schedule.trigger() {
            Trigger::Every(every) => format!("every {}", every.interval()),
            Trigger::Cron { cron, timezone } => format!("cron {cron} {timezone}"),
        }
    }

    fn opening(&self, at: Timestamp) -> Option<Timestamp> {
        self.window.as_ref().map_or(Some(at), |window| window.opening(at))
    }

    /// When the tick with this base is due.
    fn due_from(&self, base: Timestamp) -> Option<Timestamp> {
        if self.schedule.jitter().as_millis() == 0 {
            return Some(base);
        }
        let next = self.schedule.next_after(self.spread, base).and_then(|tick| self.opening(tick));
        let closing = self.window.as_ref().and_then(|window| window.closing(base));
        let room = next.into_iter().chain(closing).min().map_or(u64::MAX, |end| {
            // Neither comes before the base.
            u64::try_from(end.duration_since(base).as_millis()).unwrap_or(0)
        });
        let jitter = self.schedule.jitter().min(Duration::from_millis(room));
        let late = self.spread.jitter(base, jitter).to_std();
        base.checked_add(late).ok()
    }
}
