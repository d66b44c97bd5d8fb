use super::*;

/// 2026-11-02 00:00 UTC, a Monday.
const MONDAY: i32 = 498_216;

fn learned(weeks: i32, lines: impl Fn(i32) -> u32) -> Series {
    let mut series = Series::default();
    for hour in 0..weeks * 168 {
        for _ in 0..lines(hour) {
            series.observe(MONDAY + hour, |_| true);
        }
        series.advance(MONDAY + hour + 1, |_| true);
    }
    series.take_odd();
    series
}

/// The surprise of a burst and of silence after these hours.
fn surprises(series: &mut Series, hours: &[u32]) -> [f32; 2] {
    for count in hours {
        let hour = series.state.hour;
        for _ in 0..*count {
            series.observe(hour, |_| true);
        }
        series.advance(hour + 1, |_| true);
    }
    series.take_odd().map(|odd| odd.map_or(0.0, |odd| odd.surprise))
}

/// Office hours on working days, few lines else, and a ripple that looks random.
fn office(hour: i32) -> u32 {
    let ripple = u32::try_from((hour * 7 + hour / 24 * 5).rem_euclid(11)).unwrap();
    let busy = (8..18).contains(&(hour % 24)) && hour / 24 % 7 < 5;
    if busy { 90 + 3 * ripple } else { 4 + ripple / 3 }
}

#[test]
fn the_hour_of_the_week_decides_what_is_a_burst() {
    let weeks = learned(3, office);
    // Monday at noon, and at three in the morning.
    let noon: Vec<u32> = (0..12).map(office).chain([110]).collect();
    assert!(surprises(&mut weeks.clone(), &noon)[0] < 3.0);
    let night: Vec<u32> = (0..3).map(office).chain([110]).collect();
    assert!(surprises(&mut weeks.clone(), &night)[0] > 6.0);
    let saturday: Vec<u32> = (0..5 * 24 + 12).map(office).chain([110]).collect();
    assert!(surprises(&mut weeks.clone(), &saturday)[0] > 6.0);
}

#[test]
fn a_burst_is_told_within_its_hour_and_until_an_hour_is_ordinary_again() {
    let mut series = learned(3, office);
    let hour = series.state.hour;
    for _ in 0..200 {
        series.observe(hour, |_| true);
    }
    let [burst, silence] = series.take_odd();
    assert!(burst.is_some_and(|odd| odd.surprise > 6.0 && odd.seen == 200) && silence.is_none());
    assert!(surprises(&mut series, &[0])[0] > 6.0);
    assert!(surprises(&mut series, &[5])[0] < 3.0);
}

#[test]
fn silence_is_told_where_lines_were_due() {
    let weeks = learned(4, |hour| office(hour) * u32::from(hour % 24 > 7));
    // Not in the night, when there never are lines.
    assert!(surprises(&mut weeks.clone(), &[0, 0, 0, 0])[1] < 0.5);
    let mut series = weeks;
    let day = [&[0; 8][..], &[90, 90, 0, 0]].concat();
    assert!(surprises(&mut series, &day)[1] > 6.0);
    // It is over with the next line, and told once more as over.
    surprises(&mut series, &[90]);
    assert_eq!(surprises(&mut series, &[90])[1], 0.0);
}

#[test]
fn a_nightly_job_that_stays_away_is_missed() {
    let mut series = learned(4, |hour| u32::from(hour % 24 == 3));
    let missed_once = surprises(&mut series, &[0; 24])[1];
    let missed_twice = surprises(&mut series, &[0; 24])[1];
    assert!(
        (4.0..5.0).contains(&missed_once) && missed_twice > 5.0,
        "{missed_once} {missed_twice}"
    );
}

#[test]
fn what_is_gone_for_a_week_is_forgotten() {
    let mut series = learned(3, office);
    assert!(surprises(&mut series, &[0; 100])[1] > 3.0);
    surprises(&mut series, &[0; 80]);
    assert_eq!(surprises(&mut series, &[0; 5]), [0.0, 0.0]);
    assert!(series.profile.is_none());
}

#[test]
fn hours_from_which_nothing_at_all_is_known_are_passed_over() {
    let mut series = learned(3, office);
    let hour = series.state.hour;
    series.advance(hour + 60, |_| false);
    assert_eq!(series.take_odd()[1], None);
    assert_eq!(series.state.silence, 0.0);
}

#[test]
fn growth_is_followed() {
    let mut series = learned(3, |_| 20);
    let mut bursts = 0;
    for week in 0..8_u32 {
        for _ in 0..168 {
            let odd = surprises(&mut series, &[20 + week * 4])[0];
            bursts += u32::from(odd > 6.0);
        }
    }
    assert_eq!(bursts, 0);
}

#[test]
fn nothing_is_told_before_two_days_are_known() {
    let mut series = Series::default();
    for hour in 1..48 {
        series.observe(MONDAY + hour, |_| true);
        assert_eq!(surprises(&mut series, &[100 * u32::from(hour == 47)])[1], 0.0);
    }
}

#[test]
fn late_lines_and_wrong_clocks_do_no_harm() {
    let mut series = learned(3, office);
    let (hour, before) = (series.state.hour, series.clone());
    assert!(!series.observe(hour - 5, |_| true));
    assert_eq!(series, before);
    series.observe(hour + 24 * 365, |_| true);
    series.not_after(hour);
    assert_eq!(series.state.hour, hour);
}

#[test]
fn a_state_is_stored_within_its_limit_and_exactly() {
    let mut series = learned(3, office);
    surprises(&mut series, &[3000, 0]);
    series.state.silence = 1.234_567_9e-7;
    let stored = serde_json::to_string(&series.state).unwrap();
    assert!(stored.len() <= series.state.stored(), "{stored}");
    let empty = State::default();
    assert!(serde_json::to_string(&empty).unwrap().len() <= empty.stored());
    assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), series.state);
}
