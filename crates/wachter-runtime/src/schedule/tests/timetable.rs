use jiff::{SignedDuration, Timestamp};
use wachter_config::{Missed, Schedule, Spread, Window};
use wachter_model::AgentName;

use super::super::{AgentTimes, Reason, Times, Timetable};

/// How many missed ticks are looked at.
pub(super) const CATCH_UP: u32 = 100;

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn agent() -> AgentName {
    "backup".parse().unwrap()
}

fn spread() -> Spread {
    Spread::of_node(&"web-1".parse().unwrap(), &agent())
}

pub(super) fn times(schedule: &str, window: &str) -> Times {
    let schedule: Schedule = serde_json::from_str(schedule).unwrap();
    let window: Option<Window> = serde_json::from_str(window).unwrap();
    Times::new(schedule, window, spread())
}

/// What is handed out, as `HH:MM reason` with the day where it is not that of `day`.
fn due(timetable: &mut Timetable, now: Timestamp) -> Vec<String> {
    let due = timetable.due(now);
    let ticks = due.ticks.iter().map(|tick| {
        let reason = match tick.reason {
            Reason::First => "first".to_owned(),
            Reason::Regular => "regular".to_owned(),
            Reason::Deferred => "deferred".to_owned(),
            Reason::Missed { count } => format!("missed {count}"),
        };
        format!("{} {reason}", tick.scheduled_for)
    });
    let passed =
        due.passed.iter().map(|passed| format!("{} passed {}", passed.latest, passed.count));
    ticks.chain(passed).collect()
}

/// Declared at `start`, then asked at each of `steps`.
fn check(schedule: &str, window: &str, start: &str, steps: &[(&str, &[&str])]) {
    let mut timetable = Timetable::new(CATCH_UP);
    timetable.declare(agent(), times(schedule, window), None, at(start));
    for (now, expected) in steps {
        assert_eq!(due(&mut timetable, at(now)), *expected, "{schedule} at {now}");
        // Whoever starts anew from what was kept is where this one is.
        let kept = serde_json::to_string(&timetable.kept(&agent()).unwrap()).unwrap();
        let kept: AgentTimes = serde_json::from_str(&kept).unwrap();
        let mut restarted = Timetable::new(CATCH_UP);
        restarted.declare(agent(), times(schedule, window), Some(kept), at(now));
        assert_eq!(
            restarted.next_wake(at(now)),
            timetable.next_wake(at(now)),
            "{schedule} at {now}"
        );
        timetable = restarted;
    }
}

const HOURLY: &str = r#"{"cron": "0 * * * *", "missed": "run-all"}"#;
const DAILY_ONCE: &str = r#"{"cron": "0 3 * * *", "missed": "run-once"}"#;
const DAILY_SKIP: &str = r#"{"cron": "0 3 * * *", "missed": "skip"}"#;
const NONE: &str = "null";

#[test]
fn ticks_come_at_their_time_and_once() {
    check(
        HOURLY,
        NONE,
        "2026-11-22T09:30:00Z",
        &[
            ("2026-11-22T09:59:59.999Z", &[]),
            ("2026-11-22T10:00:00Z", &["2026-11-22T10:00:00Z regular"]),
            ("2026-11-22T10:00:00Z", &[]),
            ("2026-11-22T10:30:00Z", &[]),
            ("2026-11-22T11:00:59Z", &["2026-11-22T11:00:00Z regular"]),
        ],
    );
}

#[test]
fn what_was_missed() {
    check(
        HOURLY,
        NONE,
        "2026-11-22T09:30:00Z",
        &[(
            "2026-11-22T12:01:00Z",
            &[
                "2026-11-22T10:00:00Z missed 1",
                "2026-11-22T11:00:00Z missed 1",
                "2026-11-22T12:00:00Z regular",
            ],
        )],
    );
    check(
        DAILY_ONCE,
        NONE,
        "2026-11-01T09:30:00Z",
        &[
            ("2026-11-02T03:01:00.001Z", &["2026-11-02T03:00:00Z missed 1"]),
            ("2026-11-05T09:00:00Z", &["2026-11-05T03:00:00Z missed 3"]),
            ("2027-11-05T09:00:00Z", &["2027-11-05T03:00:00Z missed 100"]),
        ],
    );
    check(
        DAILY_SKIP,
        NONE,
        "2026-11-01T09:30:00Z",
        &[
            ("2026-11-05T09:00:00Z", &["2026-11-05T03:00:00Z passed 4"]),
            (
                "2026-11-07T03:00:30Z",
                &["2026-11-07T03:00:00Z regular", "2026-11-06T03:00:00Z passed 1"],
            ),
        ],
    );
}

#[test]
fn a_clock_that_goes_back_is_waited_for_up_to_three_hours() {
    check(
        HOURLY,
        NONE,
        "2026-11-22T09:30:00Z",
        &[
            ("2026-11-22T10:00:00Z", &["2026-11-22T10:00:00Z regular"]),
            ("2026-11-22T09:05:00Z", &[]),
            ("2026-11-22T10:00:00Z", &[]),
            ("2026-11-22T11:00:00Z", &["2026-11-22T11:00:00Z regular"]),
            ("2026-11-22T08:00:00Z", &[]),
            ("2026-11-22T11:00:10Z", &[]),
            // Three hours and a little: a correction.
            ("2026-11-22T07:59:59Z", &[]),
            ("2026-11-22T08:00:00Z", &["2026-11-22T08:00:00Z regular"]),
        ],
    );
    // A clock that was years ahead does not put an agent to sleep for years.
    check(
        DAILY_ONCE,
        NONE,
        "2026-11-22T09:30:00Z",
        &[
            ("2038-01-19T04:00:00Z", &["2038-01-19T03:00:00Z missed 100"]),
            ("2026-11-22T10:00:00Z", &[]),
            ("2026-11-23T03:00:00Z", &["2026-11-23T03:00:00Z regular"]),
        ],
    );
}

#[test]
fn a_change_of_offset_is_neither_missed_nor_doubled() {
    let schedule = r#"{"cron": "30 2 * * *", "timezone": "Europe/Amsterdam", "missed": "run-all"}"#;
    check(
        schedule,
        NONE,
        "2026-03-28T12:00:00Z",
        &[
            ("2026-03-29T00:30:00Z", &[]),
            ("2026-03-29T01:00:00Z", &["2026-03-29T01:00:00Z regular"]),
            ("2026-03-29T01:30:00Z", &[]),
            ("2026-03-30T00:30:00Z", &["2026-03-30T00:30:00Z regular"]),
        ],
    );
    check(
        schedule,
        NONE,
        "2026-10-24T12:00:00Z",
        &[
            ("2026-10-25T00:30:00Z", &["2026-10-25T00:30:00Z regular"]),
            ("2026-10-25T01:30:00Z", &[]),
            ("2026-10-26T01:30:00Z", &["2026-10-26T01:30:00Z regular"]),
        ],
    );
}

#[test]
fn outside_of_its_window_an_agent_waits_for_the_opening() {
    let window = r#"{"allow": "Mon-Fri 22:00-05:00"}"#;
    // 23 November 2026 is a Monday.
    check(
        HOURLY,
        window,
        "2026-11-23T04:30:00Z",
        &[
            ("2026-11-23T21:59:59Z", &[]),
            // Those of the day are one, and it is the one of the opening.
            ("2026-11-23T22:00:00Z", &["2026-11-23T22:00:00Z regular"]),
            ("2026-11-23T23:00:00Z", &["2026-11-23T23:00:00Z regular"]),
            (
                "2026-11-24T04:00:30Z",
                &[
                    "2026-11-24T00:00:00Z missed 1",
                    "2026-11-24T01:00:00Z missed 1",
                    "2026-11-24T02:00:00Z missed 1",
                    "2026-11-24T03:00:00Z missed 1",
                    "2026-11-24T04:00:00Z regular",
                ],
            ),
        ],
    );
    check(
        r#"{"cron": "0 20 * * *", "missed": "skip"}"#,
        window,
        "2026-11-27T12:00:00Z",
        &[
            ("2026-11-27T20:00:00Z", &[]),
            ("2026-11-27T22:00:00Z", &["2026-11-27T20:00:00Z deferred"]),
            // Saturday's and Sunday's wait for Monday night and are Monday's.
            ("2026-11-29T22:00:00Z", &[]),
            ("2026-11-30T22:00:00Z", &["2026-11-30T20:00:00Z deferred"]),
            // Later than the opening by more than a minute: missed.
            ("2026-12-01T23:00:00Z", &["2026-12-01T20:00:00Z passed 1"]),
        ],
    );
    // What was missed while the window was open is made up for when it opens again.
    check(
        r#"{"cron": "0 23 * * *"}"#,
        window,
        "2026-11-23T12:00:00Z",
        &[
            ("2026-11-24T05:00:00Z", &[]),
            ("2026-11-24T22:00:00Z", &["2026-11-23T23:00:00Z missed 1"]),
        ],
    );
}

#[test]
fn an_interval_begins_at_once_and_keeps_its_place() {
    let schedule = r#"{"every": "10m", "missed": "run-once"}"#;
    let (mut timetable, start) = (Timetable::new(CATCH_UP), at("2026-11-22T09:30:00Z"));
    timetable.declare(agent(), times(schedule, NONE), None, start);
    assert_eq!(timetable.next_wake(start), Some(start));
    let due = timetable.due(start);
    let [first] = &due.ticks[..] else { panic!("{due:?}") };
    assert_eq!(first.reason, Reason::First);
    let next = timetable.next_wake(start).unwrap();
    assert_eq!(next.duration_since(first.scheduled_for), SignedDuration::from_mins(10));

    // A restart does not begin anew, nor move anything.
    let kept = timetable.kept(&agent());
    let mut restarted = Timetable::new(CATCH_UP);
    restarted.declare(agent(), times(schedule, NONE), kept, start);
    assert_eq!(restarted.next_wake(start), Some(next));

    // One that was never run is new after a restart, too.
    let mut timetable = Timetable::new(CATCH_UP);
    timetable.declare(agent(), times(schedule, NONE), None, start);
    let kept = timetable.kept(&agent());
    let later = start + SignedDuration::from_hours(5);
    let mut restarted = Timetable::new(CATCH_UP);
    restarted.declare(agent(), times(schedule, NONE), kept, later);
    let due = restarted.due(later);
    assert_eq!(due.ticks.iter().map(|tick| tick.reason).collect::<Vec<_>>(), [Reason::First]);

    // In a closed window it begins when that opens.
    let window = r#"{"allow": "22:00-05:00"}"#;
    let mut timetable = Timetable::new(CATCH_UP);
    timetable.declare(agent(), times(schedule, window), None, start);
    assert_eq!(timetable.next_wake(start), Some(at("2026-11-22T22:00:00Z")));
    assert!(timetable.due(start).ticks.is_empty());
    let due = timetable.due(at("2026-11-22T22:00:00Z"));
    assert_eq!(due.ticks[0].reason, Reason::First);
}

#[test]
fn another_schedule_does_not_make_up_for_a_past_that_it_had_no_part_in() {
    let (mut timetable, start) = (Timetable::new(CATCH_UP), at("2026-11-22T09:30:00Z"));
    timetable.declare(agent(), times(DAILY_ONCE, NONE), None, start);
    let noon = r#"{"cron": "0 12 * * *"}"#;
    let now = at("2026-11-22T14:00:00Z");
    timetable.declare(agent(), times(noon, NONE), None, now);
    assert_eq!(due(&mut timetable, now), [""; 0]);
    assert_eq!(timetable.next_wake(now), Some(at("2026-11-23T12:00:00Z")));
    // Other jitter and another answer to what is missed change nothing about what was.
    let kept = timetable.kept(&agent());
    let now = at("2026-11-23T13:00:00Z");
    let all = r#"{"cron": "0 12 * * *", "missed": "run-all"}"#;
    let mut restarted = Timetable::new(CATCH_UP);
    restarted.declare(agent(), times(all, NONE), kept, now);
    assert_eq!(due(&mut restarted, now), ["2026-11-23T12:00:00Z missed 1"]);
}

#[test]
fn a_pause_is_not_made_up_for_and_survives() {
    let (mut timetable, start) = (Timetable::new(CATCH_UP), at("2026-11-22T09:30:00Z"));
    timetable.declare(agent(), times(HOURLY, NONE), None, start);
    assert!(timetable.pause(&agent()));
    assert!(!timetable.pause(&agent()));
    let kept = timetable.kept(&agent());
    let now = at("2026-11-22T12:30:00Z");
    let mut restarted = Timetable::new(CATCH_UP);
    restarted.declare(agent(), times(HOURLY, NONE), kept, now);
    assert_eq!((restarted.is_paused(&agent()), restarted.next_wake(now)), (Some(true), None));
    assert_eq!(due(&mut restarted, now), [""; 0]);
    assert!(restarted.resume(&agent(), now));
    assert!(!restarted.resume(&agent(), now));
    assert_eq!(restarted.next_wake(now), Some(at("2026-11-22T13:00:00Z")));
    restarted.forget(&agent());
    assert_eq!(restarted.next_wake(now), None);
    assert!(!restarted.pause(&agent()));
}

#[test]
fn jitter_is_the_same_each_time_and_stays_in_its_room() {
    let schedule = r#"{"cron": "0 * * * *", "jitter": "2h", "missed": "run-all"}"#;
    let (mut timetable, start) = (Timetable::new(CATCH_UP), at("2026-11-22T09:30:00Z"));
    timetable.declare(agent(), times(schedule, NONE), None, start);
    let again: Vec<_> = times(schedule, NONE).upcoming(start).take(50).collect();
    let (mut now, mut late) = (start, Vec::new());
    for expected in again {
        now = timetable.next_wake(now).unwrap();
        assert_eq!(now, expected);
        let due = timetable.due(now);
        let [tick] = &due.ticks[..] else { panic!("{due:?}") };
        assert_eq!(tick.reason, Reason::Regular);
        late.push(now.duration_since(tick.scheduled_for).as_mins());
    }
    // Never into the next hour, and all over this one.
    assert!(late.iter().all(|late| (0..60).contains(late)), "{late:?}");
    assert!(late.iter().min() < Some(&10) && late.iter().max() > Some(&50), "{late:?}");
}

#[test]
fn a_tick_whose_jitter_is_not_over_keeps_no_missed_one_back() {
    // Two were missed, and the latest tick is not due yet: of one that may be made up for, it is no part.
    let schedule = r#"{"cron": "0 * * * *", "jitter": "50m"}"#;
    let (mut timetable, start) = (Timetable::new(1), at("2026-11-22T09:30:00Z"));
    timetable.declare(agent(), times(schedule, NONE), None, start);
    let (now, noon) = (at("2026-11-22T12:00:01Z"), at("2026-11-22T12:00:00Z"));
    let late = times(schedule, NONE).upcoming(noon - SignedDuration::from_secs(1)).next().unwrap();
    assert!(late > now);
    assert_eq!(due(&mut timetable, now), ["2026-11-22T11:00:00Z missed 1"]);
    assert_eq!(timetable.next_wake(now), Some(late));
    assert_eq!(due(&mut timetable, late), ["2026-11-22T12:00:00Z regular"]);
}

#[test]
fn an_opening_whose_jitter_is_not_over_keeps_nothing_back_either() {
    // Asleep from 17:30 until just after the window opened: all of the night's ticks are the opening's.
    let schedule = r#"{"every": "5m", "jitter": "1m", "missed": "run-all"}"#;
    let window = r#"{"allow": "08:00-18:00"}"#;
    for catch_up in [1, 3, 10] {
        let (mut timetable, start) = (Timetable::new(catch_up), at("2026-11-22T17:30:00Z"));
        timetable.declare(agent(), times(schedule, window), None, start);
        assert_eq!(timetable.due(start).ticks.len(), 1);
        let opening = at("2026-11-23T08:00:00Z");
        let point = times(schedule, window).next(opening - SignedDuration::from_mins(6)).unwrap();
        let now = point.due - SignedDuration::from_millis(1);
        assert!(now > opening && point.scheduled_for < opening, "{point:?}");
        let ticks = timetable.due(now).ticks;
        let count = usize::try_from(catch_up).unwrap().min(5);
        assert!((count..=count + 1).contains(&ticks.len()), "{catch_up}: {ticks:?}");
        let closing = at("2026-11-22T18:00:00Z");
        assert!(ticks.iter().all(|tick| tick.scheduled_for < closing), "{ticks:?}");
        assert!(timetable.next_wake(now).unwrap() > now);
        let ticks = timetable.due(point.due).ticks;
        assert_eq!((ticks.len(), ticks[0].scheduled_for), (1, point.scheduled_for));
    }
}

#[test]
fn a_tick_at_the_opening_is_one_with_those_before_it() {
    let schedule = r#"{"cron": "*/15 * * * *", "jitter": "16m"}"#;
    let window = r#"{"allow": "01:30-02:15"}"#;
    let (mut timetable, start) = (Timetable::new(1), at("2026-11-22T01:30:00Z"));
    timetable.declare(agent(), times(schedule, window), None, start);
    let opening = at("2026-11-23T01:30:00Z");
    let late = times(schedule, window).next(opening - SignedDuration::from_secs(1)).unwrap().due;
    let now = late - SignedDuration::from_millis(1);
    assert!(now > opening);
    assert_eq!(due(&mut timetable, now), ["2026-11-22T02:00:00Z missed 1"]);
    assert_eq!(due(&mut timetable, late), ["2026-11-23T01:30:00Z regular"]);
}

#[test]
fn jitter_ends_before_the_window_does() {
    let schedule = r#"{"cron": "0 * * * *", "jitter": "50m"}"#;
    let window = r#"{"allow": "22:00-22:05"}"#;
    for due in times(schedule, window).upcoming(at("2026-11-22T09:30:00Z")).take(50) {
        let late = due.duration_since(at("2026-11-22T22:00:00Z")).as_mins() % (24 * 60);
        assert!((0..5).contains(&late), "{due}");
    }
}

#[test]
fn as_much_is_made_up_for_as_is_wanted() {
    for (catch_up, expected) in [(0, 1), (1, 1), (3, 3), (5_000, 1_000)] {
        let (mut timetable, start) = (Timetable::new(catch_up), at("2026-01-01T09:30:00Z"));
        timetable.declare(agent(), times(HOURLY, NONE), None, start);
        let ticks = timetable.due(at("2026-11-25T12:30:00Z")).ticks;
        assert_eq!(
            (ticks.len(), ticks.last().unwrap().scheduled_for),
            (expected, at("2026-11-25T12:00:00Z"))
        );
    }
}

#[test]
fn one_call_is_bounded_and_the_next_goes_on() {
    let (mut timetable, start) = (Timetable::new(CATCH_UP), at("2026-11-22T09:30:00Z"));
    for number in 0..50 {
        let name = format!("agent-{number}").parse().unwrap();
        timetable.declare(name, times(HOURLY, NONE), None, start);
    }
    let now = at("2026-11-25T12:30:00Z");
    let (mut calls, mut ticks) = (0, Vec::new());
    while timetable.next_wake(now) == Some(now) {
        let due = timetable.due(now);
        assert!(due.ticks.len() < Timetable::MOST_AT_ONCE + 100);
        ticks.extend(due.ticks);
        calls += 1;
    }
    assert_eq!((calls, ticks.len()), (4, 50 * 75));
    assert!(times(HOURLY, NONE).schedule().missed() == Missed::RunAll);
}
