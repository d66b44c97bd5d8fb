use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::{WeekRanges, Window};
use super::{ZONES, at, zone};

fn window(allow: &str, deny: &str, zone_name: &str) -> Window {
    let ranges = |text: &str| (!text.is_empty()).then(|| text.parse::<WeekRanges>().unwrap());
    Window::new(ranges(allow), ranges(deny), zone(zone_name)).unwrap()
}

#[test]
fn opens_and_closes() {
    // 22 November 2026 is a Sunday.
    for (allow, deny, zone, from, opening, closing) in [
        // Friday night reaches into Saturday; Sunday night does not exist.
        (
            "Mon-Fri 22:00-05:00",
            "",
            "UTC",
            "2026-11-22T23:00:00Z",
            "2026-11-23T22:00:00Z",
            "2026-11-24T05:00:00Z",
        ),
        (
            "Mon-Fri 22:00-05:00",
            "",
            "UTC",
            "2026-11-28T04:59:59.9Z",
            "2026-11-28T04:59:59.9Z",
            "2026-11-28T05:00:00Z",
        ),
        // Days wrap, and so does the week.
        (
            "Sat-Mon",
            "",
            "UTC",
            "2026-11-24T00:00:00Z",
            "2026-11-28T00:00:00Z",
            "2026-12-01T00:00:00Z",
        ),
        (
            "Sun 20:00-04:00",
            "",
            "UTC",
            "2026-11-22T21:00:00Z",
            "2026-11-22T21:00:00Z",
            "2026-11-23T04:00:00Z",
        ),
        (
            "Mon 08:00-12:00, Mon 12:00-24:00",
            "",
            "UTC",
            "2026-11-22T21:00:00Z",
            "2026-11-23T08:00:00Z",
            "2026-11-24T00:00:00Z",
        ),
        (
            "",
            "Mon-Fri 08:00-18:00",
            "Europe/Amsterdam",
            "2026-11-23T07:00:00Z",
            "2026-11-23T17:00:00Z",
            "2026-11-24T07:00:00Z",
        ),
        (
            "Mon-Sun 06:00-09:00",
            "Wed",
            "UTC",
            "2026-11-24T09:00:00Z",
            "2026-11-26T06:00:00Z",
            "2026-11-26T09:00:00Z",
        ),
        // The opening lies in the gap from 02:00 to 03:00: it opens where the clock goes on.
        (
            "02:30-04:00",
            "",
            "Europe/Amsterdam",
            "2026-03-29T00:59:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T02:00:00Z",
        ),
        // All of it lies there: not on that day.
        (
            "02:10-02:50",
            "",
            "Europe/Amsterdam",
            "2026-03-29T00:30:00Z",
            "2026-03-30T00:10:00Z",
            "2026-03-30T00:50:00Z",
        ),
        // 02:00 to 03:00 is shown twice: open twice.
        (
            "02:15-02:45",
            "",
            "Europe/Amsterdam",
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:15:00Z",
            "2026-10-25T01:45:00Z",
        ),
        (
            "02:30-04:00",
            "",
            "Europe/Amsterdam",
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
        ),
        (
            "02:30-04:00",
            "",
            "Europe/Amsterdam",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T03:00:00Z",
        ),
        (
            "01:00-02:30",
            "",
            "Europe/Amsterdam",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
        ),
    ] {
        let window = window(allow, deny, zone);
        let opens = window.opening(at(from)).unwrap();
        let found = (opens, window.closing(opens).unwrap());
        assert_eq!(found, (at(opening), at(closing)), "{allow} without {deny}, {zone}, {from}");
    }
}

#[test]
fn always_open_never_closes() {
    let window = window("Mon-Sun", "", "UTC");
    let now = at("2026-11-22T00:00:00Z");
    assert_eq!((window.opening(now), window.closing(now)), (Some(now), None));
}

fn ranges() -> impl Strategy<Value = String> {
    let day = || prop::sample::select(vec!["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]);
    let range = (day(), day(), 0_u8..24, 0_u8..60, 0_u8..24, 0_u8..60)
        .prop_filter("no time", |(_, _, h1, m1, h2, m2)| (h1, m1) != (h2, m2))
        .prop_map(|(a, b, h1, m1, h2, m2)| format!("{a}-{b} {h1:02}:{m1:02}-{h2:02}:{m2:02}"));
    prop::collection::vec(range, 1..3).prop_map(|ranges| ranges.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_a_walk_through_every_minute(
        allow in ranges(),
        deny in prop::option::of(ranges()),
        zone_name in prop::sample::select(ZONES.to_vec()),
        week in 0_i64..60,
        minute in 0_i64..10_080,
        second in 0_i64..60,
    ) {
        let parsed = |text: &String| text.parse::<WeekRanges>().unwrap();
        let built = Window::new(Some(parsed(&allow)), deny.as_ref().map(parsed), zone(zone_name));
        let Ok(window) = built else { return Ok(()) };
        let minute = SignedDuration::from_mins(week * 10_080 + minute);
        let from = at("2026-01-01T00:00:00Z") + minute + SignedDuration::from_secs(second);
        let first = |open: bool| {
            if window.is_open(from) == open {
                return Some(from);
            }
            let whole = from.as_second().div_euclid(60) * 60;
            (1..=3 * 10_080)
                .map(|number| Timestamp::from_second(whole + number * 60).unwrap())
                .find(|at| window.is_open(*at) == open)
        };
        prop_assert_eq!(window.opening(from), first(true));
        prop_assert_eq!(window.closing(from), first(false));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}|[A-Za-z0-9:, -]{0,40}") {
        if let Ok(ranges) = text.parse::<WeekRanges>() {
            prop_assert_eq!(ranges.to_string().parse::<WeekRanges>(), Ok(ranges));
        }
    }
}
