use croner::parser::{CronParser, Seconds};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::{Cron, Every, ParseCronError, Spread, Zone};
use super::{ZONES, at, zone};
use wachter_model::Duration;

/// The ticks after `after` are these, and going back from the last one they are the same.
fn check(cron: &str, zone_name: &str, after: &str, expected: &[&str]) {
    let (zone, expression) = (zone(zone_name), cron.parse::<Cron>().unwrap());
    let (mut found, mut tick) = (Vec::new(), at(after));
    for _ in expected {
        tick = expression.next_after(&zone, tick).unwrap();
        found.push(tick);
    }
    let expected: Vec<Timestamp> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(found, expected, "`{cron}` in {zone_name}");
    let mut back = Vec::from([tick]);
    for _ in 1..expected.len() {
        tick = expression.latest_before(&zone, tick).unwrap();
        back.insert(0, tick);
    }
    assert_eq!(back, expected, "`{cron}` in {zone_name}, backwards");
}

#[test]
fn a_gap_is_made_up_for_by_fixed_times_alone() {
    for (cron, zone, after, expected) in [
        // 02:00 to 03:00 is not shown: the time it swallows happens at its end.
        (
            "30 2 * * *",
            "Europe/Amsterdam",
            "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        ),
        // Half an hour, from 02:00 to 02:30.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
        ),
        // At the end of Ramadan.
        (
            "30 2 * * *",
            "Africa/Casablanca",
            "2026-03-21T12:00:00Z",
            ["2026-03-22T02:00:00Z", "2026-03-23T01:30:00Z"],
        ),
        // Two that fall together are one, and so is one that falls upon the next.
        (
            "10,40 2 * * *",
            "Europe/Amsterdam",
            "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:10:00Z"],
        ),
        (
            "0 2,3 * * *",
            "America/New_York",
            "2026-03-08T00:00:00Z",
            ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"],
        ),
        // Ranges name times as lists do; croner would count them as intervals.
        (
            "0 1-2 * * *",
            "America/New_York",
            "2026-03-08T00:00:00Z",
            ["2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"],
        ),
        // An interval has no tick in what is not shown, and none to make up for.
        (
            "*/30 2 * * *",
            "Europe/Amsterdam",
            "2026-03-28T12:00:00Z",
            ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"],
        ),
        (
            "*/30 * * * *",
            "Europe/Amsterdam",
            "2026-03-29T00:30:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
        ),
        (
            "15 */2 * * *",
            "Europe/Amsterdam",
            "2026-03-28T23:30:00Z",
            ["2026-03-29T02:15:00Z", "2026-03-29T04:15:00Z"],
        ),
    ] {
        check(cron, zone, after, &expected);
    }
}

#[test]
fn an_overlap_is_gone_through_twice_by_intervals_alone() {
    for (cron, zone, after, expected) in [
        (
            "30 2 * * *",
            "Europe/Amsterdam",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z"],
        ),
        // After a start in the second half, the first is not made up for.
        (
            "30 2 * * *",
            "Europe/Amsterdam",
            "2026-10-25T01:10:00Z",
            ["2026-10-26T01:30:00Z", "2026-10-27T01:30:00Z", "2026-10-28T01:30:00Z"],
        ),
        (
            "0 1,2,3 * * *",
            "America/New_York",
            "2026-11-01T04:30:00Z",
            ["2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z", "2026-11-01T08:00:00Z"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z", "2026-04-06T15:15:00Z"],
        ),
        (
            "30 2 * * *",
            "Africa/Casablanca",
            "2026-02-14T12:00:00Z",
            ["2026-02-15T01:30:00Z", "2026-02-16T02:30:00Z", "2026-02-17T02:30:00Z"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Amsterdam",
            "2026-10-25T00:10:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"],
        ),
        (
            "10,40 2 * * *",
            "Europe/Amsterdam",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T00:10:00Z", "2026-10-25T00:40:00Z", "2026-10-26T01:10:00Z"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Amsterdam",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-26T01:00:00Z"],
        ),
        (
            "15 */2 * * *",
            "Europe/Amsterdam",
            "2026-10-25T00:00:00Z",
            ["2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z", "2026-10-25T03:15:00Z"],
        ),
        (
            "0 * * * *",
            "America/New_York",
            "2026-11-01T04:30:00Z",
            ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
        ),
        (
            "@hourly",
            "Europe/Amsterdam",
            "2026-10-25T00:00:00Z",
            ["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"],
        ),
    ] {
        check(cron, zone, after, &expected);
    }
}

#[test]
fn the_calendar() {
    for (cron, zone, after, expected) in [
        (
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        ),
        (
            "0 0 29 2 *",
            "UTC",
            "2095-01-01T00:00:00Z",
            ["2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"],
        ),
        // An interval that is years away in a zone with two changes a year.
        (
            "30 */20 29 2 *",
            "Europe/Amsterdam",
            "2026-01-01T00:00:00Z",
            ["2028-02-28T23:30:00Z", "2028-02-29T19:30:00Z"],
        ),
        (
            "0 0 31 * *",
            "UTC",
            "2026-01-31T00:00:00Z",
            ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"],
        ),
        (
            "0 0 L * *",
            "UTC",
            "2026-01-31T00:00:00Z",
            ["2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"],
        ),
        (
            "59 59 23 31 12 *",
            "Asia/Kolkata",
            "2026-12-31T00:00:00Z",
            ["2026-12-31T18:29:59Z", "2027-12-31T18:29:59Z"],
        ),
        (
            "0 0 1 1 *",
            "Europe/Amsterdam",
            "2026-12-31T22:59:59Z",
            ["2026-12-31T23:00:00Z", "2027-12-31T23:00:00Z"],
        ),
        (
            "30 5 * * *",
            "Asia/Kolkata",
            "2026-11-22T00:00:00Z",
            ["2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"],
        ),
        // Both days: either is enough, as crontab(5) has it. 13 November 2026 is a Friday.
        (
            "0 0 14 * FRI",
            "UTC",
            "2026-11-12T00:00:00Z",
            ["2026-11-13T00:00:00Z", "2026-11-14T00:00:00Z"],
        ),
        (
            "0 0 * * 0",
            "UTC",
            "2026-11-22T00:00:00Z",
            ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"],
        ),
        (
            "0 0 * * 7",
            "UTC",
            "2026-11-22T00:00:00Z",
            ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"],
        ),
        (
            "0 9 * * 5#2",
            "UTC",
            "2026-11-01T00:00:00Z",
            ["2026-11-13T09:00:00Z", "2026-12-11T09:00:00Z"],
        ),
        (
            "*/20 * * * * *",
            "UTC",
            "2026-11-22T00:00:00.5Z",
            ["2026-11-22T00:00:20Z", "2026-11-22T00:00:40Z"],
        ),
        (
            "@weekly",
            "UTC",
            "2026-11-22T00:00:00Z",
            ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"],
        ),
    ] {
        check(cron, zone, after, &expected);
    }
}

#[test]
fn a_moment_is_not_before_its_own_tick() {
    let (cron, zone) = ("0 * * * *".parse::<Cron>().unwrap(), Zone::default());
    let tick = at("2026-11-22T10:00:00Z");
    assert_eq!(cron.next_after(&zone, at("2026-11-22T09:59:59.999Z")), Some(tick));
    assert_eq!(cron.latest_before(&zone, at("2026-11-22T10:00:00.001Z")), Some(tick));
    assert_eq!(cron.next_after(&zone, tick), Some(at("2026-11-22T11:00:00Z")));
    assert_eq!(cron.latest_before(&zone, tick), Some(at("2026-11-22T09:00:00Z")));
}

/// What croner itself does with fixed times in a list, so that we notice when it comes to agree.
#[test]
fn croner_takes_lists_for_intervals() {
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    let cron = parser.parse("30 1,2 * * *").unwrap();
    let start = at("2026-03-28T12:00:00Z").in_tz("Europe/Amsterdam").unwrap();
    let ticks: Vec<_> = cron.iter_after(start).take(2).map(|tick| tick.timestamp()).collect();
    assert_eq!(ticks, [at("2026-03-29T00:30:00Z"), at("2026-03-29T23:30:00Z")]);
    check(
        "30 1,2 * * *",
        "Europe/Amsterdam",
        "2026-03-28T12:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"],
    );
}

/// Goes through time minute by minute and says what happens when.
fn naive(cron: &str, zone: &Zone, from: Timestamp, minutes: i64) -> Vec<Timestamp> {
    let pattern = CronParser::builder().seconds(Seconds::Optional).build().parse(cron).unwrap();
    let interval = cron.split_whitespace().take(2).any(|field| field.contains('*'));
    let matches = |shown: DateTime| pattern.is_time_matching(&shown).unwrap();
    let minute = SignedDuration::from_mins(1);
    let mut latest = zone.rules().to_datetime(from - minute);
    let mut ticks = Vec::new();
    for at in (0..minutes).map(|number| from + minute * i32::try_from(number).unwrap()) {
        let shown = zone.rules().to_datetime(at);
        if interval {
            ticks.extend(matches(shown).then_some(at));
            continue;
        }
        let mut due = false;
        while latest < shown {
            latest = latest.checked_add(minute).unwrap();
            due |= matches(latest);
        }
        ticks.extend(due.then_some(at));
    }
    ticks
}

fn field(most: u8, least: u8) -> impl Strategy<Value = String> {
    let number = least..=most;
    prop_oneof![
        3 => number.clone().prop_map(|number| number.to_string()),
        1 => Just("*".to_owned()),
        1 => (1..=most).prop_map(|step| format!("*/{step}")),
        1 => (number.clone(), number.clone())
            .prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (number.clone(), number).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Changes of offset, and times around them.
const CHANGES: [&str; 8] = [
    "2026-03-29T01:00:00Z",
    "2026-10-25T01:00:00Z",
    "2026-03-08T07:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-10-03T15:30:00Z",
    "2026-04-04T15:00:00Z",
    "2026-02-15T02:00:00Z",
    "2026-03-22T02:00:00Z",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_a_walk_through_every_minute(
        minute in field(59, 0),
        hour in prop_oneof![field(23, 0), field(4, 0)],
        day in prop_oneof![4 => Just("*".to_owned()), 1 => field(28, 1)],
        zone_name in prop::sample::select(ZONES.to_vec()),
        change in prop::sample::select(CHANGES.to_vec()),
        hours in -30_i64..6,
        seconds in 0_i64..60,
    ) {
        let cron = format!("{minute} {hour} {day} * *");
        let expression: Cron = cron.parse().unwrap();
        let zone = zone(zone_name);
        let from = at(change) + SignedDuration::from_hours(hours);
        let (minutes, end) = (60 * 40, from + SignedDuration::from_hours(40));
        // What the walk did not see before its start may be shown again after it.
        let expected = naive(&cron, &zone, from - SignedDuration::from_hours(6), minutes + 360);
        let expected: Vec<_> = expected.into_iter().filter(|tick| *tick > from).collect();
        let mut found = Vec::new();
        // Nor does it matter where in a second or a minute the search begins.
        let mut tick = from + SignedDuration::from_millis(seconds);
        while let Some(next) = expression.next_after(&zone, tick).filter(|next| *next < end) {
            found.push(next);
            tick = next;
        }
        prop_assert_eq!(&found, &expected, "{} in {}", cron, zone_name);
        let (mut back, mut tick) = (Vec::new(), end);
        while let Some(last) = expression.latest_before(&zone, tick).filter(|last| *last > from) {
            back.insert(0, last);
            tick = last;
        }
        prop_assert_eq!(&back, &expected, "{} in {}, backwards", cron, zone_name);
    }

    #[test]
    fn what_is_right_as_a_whole_has_no_wrong_field(
        fields in prop::collection::vec(
            prop_oneof![
                3 => "[*?]|[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}|[*0-9]{1,2}/[0-9]{1,2}|[0-9],[0-9]{1,2}",
                1 => "L|[0-9]{1,2}W|[0-9][#][0-9]|[0-9]L|MON|JAN|mon-fri|\\+[0-9]|é|LW|[0-9*,/#LW-]{1,5}",
            ],
            5..=6,
        ),
    ) {
        if fields.join(" ").parse::<Cron>().is_ok() {
            for place in 0..fields.len() {
                let mut alone = vec!["*"; fields.len()];
                alone[place] = &fields[place];
                let wrong = matches!(alone.join(" ").parse::<Cron>(), Err(ParseCronError::Field { .. }));
                prop_assert!(!wrong, "{:?}: {}", fields, fields[place]);
            }
        }
    }

    #[test]
    fn intervals_are_even_wherever_one_looks(
        millis in 100_u64..10_000_000_000,
        looked in -4_000_000_000_i64..8_000_000_000,
        nanos in 0_i32..1_000_000_000,
        agent in "[a-z]{1,8}",
    ) {
        let every = Every::new(Duration::from_millis(millis)).unwrap();
        let spread = Spread::of_fleet(&agent.parse().unwrap());
        let at = Timestamp::new(looked, nanos).unwrap();
        let next = every.next_after(spread, at).unwrap();
        let last = every.latest_before(spread, next).unwrap();
        prop_assert!(last <= at && at < next);
        prop_assert_eq!(next.as_millisecond() - last.as_millisecond(), i64::try_from(millis).unwrap());
        prop_assert_eq!(every.next_after(spread, last), Some(next));
    }
}
