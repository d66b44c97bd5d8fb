use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use wachter_module::Severity;
use wachter_module::host::{Disk, Disks, Moment, Pressure};

use super::alarms::{Alarms, Kind};
use super::cpu::{judge_pressure, waited};
use super::input::Input;
use super::{Measured, Metric, per_second};
use crate::views::PATIENCE;

pub(super) const DISK_SATURATED: Kind = Kind {
    topic: "disk.saturated",
    severity: Severity::Medium,
    what: "% of the time requests were under way",
};

/// The counters of the last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Before {
    taken: Moment,
    disks: BTreeMap<String, Counters>,
    pressure: Option<Pressure>,
}

/// Bytes read and written, milliseconds busy and queued.
type Counters = [u64; 4];

const fn counters(disk: &Disk) -> Counters {
    [disk.reads.bytes, disk.writes.bytes, disk.busy_milliseconds, disk.queued_milliseconds]
}

/// Whole disks and what is made of them. What a partition does is part of its disk.
fn whole(view: &Disks) -> impl Iterator<Item = &Disk> {
    view.disks.iter().filter(|disk| disk.partition_of.is_none())
}

impl From<Disks> for Before {
    fn from(view: Disks) -> Self {
        let disks = whole(&view).map(|disk| (disk.name.clone(), counters(disk))).collect();
        Self { taken: view.taken, disks, pressure: view.pressure }
    }
}

pub(super) fn measure(
    view: &Disks,
    before: Option<&Before>,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut metrics = Vec::new();
    let mut summary = Map::new();
    let passed = before.and_then(|before| view.taken.since(&before.taken));
    for disk in whole(view) {
        let earlier = before.and_then(|before| before.disks.get(&disk.name));
        let rates = earlier.zip(passed).and_then(|(before, passed)| rates(disk, before, passed));
        let Some([read, written, busy, queued]) = rates else {
            alarms.unknown(DISK_SATURATED, &disk.name);
            continue;
        };
        // What is counted in milliseconds gains a thousand a second when it never rests.
        let (busy, queued) = ((busy / 1_000.0).min(1.0), queued / 1_000.0);
        for (name, value) in [
            ("disk_read_bytes_per_second", read),
            ("disk_written_bytes_per_second", written),
            ("disk_busy_ratio", busy),
            ("disk_queue_length", queued),
        ] {
            metrics.push(Metric { name, value, labels: vec![("disk", disk.name.clone())] });
        }
        let threshold = input.disk_busy_percent;
        // A disk that works on many requests at a time is busy long before it can do no more; what tells
        // is that requests wait for each other too.
        let value = if queued >= input.disk_queue_length { busy * 100.0 } else { 0.0 };
        alarms.judge_lasting(DISK_SATURATED, &disk.name, value, threshold, input.lasting());
        summary.insert(
            disk.name.clone(),
            json!({
                "name": disk.mapped_name,
                "read_bytes_per_second": read,
                "written_bytes_per_second": written,
                "busy_percent": busy * 100.0,
                "queue_length": queued,
            }),
        );
    }
    alarms.end_unseen_but(DISK_SATURATED, PATIENCE, |_| view.left_out > 0);
    if let Some(pressure) = view.pressure {
        let value = pressure.some_percent / 100.0;
        metrics.push(Metric { name: "disk_waiting_ratio", value, labels: vec![] });
    }
    let earlier = before.and_then(|before| before.pressure.as_ref());
    let waited =
        waited(view.pressure.as_ref(), earlier, passed, |pressure| pressure.full_microseconds);
    judge_pressure("disks", waited, input.disk_pressure_percent, input.lasting(), alarms);
    Measured { summary: summary.into(), metrics }
}

/// What each counter gained in a second; none where one went back.
fn rates(disk: &Disk, before: &Counters, passed: u64) -> Option<[f64; 4]> {
    let mut rates = [0.0; 4];
    for ((rate, now), before) in rates.iter_mut().zip(counters(disk)).zip(before) {
        *rate = per_second(now, *before, passed)?;
    }
    Some(rates)
}
