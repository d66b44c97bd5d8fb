//! When what runs full is full: the past of each file system, and what it says of the time to come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_module::Severity;
use wachter_module::host::Moment;

use super::alarms::{Alarms, Kind};
use crate::exhaustion::{DAY, Days, FULL, Filling, Outlook, Supply, millionths, severity};
use crate::history::Scale;
use crate::trend::{Trend, median};

pub(super) const DISK_FILLING: Kind =
    Kind { topic: "disk.filling", severity: Severity::Medium, what: "the space" };

pub(super) const INODES_FILLING: Kind =
    Kind { topic: "inodes.filling", severity: Severity::Medium, what: "the inodes" };

/// The most series that are kept, 5 KiB each at most: half of what a state may have.
const MAX_SERIES: usize = 96;

/// For how long what is not seen any more is remembered, in minutes.
const REMEMBERED: u64 = 7 * 24 * 60;

/// The past of all that can run full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    #[serde(default)]
    series: BTreeMap<String, Supply>,
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
        let supply = self.series.entry(key).or_default();
        let open = alarms.severity(kind, subject);
        match supply.judge(minute, total, used_share, 1.0) {
            Outlook::Foreseen(filling) => {
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
                return Some(filling);
            }
            Outlook::Unclear => alarms.unknown(kind, subject),
            Outlook::Clear => {
                let message = format!("`{subject}`: {} no longer runs out", kind.what);
                let evidence = json!({ "used_percent": used_share * 100.0 });
                alarms.tell(kind, subject, None, message, evidence);
            }
        }
        None
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
        self.series.retain(|_, supply| minute.saturating_sub(supply.series.last()) < REMEMBERED);
    }
}

#[cfg(test)]
mod tests;
