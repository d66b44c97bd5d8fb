//! `disk-health`: reads what disks say of their own health, and reports those that fail or wear out.
//!
//! No device is ever shown to a run, so the disks are asked outside of it: root has `smartctl` write its
//! reports to a folder, which this module is granted to read.

mod report;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_module::host::Moment;
use wachter_module::{Context, Module, ModuleError, Report, Severity};

use crate::alarms::{Alarms, Kind, Standing};
use report::Health;

const FAILING: Kind =
    Kind { topic: "disk.failing", severity: Severity::High, what: "sectors cannot be read" };

const WORN: Kind =
    Kind { topic: "disk.worn", severity: Severity::Medium, what: "% of its life is used up" };

const UNREPORTED: Kind =
    Kind { topic: "disk.unreported", severity: Severity::Medium, what: "reports say nothing" };

/// The most reports that are read, and the most bytes of each.
const MAX_REPORTS: usize = 256;
const MAX_REPORT: u64 = 1 << 20;

/// The most files that are listed.
const MAX_FILES: usize = 4_096;

/// The module.
pub(crate) struct DiskHealth {
    /// What time it is.
    pub(crate) now: fn() -> SystemTime,
}

/// Where reports are, and when what is a problem. The defaults stand in `input.schema.json` too; a test
/// compares them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    reports: PathBuf,
    stale_hours: f64,
    worn_percent: f64,
    reallocated_sectors: u64,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            reports: "/var/lib/disk-reports".into(),
            stale_hours: 36.0,
            worn_percent: 90.0,
            reallocated_sectors: 10,
        }
    }
}

impl Module for DiskHealth {
    type Input = Input;
    type State = Standing;

    fn execute(
        &self,
        input: Input,
        context: &mut Context<Standing>,
    ) -> Result<Report, ModuleError> {
        let now = (self.now)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (files, not_read) = list(&input.reports)?;
        let mut standing = std::mem::take(&mut context.state);
        let mut alarms = Alarms::new(&mut standing, Moment::default());
        let mut disks = Vec::new();
        for path in &files {
            let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let health = read(path).and_then(|bytes| Health::read(&bytes, &file));
            let problem = match &health {
                Ok(health) => stale(health, now, input.stale_hours),
                Err(reason) => Some(reason.clone()),
            };
            let message = problem.as_ref().map_or_else(
                || format!("the report {file} is as it should be"),
                |reason| format!("the report {file} is of no use: {reason}"),
            );
            let severity = problem.as_ref().map(|_| UNREPORTED.severity);
            alarms.tell(UNREPORTED, &file, severity, message, json!({ "reason": problem }));
            if let Ok(health) = health {
                judge(&health, &input, &mut alarms);
                disks.push(health);
            }
        }
        // A disk whose report cannot be read, or is one too many, is not gone.
        if disks.len() == files.len() && not_read == 0 {
            alarms.end_unseen(FAILING);
            alarms.end_unseen(WORN);
        }
        if not_read == 0 {
            alarms.end_unseen(UNREPORTED);
        }
        for finding in alarms.into_findings() {
            context.finding(finding);
        }
        for disk in &disks {
            if let Some(celsius) = disk.celsius {
                context.metric("disk_temperature_celsius", celsius, [("disk", &disk.device)]);
            }
            if let Some(percent) = disk.worn_percent {
                context.metric("disk_worn_ratio", percent / 100.0, [("disk", &disk.device)]);
            }
            context.metric(
                "disk_unreadable_sectors",
                float(disk.unreadable),
                [("disk", &disk.device)],
            );
            context.metric(
                "disk_reallocated_sectors",
                float(disk.reallocated),
                [("disk", &disk.device)],
            );
        }
        let open: Vec<_> = standing.open.keys().cloned().collect();
        let mut message = match (files.len(), open.len()) {
            (0, _) => format!("there is no report in {}", input.reports.display()),
            (count, 0) => format!("{count} disks are well"),
            (count, open) => format!("{open} open problems of {count} disks"),
        };
        if not_read > 0 {
            message.push_str(&format!(
                "; {not_read} more reports are not read, {MAX_REPORTS} are the most"
            ));
        }
        let output =
            json!({ "disks": disks.iter().map(evidence).collect::<Vec<_>>(), "open": open });
        context.state = standing;
        Ok(Report::unchanged().message(message).output(output))
    }

    /// A state of an earlier version is forgotten: a problem that is reported again has the same
    /// fingerprint as before.
    fn read_state(&self, state: Value) -> Result<Standing, ModuleError> {
        Ok(serde_json::from_value(state).unwrap_or_default())
    }
}

/// The reports of a folder, in order, and how many more there are.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, usize), ModuleError> {
    let listed = std::fs::read_dir(folder).map_err(|error| {
        ModuleError::failed(format!(
            "{} cannot be listed: {error}; grant it to this module and have `smartctl` write its reports there",
            folder.display()
        ))
    })?;
    let mut files: Vec<_> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json") && path.is_file())
        .take(MAX_FILES)
        .collect();
    files.sort_unstable();
    let not_read = files.len().saturating_sub(MAX_REPORTS);
    files.truncate(MAX_REPORTS);
    Ok((files, not_read))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_REPORT).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn stale(health: &Health, now: i64, hours: f64) -> Option<String> {
    let asked = health.asked?;
    let age = float(u64::try_from(now.saturating_sub(asked)).unwrap_or(0)) / 3_600.0;
    (age > hours).then(|| format!("it is {age:.0} hours old"))
}

fn judge(health: &Health, input: &Input, alarms: &mut Alarms<'_>) {
    let mut reasons: Vec<String> = Vec::new();
    let mut severity = None;
    if health.passed == Some(false) {
        reasons.push("it says itself that it fails".to_owned());
        severity = Some(Severity::Critical);
    }
    if !health.warnings.is_empty() {
        reasons.extend(health.warnings.iter().map(|words| (*words).to_owned()));
        severity = Some(Severity::Critical);
    }
    if health.unreadable > 0 {
        reasons.push(format!("{} {}", health.unreadable, FAILING.what));
        severity = severity.or(Some(FAILING.severity));
    }
    if health.reallocated >= input.reallocated_sectors.max(1) {
        reasons.push(format!("{} sectors were replaced by spare ones", health.reallocated));
        severity = severity.or(Some(FAILING.severity));
    }
    let Health { device, identity, .. } = health;
    let message = if reasons.is_empty() {
        format!("{device} ({identity}) is well")
    } else {
        format!("{device} ({identity}): {}; see to a copy of what is on it", reasons.join(", "))
    };
    tell(FAILING, health, severity, message, alarms);
    let percent = health.worn_percent.unwrap_or(0.0);
    let severity = if percent >= 100.0_f64.max(input.worn_percent) {
        Some(Severity::High)
    } else {
        (percent >= input.worn_percent).then_some(WORN.severity)
    };
    let message = format!("{device} ({identity}): {percent:.0} {}", WORN.what);
    tell(WORN, health, severity, message, alarms);
}

/// Says how bad a disk is. Where a part of the report is missing, what is open is not known to be better.
fn tell(
    kind: Kind,
    health: &Health,
    severity: Option<Severity>,
    message: String,
    alarms: &mut Alarms<'_>,
) {
    let identity = &health.identity;
    if health.in_part && severity < alarms.severity(kind, identity) {
        alarms.unknown(kind, identity);
    } else {
        alarms.tell(kind, identity, severity, message, evidence(health));
    }
}

fn evidence(health: &Health) -> Value {
    json!({
        "device": health.device,
        "disk": health.identity,
        "passed": health.passed,
        "warnings": health.warnings,
        "reallocated": health.reallocated,
        "unreadable": health.unreadable,
        "worn_percent": health.worn_percent,
        "celsius": health.celsius,
        "hours": health.hours,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float, exact up to 2^53")]
const fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
