use serde_json::{Map, json};
use wachter_module::Severity;
use wachter_module::host::{Mount, Mounts, Space};

use super::alarms::{Alarms, Kind, Threshold};
use super::filling::{DISK_FILLING, INODES_FILLING, Past};
use super::input::Input;
use super::{Measured, Metric, float};
use crate::views::PATIENCE;

pub(super) const DISK_FULL: Kind =
    Kind { topic: "disk.full", severity: Severity::High, what: "% of the space is in use" };

pub(super) const INODES_EXHAUSTED: Kind = Kind {
    topic: "inodes.exhausted",
    severity: Severity::High,
    what: "% of the inodes are in use",
};

pub(super) fn measure(
    view: &Mounts,
    past: &mut Past,
    input: &Input,
    alarms: &mut Alarms<'_>,
) -> Measured {
    let mut metrics = Vec::new();
    let mut fullest: Option<(f64, &str)> = None;
    let mut filling = Map::new();
    for mount in &view.mounts {
        let mut metric = |name, value| {
            let labels = vec![("target", mount.target.clone())];
            metrics.push(Metric { name, value, labels });
        };
        if let Some(space) = mount.bytes {
            metric("filesystem_total_bytes", float(space.total));
            metric("filesystem_available_bytes", float(space.available));
        }
        if let Some(space) = mount.inodes {
            metric("filesystem_total_inodes", float(space.total));
            metric("filesystem_available_inodes", float(space.available));
        }
        // What is read-only was made full: an image holds nothing else.
        if mount.read_only || input.ignore_mounts.contains(&mount.target) {
            continue;
        }
        let space = |space: Option<Space>| space.map(|space| space.used_share() * 100.0);
        if let Some(percent) = space(mount.bytes)
            && fullest.is_none_or(|(most, _)| percent > most)
        {
            fullest = Some((percent, &mount.target));
        }
        judge(alarms, DISK_FULL, mount, space(mount.bytes), input.disk_used_percent);
        judge(alarms, INODES_EXHAUSTED, mount, space(mount.inodes), input.inodes_used_percent);
        for (kind, space) in [(DISK_FILLING, mount.bytes), (INODES_FILLING, mount.inodes)] {
            let Some(space) = space else {
                alarms.unknown(kind, &mount.target);
                continue;
            };
            let subject = (kind, mount.target.as_str());
            let (total, used) = (space.total, space.used_share());
            let days = input.disk_full_days;
            if let Some(when) = past.judge(subject, &view.taken, total, used, days, alarms)
                && kind.topic == DISK_FILLING.topic
            {
                metric("filesystem_full_days", when.days());
                filling.insert(mount.target.clone(), when.summary());
            }
        }
    }
    let may_be_left_out =
        |target: &str| view.left_out > 0 && !view.mounts.iter().any(|mount| mount.target == target);
    for kind in [DISK_FULL, INODES_EXHAUSTED, DISK_FILLING, INODES_FILLING] {
        alarms.end_unseen_but(kind, PATIENCE, may_be_left_out);
    }
    past.forget(&view.taken);
    let summary = json!({
        "count": view.mounts.len(),
        "fullest": fullest.map(|(percent, target)| json!({ "target": target, "used_percent": percent })),
        "filling": filling,
    });
    Measured { summary, metrics }
}

fn judge(
    alarms: &mut Alarms<'_>,
    kind: Kind,
    mount: &Mount,
    percent: Option<f64>,
    threshold: Threshold,
) {
    match percent {
        Some(percent) => alarms.judge(kind, &mount.target, percent, threshold),
        None => alarms.unknown(kind, &mount.target),
    }
}
