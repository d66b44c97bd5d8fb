use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wachter_model::{Confidence, Duration, Finding, Severity, Topic};

use super::document::Alarm;
use super::evidence::shown;
use super::matching::{Match, PatternSet};
use super::template;
use super::window::Window;

/// How much is kept of what matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmLimits {
    /// Subjects of alarms that are counted at a time.
    pub subjects: usize,
    /// Findings that are open at a time.
    pub open: usize,
    /// Findings that one run begins.
    pub findings: usize,
}

impl AlarmLimits {
    /// What is kept where nothing is said: less than 400 KiB of state.
    pub const DEFAULT: Self = Self { subjects: 2_000, open: 500, findings: 200 };
}

/// What could not be kept, for one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Subjects that were counted, and forgotten for newer ones.
    pub(crate) subjects: u64,
    /// Findings that were open, and ended for newer ones.
    pub(crate) open: u64,
    /// Findings that were not reported, since a run had too many.
    pub(crate) unreported: u64,
}

/// Counts what matched, and turns it into findings: one when a problem begins, one when it has
/// ended, none between.
#[derive(Debug)]
pub struct Alarms {
    limits: AlarmLimits,
    now: Timestamp,
    windows: HashMap<Key, Counted>,
    open: BTreeMap<String, Open>,
    /// Fingerprints that must not begin anew yet, and until when.
    blackouts: BTreeMap<String, i64>,
    touches: u64,
    forgotten: Forgotten,
    begun: usize,
    found: Vec<Finding>,
}

/// What is kept from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The least recent first.
    windows: Vec<(String, String, Window)>,
    open: BTreeMap<String, Open>,
    blackouts: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    alarm: String,
    subject: String,
}

#[derive(Debug, Default)]
struct Counted {
    window: Window,
    touched: u64,
    /// As they were written, their beginnings.
    lines: VecDeque<Vec<u8>>,
}

/// A problem that was reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    #[serde(rename = "type")]
    kind: Topic,
    severity: Severity,
    subject: String,
    /// When a record last matched, in seconds since 1970.
    last: i64,
    /// For how many seconds nothing must match until it has ended.
    quiet: i64,
    count: u64,
}

/// Lines that a finding shows.
const MAX_LINES: usize = 5;
/// Characters of each.
const MAX_LINE: usize = 300;
/// Characters of a subject.
const MAX_SUBJECT: usize = 120;
/// For how many seconds a finding that was called false does not begin anew.
const SILENCE: i64 = 30 * 24 * 3_600;
/// Of all subjects, the part that is forgotten at once when there are too many.
const FORGOTTEN_PART: usize = 16;

impl Alarms {
    /// Goes on from a state.
    pub(crate) fn new(state: State, limits: AlarmLimits, now: Timestamp) -> Self {
        let mut alarms = Self {
            limits,
            now,
            windows: HashMap::new(),
            open: state.open,
            blackouts: state.blackouts,
            touches: 0,
            forgotten: Forgotten::default(),
            begun: 0,
            found: Vec::new(),
        };
        for (alarm, subject, window) in state.windows {
            alarms.touches += 1;
            let counted = Counted { window, touched: alarms.touches, lines: VecDeque::new() };
            alarms.windows.insert(Key { alarm, subject }, counted);
        }
        alarms
    }

    /// Counts one match.
    pub fn take(&mut self, set: &PatternSet, found: &Match<'_>) {
        let record = &found.entry().record;
        let time = record.time.unwrap_or(self.now);
        for alarm in &set.pattern(found).alarms {
            let subject = render(&alarm.subject, found, alarm, 0);
            let subject: String = subject.chars().take(MAX_SUBJECT).collect();
            self.count(alarm, subject, found, time);
        }
    }

    fn count(&mut self, alarm: &Alarm, subject: String, found: &Match<'_>, time: Timestamp) {
        let value = match &alarm.distinct {
            Some(group) => match found.group(group) {
                Some(value) => Some(hash(&value)),
                None => return,
            },
            None => None,
        };
        let fingerprint = format!("{}:{subject}", alarm.name);
        // A record from the future must not keep a problem open for ever.
        let moment = time.min(self.now).as_second();
        if let Some(open) = self.open.get_mut(&fingerprint) {
            open.last = open.last.max(moment);
            open.count += 1;
            return;
        }
        self.touches += 1;
        let counted = self.windows.entry(Key { alarm: alarm.name.clone(), subject }).or_default();
        counted.touched = self.touches;
        if counted.lines.len() == MAX_LINES {
            counted.lines.pop_front();
        }
        // Made fit to be shown only where it is: most lines never are.
        let text = found.entry().text;
        counted.lines.push_back(text[..text.len().min(4 * MAX_LINE + 1)].to_vec());
        let within = milliseconds(alarm.within);
        let count = usize::try_from(alarm.count).unwrap_or(usize::MAX).max(1);
        let enough = counted.window.add(time.as_millisecond(), value, count, within);
        if enough {
            self.begin(alarm, fingerprint, found, moment);
        } else if self.windows.len() > self.limits.subjects {
            self.forget();
        }
    }

    fn begin(&mut self, alarm: &Alarm, fingerprint: String, found: &Match<'_>, moment: i64) {
        let subject = fingerprint[alarm.name.len() + 1..].to_owned();
        let key = Key { alarm: alarm.name.clone(), subject };
        let Some(counted) = self.windows.remove(&key) else { return };
        if self.blackouts.get(&fingerprint).is_some_and(|until| moment < *until) {
            return;
        }
        if self.begun >= self.limits.findings {
            self.forgotten.unreported += 1;
            return;
        }
        self.begun += 1;
        let blackout = milliseconds(alarm.blackout) / 1_000;
        if blackout > 0 {
            self.blackouts.insert(fingerprint.clone(), moment.saturating_add(blackout));
        }
        let (first, last) = counted.window.bounds();
        let count = counted.window.len();
        let lines: Vec<_> = counted.lines.iter().map(|line| shown(line, MAX_LINE)).collect();
        self.found.push(Finding {
            kind: alarm.kind.clone(),
            severity: alarm.severity,
            confidence: Confidence::CERTAIN,
            subject: key.subject.clone(),
            message: render(&alarm.message, found, alarm, count),
            fingerprint: fingerprint.clone(),
            evidence: json!({
                "pattern": alarm.name,
                "source": shown(found.entry().record.source.as_bytes(), MAX_LINE),
                "count": count,
                "first": said(first),
                "last": said(last),
                "lines": lines,
            }),
            resolved: false,
        });
        let open = Open {
            kind: alarm.kind.clone(),
            severity: alarm.severity,
            subject: key.subject,
            last: moment,
            quiet: milliseconds(alarm.quiet) / 1_000,
            count: count as u64,
        };
        self.open.insert(fingerprint, open);
        if self.open.len() > self.limits.open {
            self.end_oldest();
        }
    }

    /// Ends what has been quiet for long enough, and gives everything that began or ended.
    pub(crate) fn conclude(mut self) -> (Vec<Finding>, State, Forgotten) {
        let now = self.now.as_second();
        let over: Vec<_> = self
            .open
            .extract_if(.., |_, open| {
                // Where the clock was set back, the time counts from now.
                open.last = open.last.min(now);
                now.saturating_sub(open.last) >= open.quiet
            })
            .collect();
        for (fingerprint, open) in over {
            let quiet = Duration::from_secs(u64::try_from(open.quiet).unwrap_or(0));
            let message = format!("{}: nothing more for {quiet}", open.subject);
            self.found.push(ended(fingerprint, open, message));
        }
        self.blackouts.retain(|_, until| *until > now);
        let mut windows: Vec<_> = self.windows.into_iter().collect();
        windows.sort_unstable_by_key(|(_, counted)| counted.touched);
        let windows =
            windows.into_iter().map(|(key, counted)| (key.alarm, key.subject, counted.window));
        let state =
            State { windows: windows.collect(), open: self.open, blackouts: self.blackouts };
        (self.found, state, self.forgotten)
    }

    /// Ends a finding that a person called false, and keeps it from beginning anew for 30 days.
    pub(crate) fn silence(&mut self, fingerprint: &str) {
        let Some(open) = self.open.remove(fingerprint) else { return };
        let until = self.now.as_second().saturating_add(SILENCE);
        self.blackouts.insert(fingerprint.to_owned(), until);
        let message = format!("{}: called false", open.subject);
        self.found.push(ended(fingerprint.to_owned(), open, message));
    }

    /// Forgets the least recent subjects, some at once so that it costs little for each.
    fn forget(&mut self) {
        let mut touches: Vec<_> = self.windows.values().map(|counted| counted.touched).collect();
        let keep = self.limits.subjects - self.limits.subjects / FORGOTTEN_PART;
        let surplus = touches.len().saturating_sub(keep.max(1));
        if surplus == 0 {
            return;
        }
        let (_, bound, _) = touches.select_nth_unstable(surplus - 1);
        let bound = *bound;
        self.windows.retain(|_, counted| counted.touched > bound);
        self.forgotten.subjects += surplus as u64;
    }

    fn end_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.last);
        let Some(fingerprint) = oldest.map(|(fingerprint, _)| fingerprint.clone()) else { return };
        if let Some(open) = self.open.remove(&fingerprint) {
            self.forgotten.open += 1;
            let message = format!("{}: no longer followed, there are too many", open.subject);
            self.found.push(ended(fingerprint, open, message));
        }
    }
}

impl State {
    /// Forgets the least recent half of the subjects; how many those were.
    pub(crate) fn halve(&mut self) -> u64 {
        let surplus = self.windows.len().div_ceil(2);
        self.windows.drain(..surplus);
        surplus as u64
    }

    /// The fingerprints of what is open.
    pub(crate) fn open(&self) -> impl Iterator<Item = &str> {
        self.open.keys().map(String::as_str)
    }
}

fn ended(fingerprint: String, open: Open, message: String) -> Finding {
    Finding {
        kind: open.kind,
        severity: open.severity,
        confidence: Confidence::CERTAIN,
        subject: open.subject,
        message,
        fingerprint,
        evidence: json!({ "count": open.count, "last": said(open.last.saturating_mul(1_000)) }),
        resolved: true,
    }
}

fn render(text: &str, found: &Match<'_>, alarm: &Alarm, count: usize) -> String {
    // Rendering takes slices; each value lives until the text is made.
    let names: Vec<_> = template::places(text).collect();
    let values: Vec<_> = names
        .iter()
        .map(|name| match *name {
            "count" => Some(count.to_string().into_bytes().into()),
            "within" => Some(alarm.within.to_string().into_bytes().into()),
            name => found.group(name),
        })
        .collect();
    template::render(text, |name| {
        let place = names.iter().position(|known| *known == name)?;
        values[place].as_deref()
    })
}

fn said(milliseconds: i64) -> Option<String> {
    Timestamp::from_millisecond(milliseconds).ok().map(|time| time.to_string())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn hash(value: &[u8]) -> u32 {
    // The keys of this hasher are fixed, so that it is the same in the next run.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
