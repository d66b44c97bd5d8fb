//! When what runs full is full: the past of each file system, and what it says of the time to come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_module::Severity;
use wachter_module::host::Moment;

use super::alarms::{Alarms, Kind};
use super::input::Days;
use crate::history::{Scale, Series};
use crate::trend::{Trend, median};

pub(super) const DISK_FILLING: Kind =
    Kind { topic: "disk.filling", severity: Severity::Medium, what: "the space" };

pub(super) const INODES_FILLING: Kind =
    Kind { topic: "inodes.filling", severity: Severity::Medium, what: "the inodes" };

/// The most series that are kept, 5 KiB each at most: half of what a state may have.
const MAX_SERIES: usize = 96;

/// For how long what is not seen any more is remembered, in minutes.
const REMEMBERED: u64 = 7 * 24 * 60;

/// All that there is, in the unit of a series.
const FULL: f64 = 1_000_000.0;

const HOUR: f64 = 60.0;
const DAY: f64 = 24.0 * HOUR;

/// A forecast reaches as far ahead as the past that it is drawn from is long, this many times.
const REACH: f64 = 4.0;

/// A rise that is smaller than this in all of its past is noise, in millionths: 0.2 %.
const LEAST_RISE: f64 = 2_000.0;

/// For how many minutes a problem stays open that no forecast is left of: until it is clear that the rise
/// has ended, and is not lost in noise.
const GRACE: u64 = 60;

/// The past of all that can run full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    #[serde(default)]
    series: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// How much there is of it. Where that changes, a new past begins.
    total: u64,
    series: Series,
    /// When there was a forecast last, in minutes since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreseen: Option<u64>,
}

/// When something is full, in minutes from now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Filling {
    expected: f64,
    earliest: f64,
    latest: f64,
    /// What it gains in a day, in percent of all there is.
    percent_a_day: f64,
    scale: Scale,
}

impl Past {
    /// Records how much is used of something, 0 to 1, and judges where that is going.
    pub(super) fn judge(
        &mut self,
        (kind, subject): (Kind, &str),
        now: &Moment,
        total: u64,
        used_share: f64,
        days: Days,
        alarms: &mut Alarms<'_>,
    ) -> Option<Filling> {
        let Some(minute) = now.unix_milliseconds.map(|time| time / 60_000) else {
            alarms.unknown(kind, subject);
            return None;
        };
        let key = format!("{}:{subject}", kind.topic);
        if !self.series.contains_key(&key) && self.series.len() >= MAX_SERIES {
            alarms.unknown(kind, subject);
            return None;
        }
        let kept = self.series.entry(key).or_default();
        if kept.total != total {
            *kept = Kept { total, foreseen: kept.foreseen, ..Kept::default() };
        }
        kept.series.record(minute, millionths(used_share));
        let filling = foresee(&kept.series);
        if filling.is_some() {
            kept.foreseen = Some(minute);
        }
        let open = alarms.severity(kind, subject);
        match filling {
            Some(filling) => {
                let severity = severity(&filling, days, open);
                let message = if severity.is_some() {
                    format!("`{subject}`: {} will be full in about {}", kind.what, filling.when())
                } else {
                    format!("`{subject}`: {} will not be full before {}", kind.what, filling.when())
                };
                let message = if kind.topic == DISK_FILLING.topic && severity.is_some() {
                    format!("`{subject}` will be full in about {}", filling.when())
                } else {
                    message
                };
                alarms.tell(kind, subject, severity, message, filling.evidence(used_share));
            }
            None if kept.foreseen.is_some_and(|last| minute < last.saturating_add(GRACE)) => {
                alarms.unknown(kind, subject);
            }
            None => {
                let message = format!("`{subject}`: {} no longer runs out", kind.what);
                let evidence = json!({ "used_percent": used_share * 100.0 });
                alarms.tell(kind, subject, None, message, evidence);
            }
        }
        filling
    }

    /// Records a share that comes and goes, 0 to 1, and tells its medians and where it is going, in
    /// percent. None where there is no time of day, or no room.
    pub(super) fn trend(&mut self, name: &str, now: &Moment, used_share: f64) -> Option<Value> {
        let minute = now.unix_milliseconds? / 60_000;
        if !self.series.contains_key(name) && self.series.len() >= MAX_SERIES {
            return None;
        }
        let series = &mut self.series.entry(name.to_owned()).or_default().series;
        // A tenth of a percent is enough, and short in the state.
        series.record(minute, millionths(used_share) / 1_000 * 1_000);
        let middle = |scale: Scale| {
            let mut values: Vec<_> = series.points(scale).iter().map(|(_, value)| *value).collect();
            (!values.is_empty()).then(|| median(&mut values) / FULL * 100.0)
        };
        let slope = Trend::through(&series.points(Scale::Day))
            .filter(|trend| trend.slope_low > 0.0 || trend.slope_high < 0.0)
            .map(|trend| trend.slope * DAY / FULL * 100.0);
        Some(json!({
            "hour_median_percent": middle(Scale::Hour),
            "day_median_percent": middle(Scale::Day),
            "month_median_percent": middle(Scale::Month),
            "percent_a_day": slope,
        }))
    }

    /// Forgets what has not been seen for a week.
    pub(super) fn forget(&mut self, now: &Moment) {
        let Some(minute) = now.unix_milliseconds.map(|time| time / 60_000) else { return };
        self.series.retain(|_, kept| minute.saturating_sub(kept.series.last()) < REMEMBERED);
    }
}

impl Filling {
    /// As in "3 days (2 to 5)".
    pub(super) fn when(&self) -> String {
        let (unit, minutes) = match self.expected {
            expected if expected >= 2.0 * DAY => ("days", DAY),
            expected if expected >= 2.0 * HOUR => ("hours", HOUR),
            _ => ("minutes", 1.0),
        };
        let Self { expected, earliest, latest, .. } = self;
        format!(
            "{:.0} {unit} ({:.0} to {:.0})",
            expected / minutes,
            (earliest / minutes).floor(),
            (latest / minutes).ceil()
        )
    }

    pub(super) fn summary(&self) -> Value {
        json!({
            "percent_a_day": self.percent_a_day,
            "full_in_days": self.expected / DAY,
            "earliest_days": self.earliest / DAY,
            "latest_days": self.latest / DAY,
        })
    }

    pub(super) const fn days(&self) -> f64 {
        self.expected / DAY
    }

    fn evidence(&self, used_share: f64) -> Value {
        let mut evidence = self.summary();
        evidence["used_percent"] = json!(used_share * 100.0);
        evidence["seen_over"] = json!(self.scale.name());
        evidence
    }
}

/// How bad it is: the sooner, the worse. Once open it grows milder only when there is half as much time
/// again.
fn severity(filling: &Filling, days: Days, open: Option<Severity>) -> Option<Severity> {
    let within = |minutes: f64, severity: Severity| {
        let bound = if open.is_some_and(|open| open >= severity) { minutes * 1.5 } else { minutes };
        filling.expected <= bound
    };
    let limit = if open.is_some() { days.resolve } else { days.raise };
    if filling.expected > limit * DAY {
        None
    } else if within(6.0 * HOUR, Severity::Critical) {
        Some(Severity::Critical)
    } else if within(DAY, Severity::High) {
        Some(Severity::High)
    } else {
        Some(Severity::Medium)
    }
}

/// When a series is full, by the scale that says the soonest. None where no scale supports a forecast.
fn foresee(series: &Series) -> Option<Filling> {
    let hour = series.points(Scale::Hour);
    let day = series.points(Scale::Day);
    let month = series.points(Scale::Month);
    let (now, _) = *hour.last()?;
    // It is no tide: what comes and goes was as high before, and its medians were all but as high. A month
    // may hold something else one time in fifty; a day knows of a single night.
    let earlier = |points: &[(f64, f64)], of: &[(f64, f64)], share: f64| {
        let first = of.first().map_or(f64::INFINITY, |(time, _)| *time);
        high(points.iter().filter(|(time, _)| *time < first), share)
    };
    let older = &month[..month.len() - month.len() / 3];
    let scales = [
        (Scale::Hour, &hour, earlier(&day, &hour, 1.0).map(|high| (high, 20.0))),
        (Scale::Day, &day, earlier(&month, &day, 0.98).map(|high| (high, 12.0 * HOUR))),
        (Scale::Month, &month, high(older.iter(), 0.98).map(|high| (high, 12.0 * HOUR))),
    ];
    let foreseen =
        scales.into_iter().filter_map(|(scale, points, high)| foresee_by(scale, points, high, now));
    foreseen.min_by(|one, other| one.expected.total_cmp(&other.expected))
}

/// What all but a share of points lie below.
fn high<'a>(points: impl Iterator<Item = &'a (f64, f64)>, share: f64) -> Option<f64> {
    let mut values: Vec<f64> = points.map(|(_, value)| *value).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(index(values.len(), share)).copied()
}

/// The place of a share of sorted values.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place among few hundred points"
)]
fn index(count: usize, share: f64) -> usize {
    (count.saturating_sub(1) as f64 * share) as usize
}

/// `high` is how high it was before, and how many minutes of such a rise its medians may have hidden: two of
/// them, since the one with the top in it may hold the fall too.
fn foresee_by(
    scale: Scale,
    points: &[(f64, f64)],
    high: Option<(f64, f64)>,
    now: f64,
) -> Option<Filling> {
    let fewest = match scale {
        Scale::Hour => 30,
        Scale::Day => 18,
        Scale::Month => 8,
    };
    if points.len() < fewest {
        return None;
    }
    let middle = |points: &[(f64, f64)]| {
        median(&mut points.iter().map(|(_, value)| *value).collect::<Vec<_>>())
    };
    let (old, recent) = points.split_at(points.len() - points.len() / 3);
    // Most never get farther than here, which costs little.
    if middle(recent) - middle(&old[..old.len() / 2]) < LEAST_RISE / 2.0 {
        return None;
    }
    let span = points.last()?.0 - points.first()?.0;
    let trend = Trend::through(points)?;
    let rise = trend.slope * span;
    if !trend.rises() || rise < LEAST_RISE || rise < 3.0 * trend.spread {
        return None;
    }
    // It goes on: the last third rises at half of the pace at least.
    if Trend::through(recent).is_some_and(|recent| recent.slope < trend.slope / 2.0) {
        return None;
    }
    let newest = middle(&points[points.len() - 3..]);
    if high.is_some_and(|(high, hidden)| newest <= trend.slope.mul_add(hidden, high)) {
        return None;
    }
    let forecast = trend.reaches(FULL, points, now)?;
    if forecast.expected > REACH * span {
        return None;
    }
    Some(Filling {
        expected: forecast.expected,
        earliest: forecast.earliest,
        latest: forecast.latest?,
        percent_a_day: trend.slope * DAY / FULL * 100.0,
        scale,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and a million by the clamp")]
fn millionths(share: f64) -> i64 {
    (share.clamp(0.0, 1.0) * FULL).round() as i64
}

#[cfg(test)]
mod tests;
