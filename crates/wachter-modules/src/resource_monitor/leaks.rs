//! What grows until nothing is left: memory of processes and groups, and descriptors of processes.
//!
//! Only what has grown is watched: what holds a five-hundredth of its limit more than it ever held since it
//! had started up. Of that the past is kept, and [`Supply`] says whether it supports a forecast.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wachter_module::Severity;

use crate::alarms::{Alarms, Kind};
use crate::exhaustion::{DAY, Days, FULL, Filling, HOUR, LEAST_RISE, Outlook, Supply, severity};
use crate::rates::float;

pub(super) const MEMORY_LEAK: Kind =
    Kind { topic: "memory.leak", severity: Severity::Medium, what: "memory" };

pub(super) const DESCRIPTORS_LEAK: Kind =
    Kind { topic: "descriptors.leak", severity: Severity::Medium, what: "open files" };

/// The most that are watched at a time, 5 KiB each at most and mostly 1 to 2: those that grew the most.
pub(super) const MAX_WATCHED: usize = 64;

/// What counts as growth, of the limit.
const LEAST_GROWTH: f64 = LEAST_RISE / FULL;

const MEBIBYTE: f64 = 1_048_576.0;

/// The past of what grows, by kind and subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Watch(BTreeMap<String, Watched>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Watched {
    /// When the process started: another one of its number begins anew. 0 for groups.
    started: u64,
    supply: Supply,
}

/// What may be a leak.
pub(super) struct Suspect<'a> {
    pub(super) kind: Kind,
    pub(super) subject: &'a str,
    /// When the process started; 0 for a group.
    pub(super) started: u64,
    /// What it is part of, and told of with.
    pub(super) group: Option<&'a str>,
    pub(super) used: u64,
    /// The least that it used since it had started up.
    pub(super) least: u64,
    pub(super) limit: Limit,
    /// What is added to the sentence, as in "; most of it is web[2211]".
    pub(super) words: String,
}

/// Where it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    pub(super) what: Limiting,
    /// How much there is, of which shares are taken. It changes seldom.
    pub(super) total: u64,
    /// How much of it this one can get: others have some.
    pub(super) reach: u64,
}

/// What sets a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limiting {
    /// A control group.
    Group,
    /// The host has no more.
    Host,
    /// The limit of open files.
    Process,
}

/// A leak, and when it has used up everything.
pub(super) struct Leak {
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) filling: Filling,
}

impl Suspect<'_> {
    fn key(&self) -> String {
        format!("{}:{}", self.kind.topic, self.subject)
    }

    fn share(&self, amount: u64) -> f64 {
        float(amount) / float(self.limit.total.max(1))
    }

    fn growth(&self) -> f64 {
        self.share(self.used.saturating_sub(self.least))
    }

    /// What it gains by hour or, if that is little, by day.
    fn pace(&self, filling: &Filling) -> String {
        let daily = filling.percent_a_day / 100.0 * float(self.limit.total);
        let hourly = daily * HOUR / DAY;
        let is_memory = self.kind.topic == MEMORY_LEAK.topic;
        let amount = |amount: f64| {
            if is_memory { bytes(amount) } else { format!("{amount:.0} files") }
        };
        if hourly >= if is_memory { MEBIBYTE } else { 1.0 } {
            format!("{} an hour", amount(hourly))
        } else {
            format!("{} a day", amount(daily))
        }
    }

    fn sentence(&self, filling: &Filling, is_problem: bool) -> String {
        let Self { subject, words, .. } = self;
        let verb = if is_problem { "will" } else { "will not" };
        let until = if is_problem { "in about" } else { "before" };
        let (pace, over, when) = (self.pace(filling), filling.scale.name(), filling.when());
        let total = float(self.limit.total);
        match self.limit.what {
            Limiting::Group => format!(
                "`{subject}` gained {pace} of memory over the last {over} and {verb} reach its limit of {} {until} {when}{words}",
                bytes(total)
            ),
            Limiting::Host => format!(
                "`{subject}` gained {pace} of memory over the last {over} and {verb} use up that of the host {until} {when}{words}"
            ),
            Limiting::Process => format!(
                "`{subject}` opened {pace} more than it closed over the last {over} and {verb} have all {total} that it may {until} {when}{words}"
            ),
        }
    }

    fn evidence(&self) -> Value {
        let (used, limit) = match self.limit.what {
            Limiting::Process => ("open", "most"),
            Limiting::Group | Limiting::Host => ("used_bytes", "limit_bytes"),
        };
        json!({ used: self.used, limit: self.limit.reach.min(self.limit.total), "least": self.least })
    }
}

impl Watch {
    /// Judges what may be a leak. `suspects` are all of both kinds that could be measured.
    pub(super) fn judge(
        &mut self,
        suspects: &[Suspect<'_>],
        minute: Option<u64>,
        days: impl Fn(Kind) -> Days,
        alarms: &mut Alarms<'_>,
    ) -> Vec<Leak> {
        // Without the time of day nothing can be foretold, and nothing has ended.
        let Some(minute) = minute else {
            suspects.iter().for_each(|suspect| alarms.unknown(suspect.kind, suspect.subject));
            return Vec::new();
        };
        let chosen = self.choose(suspects, alarms);
        let keys: BTreeSet<String> = chosen.iter().map(|suspect| suspect.key()).collect();
        self.0.retain(|key, _| keys.contains(key));
        // Where more are open than can be watched.
        for suspect in suspects.iter().filter(|suspect| !keys.contains(&suspect.key())) {
            alarms.unknown(suspect.kind, suspect.subject);
        }
        let mut leaks = Vec::new();
        // Groups first: what they are told of for is not told again of their processes.
        let (processes, groups): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|suspect| suspect.started > 0);
        for suspect in groups.into_iter().chain(processes) {
            let watched = self.0.entry(suspect.key()).or_default();
            if watched.started != suspect.started {
                *watched = Watched { started: suspect.started, ..Watched::default() };
            }
            let reach = suspect.share(suspect.limit.reach).min(1.0);
            let used = suspect.share(suspect.used);
            let outlook = watched
                .supply
                .judge(minute, suspect.limit.total, used, reach)
                .cautious(alarms.severity(suspect.kind, suspect.subject).is_some());
            if let Some(filling) = tell(suspect, outlook, days(suspect.kind), alarms) {
                let subject = suspect.subject.to_owned();
                leaks.push(Leak { kind: suspect.kind, subject, filling });
            }
        }
        leaks
    }

    /// Those that grew the most, and before them those that were told of.
    fn choose<'s, 'a>(
        &self,
        suspects: &'s [Suspect<'a>],
        alarms: &Alarms<'_>,
    ) -> Vec<&'s Suspect<'a>> {
        let rank = |suspect: &Suspect<'_>| {
            let growth = suspect.growth();
            if alarms.severity(suspect.kind, suspect.subject).is_some() {
                return Some(u64::MAX);
            }
            // One that is watched stays until another grew clearly more: a past takes time.
            let is_watched = growth >= LEAST_GROWTH / 2.0 && self.0.contains_key(&suspect.key());
            let weighed = if is_watched { growth * 1.5 } else { growth };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
            (is_watched || growth >= LEAST_GROWTH).then_some((weighed * FULL) as u64)
        };
        let mut ranked: Vec<_> =
            suspects.iter().filter_map(|suspect| Some((rank(suspect)?, suspect))).collect();
        ranked.sort_by_key(|(rank, _)| Reverse(*rank));
        ranked.truncate(MAX_WATCHED);
        ranked.into_iter().map(|(_, suspect)| suspect).collect()
    }

    /// A group was started again, and says whether it had been told of.
    pub(super) fn restarted(&mut self, subject: &str, used: u64, alarms: &mut Alarms<'_>) -> bool {
        self.0.remove(&format!("{}:{subject}", MEMORY_LEAK.topic));
        let was_open = alarms.severity(MEMORY_LEAK, subject).is_some();
        let message = format!("`{subject}` was started again and holds {} now", bytes(float(used)));
        alarms.tell(MEMORY_LEAK, subject, None, message, json!({ "used_bytes": used }));
        was_open
    }
}

impl Outlook {
    /// Memory comes and goes by day more than disks do. As long as no whole day is known, a forecast has to
    /// lie within as much time as its past: half of the way has been seen. What was told of stays so for twice
    /// as much.
    fn cautious(self, is_open: bool) -> Self {
        let reach = if is_open { 2.0 } else { 1.0 };
        match self {
            Self::Foreseen(filling)
                if filling.past < DAY && filling.expected > reach * filling.past =>
            {
                Self::Clear
            }
            outlook => outlook,
        }
    }
}

/// Tells of one, unless what it is part of was told of. The forecast, where there is one and it counts.
fn tell(
    suspect: &Suspect<'_>,
    outlook: Outlook,
    days: Days,
    alarms: &mut Alarms<'_>,
) -> Option<Filling> {
    let Suspect { kind, subject, .. } = *suspect;
    let evidence = suspect.evidence();
    if let Some(group) = suspect.group
        && alarms.severity(kind, group).is_some()
    {
        alarms.tell(kind, subject, None, format!("`{subject}` is told of with {group}"), evidence);
        return None;
    }
    match outlook {
        Outlook::Foreseen(filling) => {
            let severity = severity(&filling, days, alarms.severity(kind, subject));
            let message = suspect.sentence(&filling, severity.is_some());
            let mut evidence = evidence;
            if let (Some(evidence), Value::Object(more)) =
                (evidence.as_object_mut(), filling.evidence(suspect.share(suspect.used)))
            {
                evidence.extend(more);
            }
            alarms.tell(kind, subject, severity, message, evidence);
            Some(filling)
        }
        Outlook::Unclear => {
            alarms.unknown(kind, subject);
            None
        }
        Outlook::Clear => {
            let message = format!("`{subject}`: its {} no longer grow to the limit", kind.what);
            let message =
                message.replace("its memory no longer grow ", "its memory no longer grows ");
            alarms.tell(kind, subject, None, message, evidence);
            None
        }
    }
}

/// As in "12.3 MiB".
fn bytes(amount: f64) -> String {
    let units = [(MEBIBYTE * 1_024.0, "GiB"), (MEBIBYTE, "MiB")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| amount >= *size).unwrap_or((1_024.0, "KiB"));
    format!("{:.1} {unit}", amount / size)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod traces;
