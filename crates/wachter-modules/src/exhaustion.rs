//! When what there is so much of is used up: the past of the share that is in use, and what that says of the
//! time to come.
//!
//! There is a forecast only where the past supports one. It goes on rising, the rise stands out of the noise,
//! it is above where it was before, and the forecast reaches no farther ahead than [`REACH`] times as far as
//! the past reaches back. A rise that slows down is foretold as one that goes on slowing down, and so may never
//! get there; one that quickens clearly, by its newer half.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_module::{ModuleError, Severity};

use crate::history::{Scale, Series};
use crate::trend::{Forecast, Trend, median};

/// All that there is, in the unit of a series.
pub(crate) const FULL: f64 = 1_000_000.0;

pub(crate) const HOUR: f64 = 60.0;
pub(crate) const DAY: f64 = 24.0 * HOUR;

/// A forecast reaches as far ahead as the past that it is drawn from is long, this many times.
const REACH: f64 = 4.0;

/// How close to the expected time the bounds of a forecast may come, and by how much farther away they are for
/// each time that the forecast reaches as far as its past: what is to come is not as even as what was.
const SUREST: f64 = 0.05;
const WIDENING: f64 = 0.1;

/// A forecast whose latest time is this many times as far away as the expected one is none.
const VAGUE: f64 = 2.5;

/// A rise that is smaller than this in all of its past is noise, in millionths: 0.2 %.
pub(crate) const LEAST_RISE: f64 = 2_000.0;

/// For how many minutes a problem stays open that no forecast is left of: until it is clear that the rise
/// has ended, and is not lost in noise.
const GRACE: u64 = 60;

/// Something that there is so much of, and how much of it was in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Supply {
    /// How much there is of it. Where that changes, a new past begins.
    total: u64,
    pub(crate) series: Series,
    /// When there was a forecast last, in minutes since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    foreseen: Option<u64>,
}

/// What the past says of the time to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outlook {
    /// It will be used up.
    Foreseen(Filling),
    /// It would have been, a short time ago.
    Unclear,
    /// Nothing says that it will be.
    Clear,
}

/// How soon something is a problem. It begins when there are no more days than `raise`, and ends when there
/// are more than `resolve`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Days {
    pub(crate) raise: f64,
    pub(crate) resolve: f64,
}

/// When something is full, in minutes from now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Filling {
    pub(crate) expected: f64,
    pub(crate) earliest: f64,
    pub(crate) latest: f64,
    /// What it gains in a day, in percent of all there is.
    pub(crate) percent_a_day: f64,
    pub(crate) scale: Scale,
    /// How long all of its past is, in minutes.
    pub(crate) past: f64,
}

impl Supply {
    /// Records how much is used, 0 to 1, at a time in minutes since 1970, and looks ahead to where `level` is
    /// used, 0 to 1.
    pub(crate) fn judge(
        &mut self,
        minute: u64,
        total: u64,
        used_share: f64,
        level: f64,
    ) -> Outlook {
        if self.total != total {
            *self = Self { total, foreseen: self.foreseen, ..Self::default() };
        }
        self.series.record(minute, millionths(used_share));
        if let Some(filling) = foresee(&self.series, level * FULL) {
            self.foreseen = Some(minute);
            return Outlook::Foreseen(filling);
        }
        match self.foreseen {
            Some(last) if minute < last.saturating_add(GRACE) => Outlook::Unclear,
            _ => Outlook::Clear,
        }
    }
}

impl Days {
    /// What a schema cannot say: that the bounds are in order.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn check(&self, name: &str) -> Result<(), ModuleError> {
        let Self { raise, resolve } = *self;
        if !(0.0 < raise && raise < resolve) {
            return Err(ModuleError::failed(format!(
                "the input `{name}` is not right: `raise` ({raise}) must lie between 0 and `resolve` ({resolve})"
            )));
        }
        Ok(())
    }
}

impl Filling {
    /// As in "3 days (2 to 5)".
    pub(crate) fn when(&self) -> String {
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

    pub(crate) fn summary(&self) -> Value {
        json!({
            "percent_a_day": self.percent_a_day,
            "full_in_days": self.expected / DAY,
            "earliest_days": self.earliest / DAY,
            "latest_days": self.latest / DAY,
        })
    }

    pub(crate) const fn days(&self) -> f64 {
        self.expected / DAY
    }

    pub(crate) fn evidence(&self, used_share: f64) -> Value {
        let mut evidence = self.summary();
        evidence["used_percent"] = json!(used_share * 100.0);
        evidence["seen_over"] = json!(self.scale.name());
        evidence
    }
}

/// How bad it is: the sooner, the worse. Once open it grows milder only when there is half as much time
/// again.
pub(crate) fn severity(filling: &Filling, days: Days, open: Option<Severity>) -> Option<Severity> {
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

/// When a series reaches a level, in millionths. None where no scale supports a forecast.
///
/// Of two scales that agree the one that is surer counts, and the sooner forecast of two that do not: the
/// finer scale has seen that it rises faster now. To take the soonest always would be to take the one that
/// errs the most.
fn foresee(series: &Series, level: f64) -> Option<Filling> {
    let hour = series.points(Scale::Hour);
    let day = series.points(Scale::Day);
    let month = series.points(Scale::Month);
    let (now, _) = *hour.last()?;
    // It is no tide: what comes and goes was as high before, and its medians were all but as high. A month
    // may hold something else one time in fifty; a day knows of a single night. Only points that lie before
    // the others with all of their time say how it was before.
    let earlier = |points: &[(f64, f64)], width: f64, of: &[(f64, f64)], share: f64| {
        let first = of.first().map_or(f64::INFINITY, |(time, _)| *time);
        high(points.iter().filter(|(time, _)| *time + width / 2.0 <= first), share)
    };
    let older = &month[..month.len() - month.len() / 3];
    let scales = [
        (Scale::Month, &month, high(older.iter(), 0.98).map(|high| (high, 12.0 * HOUR))),
        (Scale::Day, &day, earlier(&month, 6.0 * HOUR, &day, 0.98).map(|high| (high, 12.0 * HOUR))),
        (Scale::Hour, &hour, earlier(&day, 10.0, &hour, 1.0).map(|high| (high, 20.0))),
    ];
    // A point of six hours may have begun with less than all of its time.
    let ages = [(&hour, 0.5), (&day, 5.0), (&month, -3.0 * HOUR)]
        .map(|(points, begun)| points.first().map_or(0.0, |first| now - first.0 + begun));
    let past = ages.into_iter().fold(0.0, f64::max);
    let mut foreseen: Option<Filling> = None;
    for (scale, points, high) in scales {
        let Some(finer) = foresee_by(scale, points, &hour, high, now, level) else { continue };
        let is_better = foreseen.is_none_or(|coarser| {
            let width = |filling: &Filling| filling.latest / filling.earliest.max(1.0);
            finer.latest < coarser.earliest
                || (finer.earliest <= coarser.latest && width(&finer) < width(&coarser))
        });
        if is_better {
            foreseen = Some(finer);
        }
    }
    foreseen.map(|filling| Filling { past, ..filling })
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
    hour: &[(f64, f64)],
    high: Option<(f64, f64)>,
    now: f64,
    level: f64,
) -> Option<Filling> {
    let fewest = match scale {
        Scale::Hour => 30,
        Scale::Day => 18,
        Scale::Month => 12,
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
    // Its peaks get there first.
    let peaks =
        swing(points, &trend).max(Trend::through(hour).map_or(0.0, |line| swing(hour, &line)));
    let (slope, Forecast { expected, earliest, latest }) =
        ahead(&trend, points, level - peaks, now)?;
    if expected > REACH * span {
        return None;
    }
    // Too vague to be one, but for one of hours, which cannot wait until it is surer.
    let is_vague = |latest: f64| scale != Scale::Hour && latest > VAGUE * expected;
    let latest = latest.filter(|latest| !is_vague(*latest))?;
    let unsure = WIDENING.mul_add(expected / span, SUREST);
    Some(Filling {
        expected,
        earliest: earliest.min(expected * (1.0 - unsure)),
        latest: latest.max(expected * (1.0 + unsure)),
        percent_a_day: slope * DAY / FULL * 100.0,
        scale,
        past: span,
    })
}

/// How far above its line a series goes time and again.
fn swing(points: &[(f64, f64)], line: &Trend) -> f64 {
    let mut above: Vec<f64> =
        points.iter().map(|(x, y)| y - line.slope.mul_add(*x, line.intercept)).collect();
    above.sort_unstable_by(f64::total_cmp);
    above.get(index(above.len(), 0.95)).map_or(0.0, |above| above.max(0.0))
}

/// The slope that it has now, and when it reaches the level. The two halves of the past say whether it goes
/// on as it did.
///
/// That it quickens has to be certain and by half as much again, or a tide below a leak would look so; that it
/// slows down has to be likely only, since that is the side to err on.
fn ahead(trend: &Trend, points: &[(f64, f64)], level: f64, now: f64) -> Option<(f64, Forecast)> {
    let whole = trend.reaches(level, points, now)?;
    let (older, newer) = points.split_at(points.len() / 2);
    let (Some(first), Some(second)) = (Trend::through(older), Trend::through(newer)) else {
        return Some((trend.slope, whole));
    };
    if second.slope_low > 1.5 * first.slope_high {
        let forecast = second.reaches(level, newer, now)?;
        // It may be chance, and go back to what it was.
        let latest = forecast.latest.zip(whole.latest).map(|(newer, whole)| newer.max(whole));
        return Some((second.slope, Forecast { latest, ..forecast }));
    }
    let slows = second.slope_high < first.slope && second.slope < first.slope_low;
    if !slows {
        return Some((trend.slope, whole));
    }
    // The pace falls by as much in each half of the past, and so in each minute.
    let half = middle_time(newer) - middle_time(older);
    let ratio = second.slope / first.slope;
    if !(ratio > 0.0 && half > 0.0) {
        return None;
    }
    let decay = -ratio.ln() / half;
    let slope = second.slope * (-decay * (now - middle_time(newer))).exp();
    let even = Trend { slope, ..second }.reaches(level, newer, now)?;
    // What is left to be gained until it is flat, compared with what is left to the level.
    let rest = 1.0 - even.expected * decay;
    if rest <= 0.0 {
        return None;
    }
    // What comes and goes may have slowed it down too, so the truth lies between both.
    let decaying = -rest.ln() / decay;
    let latest = whole.latest.map(|latest| latest.max(decaying));
    let expected = f64::midpoint(whole.expected, decaying);
    Some((slope, Forecast { expected, earliest: whole.earliest.min(even.earliest), latest }))
}

fn middle_time(points: &[(f64, f64)]) -> f64 {
    points.first().zip(points.last()).map_or(0.0, |(first, last)| f64::midpoint(first.0, last.0))
}

#[expect(clippy::cast_possible_truncation, reason = "between 0 and a million by the clamp")]
pub(crate) fn millionths(share: f64) -> i64 {
    (share.clamp(0.0, 1.0) * FULL).round() as i64
}

#[cfg(test)]
mod tests;
