//! The module: reads what was written since its last run, and reports what is in it.
//!
//! # Invariants
//! - Places go on only with the run that was accepted: a run that is cut off is repeated from where
//!   it began, and no line counts twice.
//! - It says what it could not read, and how much it left out.

mod anomalies;
mod input;
mod judgement;
mod problems;
mod reading;
mod state;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use wachter_model::{Topic, Verdict};
use wachter_module::{Context, Module, ModuleError, Report};

use crate::model::Model;
use crate::pattern::{self, Alarms, Pattern, PatternSet};
use crate::source::real_folders;

use input::Input;
pub use input::{Behind, InputLimits, Source, Start};
pub use judgement::Judgement;
use reading::{Reading, Told};
use state::{State, VERSION};

/// The module `log-analyzer`.
pub struct LogAnalyzer;

/// Where the journal's reader is, in the jail as outside.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// The type of findings of a user's own patterns.
const OWN: &str = "log.alert";
/// Of the state, what the readers and the patterns may take; the rest is for what learns.
const MAX_STATE: usize = 448 << 10;

impl Module for LogAnalyzer {
    type Input = Input;
    type State = State;

    fn execute(&self, input: Input, context: &mut Context<State>) -> Result<Report, ModuleError> {
        input.check()?;
        let set = patterns(&input)?;
        let now = Timestamp::now();
        let mut state = std::mem::take(&mut context.state);
        state.version = VERSION;
        for sentence in std::mem::take(&mut state.unread) {
            context.warn(sentence);
        }
        let deadline = context.deadline();
        // What was read has to be judged and sent yet: a tenth of the time is left for that.
        let margin = (context.remaining() / 10).min(std::time::Duration::from_secs(10));
        let stop = move || {
            deadline.duration_since(std::time::SystemTime::now()).unwrap_or_default() <= margin
        };

        let limits = pattern::AlarmLimits {
            subjects: size(input.limits.subjects),
            open: size(input.limits.open),
            findings: size(input.limits.findings),
        };
        let mut alarms = Alarms::new(std::mem::take(&mut state.alarms), limits, now);
        let mut model =
            state.model.take().unwrap_or_else(|| Model::new(crate::model::Limits::default()));
        let mut findings = Vec::new();
        if let Some(Judgement { fingerprint, verdict }) =
            context.event().and_then(Judgement::of_event)
        {
            model.judge(&fingerprint, verdict);
            if verdict == Verdict::FalsePositive {
                alarms.silence(&fingerprint);
                findings.extend(state.anomalies.silence(&fingerprint));
            }
        }
        let mut last = Timestamp::MIN;
        let mut records = |entry: &crate::Entry<'_>| {
            last = last.max(entry.record.time.unwrap_or(Timestamp::MIN).min(now));
            model.observe(&entry.record);
            set.find(entry, |found| alarms.take(&set, found));
        };
        let folders = real_folders(&input.folders);
        let mut reading = Reading::new(&input, &folders, &mut state, now, &stop);
        let journalctl = Path::new(JOURNALCTL).exists();
        reading.read(&input.sources(journalctl), JOURNALCTL, &mut records);
        let told = reading.conclude();

        let (found, kept, mut forgotten) = alarms.conclude();
        findings.extend(found);
        state.alarms = kept;
        // While a log is behind, the hours after what was read are not silent: they are not read.
        let ran = Timestamp::from_millisecond(state.ran).ok().filter(|_| state.ran > 0);
        let until = match (told.behind > 0 || told.unseen > 0, last > Timestamp::MIN) {
            (false, _) => now,
            (true, true) => last,
            (true, false) => ran.map_or(now, |ran| ran.min(now)),
        };
        findings.extend(state.anomalies.take(model.conclude(until), now));
        state.model = Some(model);
        state.ran = now.as_millisecond();
        let places = fit(&mut state, &told.paths, &mut forgotten)?;
        for finding in told.findings.iter().chain(&findings) {
            context.finding(finding.clone());
        }
        say(context, &told);
        if places > 0 {
            context.warn(format!(
                "the places of {places} files that are gone were forgotten: there is no room for more"
            ));
        }
        if forgotten != pattern::Forgotten::default() {
            context.warn(format!(
                "too much at once: {} subjects were forgotten, {} findings no longer followed, {} not reported",
                forgotten.subjects, forgotten.open, forgotten.unreported
            ));
        }
        let report = report(&state, &told, forgotten);
        context.state = state;
        Ok(report)
    }
}

fn patterns(input: &Input) -> Result<PatternSet, ModuleError> {
    let mut shipped = pattern::shipped()?;
    for name in &input.without {
        if !shipped.iter().any(|pattern: &Pattern| pattern.name == *name) {
            let names: Vec<_> = shipped.iter().map(|pattern| pattern.name.as_str()).collect();
            let near = wachter_document::nearest(name, names.iter().copied());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(ModuleError::failed(format!(
                "`without` names the pattern `{name}`, which there is not{hint}"
            )));
        }
    }
    let known: BTreeSet<&Topic> =
        shipped.iter().flat_map(|pattern| &pattern.alarms).map(|alarm| &alarm.kind).collect();
    for alarm in input.patterns.iter().flat_map(|pattern| &pattern.alarms) {
        if alarm.kind.as_str() != OWN && !known.contains(&alarm.kind) {
            let names: Vec<_> = known.iter().map(|kind| kind.as_str()).collect();
            return Err(ModuleError::failed(format!(
                "the alarm `{}` has the type `{}`, which this module may not report; take `{OWN}`, or \
                 one of {}",
                alarm.name,
                alarm.kind,
                names.join(", ")
            )));
        }
    }
    shipped.retain(|pattern| !input.without.contains(&pattern.name));
    Ok(PatternSet::trusted(shipped).with(input.patterns.clone())?)
}

/// Makes the state small enough: the places of files that are gone are forgotten first, those that
/// were written to least recently before others, and then what was counted least recently. Gives the
/// number of these places.
fn fit(
    state: &mut State,
    followed: &BTreeSet<PathBuf>,
    forgotten: &mut pattern::Forgotten,
) -> Result<usize, ModuleError> {
    let mut size = serde_json::to_string(&(&state.files, &state.alarms))?.len();
    let mut places = 0;
    if size > MAX_STATE {
        let gone = state.files.iter().filter(|(path, _)| !followed.contains(*path));
        let mut gone: Vec<_> = gone.map(|(path, cursor)| (cursor.modified, path.clone())).collect();
        gone.sort();
        for (_, path) in gone {
            if size <= MAX_STATE {
                break;
            }
            let Some(cursor) = state.files.remove(&path) else { continue };
            // As a pair it has one byte more than as an entry with its comma.
            let entry = serde_json::to_string(&(&path, &cursor))?.len() - 1;
            size = size.saturating_sub(entry);
            places += 1;
        }
    }
    loop {
        let size = serde_json::to_string(&(&state.files, &state.alarms))?.len();
        if size <= MAX_STATE {
            return Ok(places);
        }
        match state.alarms.halve() {
            0 => {
                return Err(ModuleError::failed(format!(
                    "the places of {} files take {size} bytes; follow fewer by `limits.files`",
                    state.files.len()
                )));
            }
            halved => forgotten.subjects += halved,
        }
    }
}

fn say(context: &Context<State>, told: &Told) {
    for sentence in &told.warnings {
        context.warn(sentence.clone());
    }
    let count = |number: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a metric is a float, exact up to 2^53")]
        let float = number as f64;
        float
    };
    context.metric("log_records", count(told.totals.records), []);
    context.metric("log_read_bytes", count(told.totals.bytes), []);
    context.metric("log_cut_bytes", count(told.totals.cut), []);
    context.metric("log_behind_bytes", count(told.behind), []);
}

fn report(state: &State, told: &Told, forgotten: pattern::Forgotten) -> Report {
    let open = state.alarms.open().chain(state.problems.open());
    let open: Vec<_> = open.chain(state.anomalies.open()).collect();
    let counted = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {more}"),
    };
    let mut message = format!(
        "Read {} of {}",
        counted(told.totals.records, "record", "records"),
        counted(told.logs as u64, "log", "logs")
    );
    if told.behind > 0 {
        message.push_str(&format!("; {} bytes are left to the next run", told.behind));
    }
    if !open.is_empty() {
        let open = counted(open.len() as u64, "problem is", "problems are");
        message.push_str(&format!("; {open} open"));
    }
    match &told.missing[..] {
        [] => {}
        [one] => message.push_str(&format!("; not read: {one}")),
        [first, rest @ ..] => {
            message.push_str(&format!("; not read: {first}; and {} more", rest.len()));
        }
    }
    let output = json!({
        "open": open,
        "records": told.totals.records,
        "lines": told.totals.lines,
        "bytes": told.totals.bytes,
        "cut_bytes": told.totals.cut,
        "lost_bytes": told.totals.lost,
        "behind_bytes": told.behind,
        "missing": told.missing,
        "forgotten": {
            "subjects": forgotten.subjects,
            "open": forgotten.open,
            "unreported": forgotten.unreported,
        },
        "since_the_first_run": state.totals,
    });
    Report::unchanged().message(message).output(output)
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
