use std::fmt::Write as _;

use super::traces::Shape;
use super::*;
use crate::alarms::Standing;
use crate::trend::median;
use wachter_module::host::Moment;

const TOTAL: u64 = 1 << 30;
const WEEK: Days = Days { raise: 7.0, resolve: 10.0 };

/// Traces of each shape, unless the environment says otherwise: the table of the book is made of 20.
const TRACES: u64 = 5;

/// Minutes between two looks. In between the past is recorded.
const APART: usize = 20;

/// Three days are enough for two tides and a half.
const MINUTES: usize = 3 * 1_440;

fn at(minute: usize) -> (u64, Moment) {
    let minute = 29_000_000 + u64::try_from(minute).unwrap();
    (minute, Moment { unix_milliseconds: Some(minute * 60_000), ..Moment::default() })
}

fn suspect(used: f64, least: f64) -> Suspect<'static> {
    let bytes = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        let bytes = (share * float(TOTAL)) as u64;
        bytes
    };
    Suspect {
        kind: MEMORY_LEAK,
        subject: "web.service",
        started: 0,
        group: None,
        used: bytes(used),
        least: bytes(least),
        limit: Limit { what: Limiting::Group, total: TOTAL, reach: TOTAL },
        words: String::new(),
    }
}

/// What became of a trace.
#[derive(Default)]
struct Story {
    /// Minutes of the findings, and whether each says that it has ended.
    told: Vec<(usize, bool)>,
    /// Minutes of the looks that had a forecast, and the forecasts.
    forecasts: Vec<(usize, Filling)>,
}

fn follow(trace: &[f64]) -> Story {
    let mut watch = Watch::default();
    let mut standing = Standing::default();
    let mut story = Story::default();
    let mut least = f64::INFINITY;
    // What it holds in its first ten minutes is not looked at.
    for (minute, used) in trace.iter().enumerate().skip(10) {
        least = least.min(*used);
        let (clock, now) = at(minute);
        if minute % APART != 0 {
            for watched in watch.0.values_mut() {
                watched.supply.series.record(clock, crate::exhaustion::millionths(*used));
            }
            continue;
        }
        let mut alarms = Alarms::new(&mut standing, now);
        let leaks = watch.judge(&[suspect(*used, least)], Some(clock), |_| WEEK, &mut alarms);
        story.forecasts.extend(leaks.into_iter().map(|leak| (minute, leak.filling)));
        let told = alarms.into_findings();
        story.told.extend(told.into_iter().map(|finding| (minute, finding.resolved)));
    }
    story
}

fn count() -> u64 {
    std::env::var("WACHTER_TRACES").ok().and_then(|count| count.parse().ok()).unwrap_or(TRACES)
}

#[expect(clippy::cast_precision_loss, reason = "minutes of some days")]
fn float_of(count: usize) -> f64 {
    count as f64
}

/// How forecasts of one shape of leak were.
struct Accuracy {
    /// The share of traces that were told of before they ended.
    found: f64,
    /// The median share of a leak's time that had passed when it was told of.
    after: f64,
    /// The medians of the relative error of the time that was left: when it was told of, and over all looks.
    first_error: f64,
    error: f64,
    /// The share of looks whose interval held the truth.
    held: f64,
}

fn accuracy(shape: Shape) -> Accuracy {
    let (mut found, mut made, mut held) = (0, 0, 0);
    let (mut after, mut first_errors, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..count() {
        let trace = shape.trace(seed, 10 * 1_440);
        let end = float_of(trace.len());
        let story = follow(&trace);
        let begin = if shape == Shape::Late { 1_440.0 } else { 0.0 };
        let first = story.told.iter().find(|(_, is_over)| !is_over).map(|(minute, _)| *minute);
        if let Some(first) = first {
            found += 1;
            after.push((float_of(first) - begin) / (end - begin));
        }
        for (minute, filling) in &story.forecasts {
            let truth = end - float_of(*minute);
            let error = (filling.expected - truth).abs() / truth;
            made += 1;
            held += u32::from(filling.earliest <= truth && truth <= filling.latest);
            errors.push(error);
            if Some(*minute) == first {
                first_errors.push(error);
            }
        }
    }
    let share = |part: u32, whole: f64| f64::from(part) / whole.max(1.0);
    Accuracy {
        found: share(found, float(count())),
        after: median(&mut after),
        first_error: median(&mut first_errors),
        error: median(&mut errors),
        held: share(held, f64::from(made)),
    }
}

#[test]
fn leaks_are_told_of_and_forecasts_are_as_good_as_they_say() {
    let mut table = String::new();
    let mut bad = Vec::new();
    for (shape, found, error, held) in [
        (Shape::Linear, 1.0, 0.02, 0.9),
        (Shape::Noisy, 1.0, 0.10, 0.8),
        (Shape::Staircase, 0.9, 0.15, 0.7),
        (Shape::LeakingSawtooth, 0.9, 0.15, 0.7),
        (Shape::LeakingTide, 0.9, 0.35, 0.4),
        (Shape::Late, 1.0, 0.05, 0.9),
    ] {
        let made = accuracy(shape);
        writeln!(
            table,
            "{shape:?}: found {:.2}, after {:.2}, first error {:.3}, error {:.3}, held {:.2}",
            made.found, made.after, made.first_error, made.error, made.held
        )
        .unwrap();
        if made.found < found || made.error > error || made.held < held {
            bad.push(shape);
        }
    }
    println!("{table}");
    assert!(bad.is_empty(), "{bad:?}:\n{table}");
}

#[test]
fn what_is_no_leak_is_not_told_of() {
    let mut table = String::new();
    let mut bad = Vec::new();
    for (shape, most) in [
        (Shape::Flat, 0.0),
        (Shape::Step, 0.0),
        (Shape::Sawtooth, 0.0),
        (Shape::Logarithmic, 0.0),
        (Shape::Saturating, 0.0),
        (Shape::Tide, 0.0),
        (Shape::Walk, 0.2),
    ] {
        let mut told = 0;
        let mut looks = 0;
        for seed in 0..count() {
            let story = follow(&shape.trace(seed, MINUTES));
            told += u32::from(!story.told.is_empty());
            looks += story.forecasts.len();
        }
        let share = f64::from(told) / float(count());
        let looks = float_of(looks) / float(count()) / float_of(MINUTES / APART);
        writeln!(table, "{shape:?}: told of {share:.2}, in {:.2} % of looks", looks * 100.0)
            .unwrap();
        if share > most {
            bad.push(shape);
        }
    }
    println!("{table}");
    assert!(bad.is_empty(), "{bad:?}:\n{table}");
}

#[test]
fn every_shape_is_measured() {
    assert_eq!(Shape::LEAKS.len() + Shape::OTHERS.len(), 13);
    for shape in Shape::LEAKS {
        let trace = shape.trace(1, 10 * 1_440);
        assert!(trace.len() < 10 * 1_440 && trace.last() > Some(&0.85), "{shape:?}");
    }
    for shape in Shape::OTHERS {
        let trace = shape.trace(1, MINUTES);
        assert!(trace.len() == MINUTES && trace.iter().all(|used| *used < 0.97), "{shape:?}");
    }
}

#[test]
fn a_leak_is_told_once_a_severity_and_ends_once() {
    // Eight hours at 6 % an hour, and then nothing more.
    let leak = |minute: usize| 0.4 + 0.06 / 60.0 * float_of(minute.min(480));
    let trace: Vec<f64> = (0..1_440).map(leak).collect();
    let told = follow(&trace).told;
    assert_eq!(told.iter().filter(|(_, is_over)| *is_over).count(), 1, "{told:?}");
    assert!(told.last().is_some_and(|(minute, is_over)| *is_over && *minute < 800), "{told:?}");
    assert!(told.len() <= 4, "{told:?}");
}

#[test]
fn sentences() {
    let filling = Filling {
        expected: 540.0,
        earliest: 420.0,
        latest: 710.0,
        percent_a_day: 56.25,
        past: 60.0,
        scale: crate::history::Scale::Hour,
    };
    let descriptors = Limit { what: Limiting::Process, total: 1_024, reach: 1_024 };
    let host = Limit { what: Limiting::Host, total: TOTAL, reach: TOTAL };
    for (suspect, is_problem, expected) in [
        (
            Suspect { words: "; most of it is held by web[7]".to_owned(), ..suspect(0.5, 0.1) },
            true,
            "`web.service` gained 24.0 MiB an hour of memory over the last hour and will reach its limit of 1.0 GiB in about 9 hours (7 to 12); most of it is held by web[7]",
        ),
        (
            Suspect { limit: host, ..suspect(0.5, 0.1) },
            false,
            "`web.service` gained 24.0 MiB an hour of memory over the last hour and will not use up that of the host before 9 hours (7 to 12)",
        ),
        (
            Suspect {
                kind: DESCRIPTORS_LEAK,
                subject: "web[7]",
                limit: descriptors,
                ..suspect(0.5, 0.1)
            },
            true,
            "`web[7]` opened 24 files an hour more than it closed over the last hour and will have all 1024 that it may in about 9 hours (7 to 12)",
        ),
    ] {
        assert_eq!(suspect.sentence(&filling, is_problem), expected);
    }
}

#[test]
fn those_that_grew_the_most_are_watched() {
    let mut watch = Watch::default();
    let mut standing = Standing::default();
    let names: Vec<String> = (0..200).map(|number| format!("unit-{number:03}.service")).collect();
    let mut judge = |growth: &dyn Fn(usize) -> f64, minute: usize| {
        let suspects: Vec<Suspect<'_>> = names
            .iter()
            .enumerate()
            .map(|(number, name)| Suspect { subject: name, ..suspect(0.1 + growth(number), 0.1) })
            .collect();
        let (clock, now) = at(minute);
        let mut alarms = Alarms::new(&mut standing, now);
        watch.judge(&suspects, Some(clock), |_| WEEK, &mut alarms);
        watch.0.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(judge(&|_| 0.0, 0).len(), 0);
    let watched = judge(&|number| 0.001 * float_of(number), 1);
    assert_eq!((watched.len(), watched[0].as_str()), (MAX_WATCHED, "memory.leak:unit-136.service"));
    // A little more is not enough to take the place of one whose past is known, much more is.
    assert_eq!(judge(&|number| if number < 136 { 0.15 } else { 0.136 }, 2), watched);
    let others = judge(&|number| if number < 136 { 0.5 } else { 0.136 }, 3);
    assert_eq!(others[0], "memory.leak:unit-000.service");
}
