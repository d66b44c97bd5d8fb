//! Random clocks and restarts against a list of all ticks.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use wachter_config::{Missed, Window};

use super::super::{AgentTimes, Due, Reason, Times, Timetable};
use super::timetable::{CATCH_UP, agent, at, times};

#[derive(Clone, Debug)]
enum Step {
    /// To the time of the next wake, and this much too late.
    Wake(u32),
    /// Ahead.
    Forward(u32),
    /// Back.
    Back(u32),
    /// The process ends, and another goes on from what was kept.
    Restart,
    /// The process ends before it kept anything since the last time it did.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u32..90).prop_map(Step::Wake),
        3 => (0_u32..40_000).prop_map(Step::Forward),
        2 => (1_u32..3_600).prop_map(Step::Back),
        2 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

const SCHEDULES: [&str; 6] = [
    r#""cron": "*/15 * * * *", "timezone": "Europe/Amsterdam""#,
    r#""cron": "30 2 * * *", "timezone": "Europe/Amsterdam""#,
    r#""cron": "10,40 1,2,3 * * *", "timezone": "America/New_York""#,
    r#""cron": "15 * * * *", "timezone": "Australia/Lord_Howe""#,
    r#""cron": "0 0 * * MON", "timezone": "Asia/Kolkata""#,
    r#""every": "17m""#,
];

/// Around changes of offset in each of these zones.
const STARTS: [&str; 4] = [
    "2026-03-28T21:07:00Z",
    "2026-10-24T20:11:13Z",
    "2026-11-01T01:00:00.25Z",
    "2026-04-04T10:00:00Z",
];

struct World {
    schedule: String,
    window: &'static str,
    now: Timestamp,
    latest: Timestamp,
    catch_up: u32,
    timetable: Timetable,
    kept: Option<AgentTimes>,
}

impl World {
    fn new(schedule: &str, window: &'static str, missed: &str, start: &str, catch_up: u32) -> Self {
        let schedule = format!(r#"{{{schedule}, "missed": "{missed}"}}"#);
        let mut world = Self {
            schedule,
            window,
            now: at(start),
            latest: at(start),
            catch_up,
            timetable: Timetable::new(catch_up),
            kept: None,
        };
        world.restart();
        world.keep();
        world
    }

    fn times(&self) -> Times {
        times(&self.schedule, self.window)
    }

    fn restart(&mut self) {
        self.timetable = Timetable::new(self.catch_up);
        let (times, kept) = (self.times(), self.kept.clone());
        self.timetable.declare(agent(), times, kept, self.now);
    }

    fn keep(&mut self) {
        self.kept = self.timetable.kept(&agent());
    }

    /// Moves the clock, and says whether what was handed out since the last keeping is forgotten.
    fn step(&mut self, step: &Step) -> bool {
        let seconds = |seconds: u32| SignedDuration::from_secs(i64::from(seconds));
        match step {
            Step::Wake(late) => {
                let wake = self.timetable.next_wake(self.now).unwrap();
                self.now = wake + seconds(*late);
            }
            Step::Forward(by) => self.now += seconds(*by),
            Step::Back(by) => {
                // Further back is a correction, of which the tables have cases.
                let earliest = self.latest - Timetable::REWIND;
                self.now = (self.now - seconds(*by)).max(earliest);
            }
            Step::Restart => {
                self.keep();
                self.restart();
            }
            Step::Crash => {
                self.restart();
                return true;
            }
        }
        self.latest = self.latest.max(self.now);
        false
    }
}

/// Every tick of a schedule without window and jitter, after `after` and up to `until`.
fn all(times: &Times, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    times.upcoming(after).take_while(|tick| *tick <= until).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn each_tick_is_accounted_for_once(
        schedule in prop::sample::select(SCHEDULES.to_vec()),
        missed in prop::sample::select(vec!["skip", "run-once", "run-all"]),
        start in prop::sample::select(STARTS.to_vec()),
        catch_up in prop::sample::select(vec![1, 2, 10, CATCH_UP]),
        steps in steps(),
    ) {
        let mut world = World::new(schedule, "null", missed, start, catch_up);
        let (begin, times) = (world.now, world.times());
        let first = schedule.contains("every");
        // What is handled for good, and up to where.
        let (mut upto, mut handled) = (begin, 0_usize);
        let mut begun = false;
        let (mut kept_upto, mut kept_handled, mut kept_begun) = (upto, handled, begun);
        for step in &steps {
            let forgotten = world.step(step);
            if matches!(step, Step::Restart) {
                (kept_upto, kept_handled, kept_begun) = (upto, handled, begun);
            }
            if forgotten {
                (upto, handled, begun) = (kept_upto, kept_handled, kept_begun);
            }
            let now = world.now;
            let expected = all(&times, upto, now);
            let begins = first && !begun;
            let next = times.upcoming(upto).next().unwrap();
            let wake = world.timetable.next_wake(now).unwrap();
            prop_assert_eq!(wake, if begins { now } else { next.max(now) });

            let Due { ticks, passed } = world.timetable.due(now);
            prop_assert_eq!(world.timetable.due(now), Due::default());
            if begins {
                prop_assert_eq!(ticks.len(), 1);
                prop_assert_eq!(ticks[0].reason, Reason::First);
                (begun, upto) = (true, upto.max(ticks[0].scheduled_for));
                handled = all(&times, begin, upto).len();
                continue;
            }
            let on_time = |tick: &Timestamp| now.duration_since(*tick) <= Timetable::GRACE;
            let most = usize::try_from(catch_up).unwrap();
            let looked_at = expected[expected.len().saturating_sub(most)..].to_vec();
            let given: Vec<_> = ticks.iter().map(|tick| tick.scheduled_for).collect();
            let count = u32::try_from(looked_at.len()).unwrap();
            match times.schedule().missed() {
                Missed::RunAll => {
                    prop_assert_eq!(&given, &looked_at);
                    prop_assert!(passed.is_empty());
                }
                Missed::RunOnce => {
                    prop_assert_eq!(&given, &looked_at.last().copied().into_iter().collect::<Vec<_>>());
                    for tick in &ticks {
                        let alone = count == 1 && on_time(&tick.scheduled_for);
                        let reason = if alone { Reason::Regular } else { Reason::Missed { count } };
                        prop_assert_eq!(tick.reason, reason);
                    }
                    prop_assert!(passed.is_empty());
                }
                Missed::Skip => {
                    let last = looked_at.last().copied().filter(|tick| on_time(tick));
                    prop_assert_eq!(&given, &last.into_iter().collect::<Vec<_>>());
                    let skipped: u32 = passed.iter().map(|passed| passed.count).sum();
                    prop_assert_eq!(skipped + u32::try_from(given.len()).unwrap(), count);
                }
            }
            handled += expected.len();
            upto = expected.last().copied().unwrap_or(upto);
            prop_assert_eq!(handled, all(&times, begin, upto).len());
        }
        prop_assert!(upto <= world.latest);
    }

    #[test]
    fn windows_and_jitter_are_kept_to(
        schedule in prop::sample::select(SCHEDULES.to_vec()),
        jitter in prop::sample::select(vec!["0s", "1m", "16m", "50m"]),
        missed in prop::sample::select(vec!["skip", "run-once", "run-all"]),
        window in prop::sample::select(vec![
            r#"{"allow": "Mon-Fri 22:00-05:00", "timezone": "Europe/Amsterdam"}"#,
            r#"{"allow": "01:30-02:15", "timezone": "America/New_York"}"#,
            r#"{"deny": "00:05-23:50", "timezone": "Australia/Lord_Howe"}"#,
            r#"{"allow": "Mon-Sun 00:00-24:00"}"#,
        ]),
        start in prop::sample::select(STARTS.to_vec()),
        catch_up in prop::sample::select(vec![1, 2, 10, CATCH_UP]),
        steps in steps(),
    ) {
        // The jitter of an interval is shorter than that.
        let jitter = if schedule.contains("17m") && jitter == "50m" { "16m" } else { jitter };
        let schedule = format!(r#"{schedule}, "jitter": "{jitter}""#);
        let mut world = World::new(&schedule, window, missed, start, catch_up);
        let open: Window = serde_json::from_str(window).unwrap();
        let plain = times(&format!("{{{}}}", schedule.split(", \"jitter\"").next().unwrap()), "null");
        let mut last = None;
        let mut kept = last;
        for step in &steps {
            let wake_step = matches!(step, Step::Wake(0));
            if world.step(step) {
                last = kept;
            }
            if matches!(step, Step::Restart) {
                kept = last;
            }
            let now = world.now;
            let wake = world.timetable.next_wake(now).unwrap();
            prop_assert!(wake >= now);
            let due = world.timetable.due(now);
            prop_assert!(wake == now || due == Due::default(), "{wake} {due:?}");
            prop_assert!(due.ticks.is_empty() || open.is_open(now));
            // What is planned is something: at the time of a wake, it is handed out or passed over.
            if wake_step && open.is_open(now) {
                prop_assert!(due != Due::default());
            }
            for tick in &due.ticks {
                let scheduled = tick.scheduled_for;
                prop_assert!(scheduled <= now);
                prop_assert!(
                    plain.latest(scheduled) == Some(scheduled),
                    "{scheduled} is no tick of the schedule"
                );
                if tick.reason == Reason::Regular {
                    prop_assert!(open.is_open(scheduled));
                }
                if tick.reason != Reason::First {
                    prop_assert!(last < Some(scheduled), "{last:?} then {scheduled}");
                    last = Some(scheduled);
                }
            }
            last = last.max(due.passed.iter().map(|passed| passed.latest).max());
            // Where something was handed out, nothing is left that is due, and what is not due yet is.
            let again = world.timetable.next_wake(now).unwrap();
            prop_assert!(again > now, "{again} at {now}");
            if due != Due::default() {
                let left = last.and_then(|last| world.times().next(last));
                prop_assert!(left.is_none_or(|point| point.due > now), "{left:?} at {now}");
            }
        }
    }
}
