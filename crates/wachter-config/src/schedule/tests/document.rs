use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::super::{Cron, Missed, Retry, Schedule, Spread, Trigger, Window, Zone};
use wachter_model::Duration;

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    wachter_document::read(text).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_read() {
    let text = "{ cron: '0 */6 * * *', timezone: Europe/Amsterdam, jitter: 5m, missed: run-all }";
    let schedule: Schedule = read(text).unwrap();
    assert_eq!((schedule.jitter(), schedule.missed()), (Duration::from_secs(300), Missed::RunAll));
    let Trigger::Cron { cron, timezone } = schedule.trigger() else { panic!("{schedule:?}") };
    assert_eq!((cron.as_str(), timezone.name()), ("0 */6 * * *", "Europe/Amsterdam"));

    let schedule: Schedule = read("{ every: 30s }").unwrap();
    assert_eq!((schedule.jitter().as_millis(), schedule.missed()), (0, Missed::RunOnce));
    let Trigger::Every(every) = schedule.trigger() else { panic!("{schedule:?}") };
    assert_eq!(every.interval(), Duration::from_secs(30));

    let retry: Retry = read("{ attempts: 5, backoff: exponential, initial: 1s, max: 5m }").unwrap();
    assert_eq!(retry.attempts(), 5);
    assert_eq!(read::<Retry>("{}").unwrap(), Retry::default());
}

#[test]
fn what_is_written_back_is_the_same() {
    for text in [
        "{ every: 30s, jitter: 10s, missed: skip }",
        "{ cron: '@daily' }",
        "{ cron: '0 0 6 * * MON-FRI', timezone: asia/kolkata, jitter: 1h }",
    ] {
        let schedule: Schedule = read(text).unwrap();
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(read::<Schedule>(&json).unwrap(), schedule, "{json}");
    }
    for text in [
        "{ allow: 'Mon-Fri 22:00-05:00', timezone: Europe/Amsterdam }",
        "{ deny: 'Sat-Sun, Mon 00:00-24:00' }",
    ] {
        let window: Window = read(text).unwrap();
        let json = serde_json::to_string(&window).unwrap();
        assert_eq!(read::<Window>(&json).unwrap(), window, "{json}");
    }
    let retry: Retry = read("{ attempts: 3, backoff: constant, initial: 2s }").unwrap();
    assert_eq!(read::<Retry>(&serde_json::to_string(&retry).unwrap()).unwrap(), retry);
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (text, expected) in [
        ("{}", "says no time"),
        ("{ every: 30s, cron: '@daily' }", "keep one"),
        ("{ every: 30s, timezone: UTC }", "remove it"),
        ("{ every: 30s, jitter: 30s }", "`jitter: 30s` must be shorter than 30s"),
        ("{ cron: '@daily', jitter: 25h }", "must be shorter than 1d"),
        ("{ every: 99ms }", "100ms is the shortest"),
        ("{ every: 3651d }", "3650d is the longest"),
        ("{ evry: 30s }", "did you mean `every`?"),
        ("{ every: 30s, missed: run-one }", "did you mean `run-once`?"),
        ("{ cron: '0 6 * *' }", "has 4 fields; write five"),
        ("{ cron: '' }", "has 0 fields"),
        ("{ cron: '0 0 6 * * * 2027' }", "has 7 fields"),
        ("{ cron: '60 6 * * *' }", "`60` is no minute of a cron expression; write *, 0 to 59"),
        ("{ cron: '0 24 * * *' }", "`24` is no hour"),
        ("{ cron: '0 6 0 * *' }", "`0` is no day of the month"),
        ("{ cron: '0 6 * 13 *' }", "`13` is no month"),
        ("{ cron: '0 6 * * 8' }", "`8` is no day of the week"),
        ("{ cron: '61 0 6 * * *' }", "`61` is no second"),
        ("{ cron: '0 6 * * +MON' }", "`+MON` is no day of the week"),
        ("{ cron: '5-1 6 * * *' }", "`5-1` is no minute"),
        ("{ cron: '*/0 6 * * *' }", "`*/0` is no minute"),
        ("{ cron: '0 6 30 2 *' }", "matches no date"),
        ("{ cron: '@reboot' }", "there is no `@reboot`"),
        ("{ cron: '@daily', timezone: Europe/Amsterdan }", "did you mean `Europe/Amsterdam`?"),
        ("{ cron: '@daily', timezone: CET+1 }", "there is no time zone `CET+1`"),
        ("{ cron: '@daily', timezone: '' }", "there is no time zone ``"),
        ("{ cron: '@daily', timezone: ../../etc/passwd }", "there is no time zone"),
    ] {
        let message = read::<BTreeMap<String, Schedule>>(&format!("on:\n  {text}")).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
        assert!(message.starts_with("line 2, column "), "{text}: {message}");
    }
    for (text, expected) in [
        ("{}", "says no time"),
        ("{ timezone: UTC }", "says no time"),
        ("{ allow: Mon, deny: Mon }", "never opens"),
        ("{ allow: Mon, alow: Mon }", "did you mean `allow`?"),
        ("{ allow: Montag }", "`Montag` is no day; write Mon, Tue"),
        ("{ allow: 'Mon 9:00-10:00' }", "`9:00` is no time"),
        ("{ allow: 'Mon 09:00-24:01' }", "`24:01` is no time"),
        ("{ allow: 'Mon 09:00-09:60' }", "`09:60` is no time"),
        ("{ allow: 'Mon 24:00-09:00' }", "`24:00` is no time"),
        ("{ allow: 'Mon 09:00-09:00' }", "begins when it ends"),
        ("{ allow: 'Mon 09:00' }", "`09:00` names no time of the week"),
        ("{ allow: 'Mon Tue' }", "`Mon Tue` names no time of the week"),
        ("{ allow: '' }", "names no time of the week"),
    ] {
        let message = read::<Window>(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
    for (text, expected) in [
        ("{ attempts: 0 }", "from 1, which is no retry, to 100"),
        ("{ attempts: 101 }", "to 100"),
        ("{ initial: 0s }", "must be from 1ms"),
        ("{ initial: 10m, max: 5m }", "to `max: 5m`"),
        ("{ max: 25h }", "at most 24h"),
        ("{ backoff: linear }", "known are `constant`, `exponential`"),
    ] {
        let message = read::<Retry>(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn retries_double_up_to_their_longest_and_end() {
    let retry: Retry = read("{ attempts: 6, initial: 1s, max: 5s }").unwrap();
    let spread = Spread::of_fleet(&"backup".parse().unwrap());
    for (failed, nominal) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 5_000), (5, 5_000)] {
        for subject in 0..200 {
            let delay = retry.delay(failed, spread, subject).unwrap().as_millis();
            assert!((nominal / 2..=nominal).contains(&delay), "{failed}: {delay}");
            assert_eq!(retry.delay(failed, spread, subject).unwrap().as_millis(), delay);
        }
    }
    assert_eq!(retry.delay(6, spread, 0), None);
    assert_eq!(Retry::default().delay(1, spread, 0), None);
    let long =
        Retry::new(100, super::super::Backoff::Exponential, Duration::from_secs(1), Retry::LONGEST);
    assert!(long.unwrap().delay(99, spread, 0).unwrap() <= Retry::LONGEST);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}|[0-9*/,#LW?@ A-Z-]{0,40}") {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert_eq!(cron.to_string().parse::<Cron>(), Ok(cron.clone()));
            prop_assert!(cron.next_after(&Zone::default(), jiff::Timestamp::UNIX_EPOCH).is_some());
        }
        if let Ok(zone) = text.parse::<Zone>() {
            prop_assert_eq!(zone.name().parse::<Zone>(), Ok(zone.clone()));
        }
        let _ = read::<Schedule>(&text);
        let _ = read::<Window>(&text);
    }

    #[test]
    fn fields_that_croner_may_stumble_over(
        fields in prop::collection::vec("[0-9*/,#LW?-]{1,6}", 5..=6),
    ) {
        if let Ok(cron) = fields.join(" ").parse::<Cron>() {
            let tick = cron.next_after(&Zone::default(), jiff::Timestamp::UNIX_EPOCH);
            prop_assert!(tick.is_some(), "{}", cron);
        }
    }
}
