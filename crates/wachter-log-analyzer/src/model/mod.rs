//! The model: what is known of all templates, within a limit, and what is told of them.
//!
//! # Invariants
//! - As JSON it is never larger than [`Limits::bytes`], whatever was observed.
//! - Stored after a conclusion and read again, it goes on exactly as it would have.
//! - The same records in the same order give the same anomalies.
//! - No clock is read.
//!
//! # What is forgotten
//! Where room is short, templates with one or two lines go first, the oldest of them first, until they hold an eighth of
//! all; then those with fewest lines, old ones counted less. So a flood of random lines drives out itself.

mod activity;
mod explain;
mod facts;
mod forgetting;
mod limits;
mod origins;
mod printable;
mod report;
mod stored;
mod telling;

use std::collections::VecDeque;

use jiff::Timestamp;
use wachter_model::Verdict;

use crate::anomaly::{AnomalyKind, Discovery, Series, Weights};
use crate::record::Record;
use crate::template::{Entry, Found, Miner, Slot};

use activity::Activity;
use facts::{Facts, cost};
use forgetting::PROBATION;
pub use limits::Limits;
use origins::Origins;
pub use report::{Anomaly, Evidence, Progress, Template};

/// How much evidence is kept between two conclusions, in parts of the limit.
const EVIDENCE_SHARE: usize = 2;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// Learns what logs say, and tells what is out of the ordinary.
///
/// Serialize it after [`conclude`](Self::conclude): evidence of the time since the last conclusion is not stored.
#[derive(Clone, Debug)]
pub struct Model {
    limits: Limits,
    miner: Miner<Facts>,
    origins: Origins,
    /// How often a program is new, and a template of any.
    programs: Discovery,
    host: Discovery,
    /// The lines of all templates together.
    all: Series,
    all_weights: Weights,
    activity: Activity,
    /// When learning began, and the last conclusion, in seconds since the epoch; 0 before.
    since: i64,
    now: i64,
    /// The day up to which forgetting has come.
    day: i64,
    conclusions: u64,
    records: u64,
    forgotten: u64,
    /// What the templates cost together, and how many are on probation.
    cost: usize,
    probation: usize,
    /// How many bytes of evidence may be kept until the next conclusion.
    evidence_room: usize,
    /// Those that began on probation, oldest first. Some have grown out of it, or are gone.
    queue: VecDeque<(Slot, u64)>,
}

impl Model {
    /// A model that knows nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.bounded(),
            miner: Miner::default(),
            origins: Origins::default(),
            programs: Discovery::default(),
            host: Discovery::default(),
            all: Series::default(),
            all_weights: Weights::default(),
            activity: Activity::default(),
            since: 0,
            now: 0,
            day: 0,
            conclusions: 0,
            records: 0,
            forgotten: 0,
            cost: 0,
            probation: 0,
            evidence_room: limits.bounded().bytes * EVIDENCE_SHARE,
            queue: VecDeque::new(),
        }
    }

    /// Takes other limits up. What is too much is forgotten at once.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits.bounded();
        self.make_room(None);
    }

    /// Learns from a record. A record without a time counts for the time of the last conclusion.
    pub fn observe(&mut self, record: &Record<'_>) {
        let time = record.time.map_or(self.now, Timestamp::as_second).max(0);
        let hour = hour_of(time);
        let (origin, born) = self.origins.number(record.program, record.source);
        self.records += 1;
        self.programs.observe(time);
        self.host.observe(time);
        if born {
            self.programs.discover();
        }
        self.origins.get_mut(origin).discovery.observe(time);
        if hour > 0 {
            self.activity.mark(hour);
        }
        self.all.observe(hour, |_| true);
        let slot = match self.miner.observe(origin, record.message) {
            Found::Known(slot) => slot,
            Found::New(slot) => {
                self.begin(slot, record, time);
                slot
            }
            Found::Merged(slot, members) => {
                self.join(slot, members, record, time);
                slot
            }
        };
        let Some((entry, tokens)) = self.miner.get_with_tokens(slot) else { return };
        let activity = &self.activity;
        let is_active = |hour| activity.has(hour);
        let resized =
            entry.facts.observe(record, tokens, (time, hour), &mut self.evidence_room, is_active);
        if entry.facts.count == PROBATION {
            self.probation = self.probation.saturating_sub(1);
        }
        if resized {
            self.cost = self.cost.saturating_sub(entry.facts.cost);
            entry.facts.cost = cost(entry);
            self.cost += entry.facts.cost;
            self.make_room(Some(slot));
        }
    }

    /// Tells what is out of the ordinary since the last conclusion, most certain first.
    ///
    /// `now` is the time up to which all logs were read. While a source is behind, it is the time of its last record: later
    /// hours would be taken for silent.
    ///
    /// Templates that are new or rare, and values, are told once. A rate is told by each conclusion for as long as it
    /// holds. The first conclusion tells nothing: all that is there was there before.
    pub fn conclude(&mut self, now: Timestamp) -> Vec<Anomaly> {
        let now = now.as_second().max(HOUR);
        self.advance(now);
        let mut anomalies = self.anomalies();
        anomalies.retain(|(_, anomaly)| {
            self.conclusions > 0 && anomaly.score >= self.limits.score && anomaly.score > 0.0
        });
        for (slot, anomaly) in &anomalies {
            if let Some(entry) = slot.and_then(|slot| self.miner.get_mut(slot)) {
                entry.facts.score = anomaly.score;
            }
        }
        self.settle(now);
        let mut anomalies: Vec<_> = anomalies.into_iter().map(|(_, anomaly)| anomaly).collect();
        anomalies.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint))
        });
        anomalies
    }

    /// Takes in what a person said of an anomaly: the template's score is lower, or higher, for this kind from now on. False
    /// where no template is known by this fingerprint.
    ///
    /// What is said of a new template counts for the new templates of its program, since it will not be new again. Half of what
    /// a verdict does is left after 90 days.
    pub fn judge(&mut self, fingerprint: &str, verdict: Verdict) -> bool {
        let Some((kind, id)) = parse(fingerprint) else { return false };
        if id == ALL {
            self.all_weights.judge(kind, verdict, 1.0);
            return true;
        }
        let Ok(id) = u64::from_str_radix(id, 16) else { return false };
        let Some(entry) = self.miner.iter_mut().find(|entry| entry.facts.is(id)) else {
            return false;
        };
        entry.facts.weights.judge(kind, verdict, 1.0);
        self.cost = self.cost.saturating_sub(entry.facts.cost);
        entry.facts.cost = cost(entry);
        self.cost += entry.facts.cost;
        let origin = entry.shape.origin;
        if kind == AnomalyKind::NewTemplate {
            self.origins.get_mut(origin).weights.judge(kind, verdict, 0.5);
        }
        self.make_room(None);
        true
    }

    /// The templates that are known, in no order.
    pub fn templates(&self) -> impl Iterator<Item = Template> + '_ {
        self.miner.iter().map(|(_, entry)| self.template(entry))
    }

    /// The template that a record belongs to, without learning from it.
    pub fn find(&mut self, record: &Record<'_>) -> Option<Template> {
        let (origin, _) = self.origins.number(record.program, record.source);
        let slot = self.miner.find(origin, record.message)?;
        Some(self.template(self.miner.get(slot)?))
    }

    /// How far learning has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let origins = self.origins.list();
        let known = origins.iter().filter(|origin| origin.discovery.is_known());
        Progress {
            since: (self.since > 0).then(|| timestamp(self.since)),
            records: self.records,
            templates: self.miner.len(),
            forgotten: self.forgotten,
            warm: known.clone().filter(|origin| origin.discovery.is_warm()).count(),
            programs: known.count(),
        }
    }

    fn template(&self, entry: &Entry<Facts>) -> Template {
        Template {
            subject: self.origins.get(entry.shape.origin).subject(),
            text: entry.shape.text.clone(),
            count: entry.facts.count,
            first: timestamp(entry.facts.first),
            last: timestamp(entry.facts.last),
            score: entry.facts.score,
        }
    }

    #[cold]
    fn begin(&mut self, slot: Slot, record: &Record<'_>, time: i64) {
        let Some(entry) = self.miner.get_mut(slot) else { return };
        let origin = self.origins.get_mut(entry.shape.origin);
        origin.discovery.discover();
        self.host.discover();
        entry.facts.begin(&origin.name, &entry.shape, self.records, time);
        self.origins.seen_in(entry.shape.origin, record.source);
        self.count_in(slot);
        self.make_room(Some(slot));
    }

    #[cold]
    fn join(
        &mut self,
        slot: Slot,
        mut members: Vec<crate::template::Merge<Facts>>,
        record: &Record<'_>,
        time: i64,
    ) {
        for member in &members {
            self.count_out(&member.facts);
        }
        let Some(entry) = self.miner.get_mut(slot) else { return };
        // The line at hand began a template of its own, which went into the others before it was counted.
        members.retain(|member| member.facts.count > 0);
        if members.is_empty() {
            return self.begin(slot, record, time);
        }
        entry.facts = Facts::joined(&entry.shape, members);
        self.count_in(slot);
        self.make_room(Some(slot));
    }

    /// Closes the hours before `now`.
    fn advance(&mut self, now: i64) {
        let hour = hour_of(now);
        self.activity.not_after(hour);
        self.all.begin(hour);
        self.all.not_after(hour);
        self.all.advance(hour, |_| true);
        let activity = &self.activity;
        for entry in self.miner.iter_mut() {
            let series = &mut entry.facts.series;
            series.begin(hour);
            series.not_after(hour);
            series.advance(hour, |hour| activity.has(hour));
            if entry.facts.first == 0 {
                (entry.facts.first, entry.facts.last) = (now, now);
            }
        }
    }

    /// Takes in what was new since the last conclusion.
    fn settle(&mut self, now: i64) {
        self.now = now;
        if self.since == 0 {
            self.since = now;
        }
        self.conclusions += 1;
        let days = u32::try_from((now / DAY - self.day).max(0)).unwrap_or(u32::MAX);
        let faded = if self.day == 0 { 0 } else { days };
        self.day = self.day.max(now / DAY);
        for discovery in [&mut self.programs, &mut self.host] {
            discovery.settle();
            discovery.fade(faded);
        }
        for origin in self.origins.iter_mut() {
            origin.discovery.settle();
            origin.born = false;
            if faded > 0 {
                origin.discovery.fade(faded);
                origin.weights.fade(faded);
            }
        }
        let mut whole = 0;
        for entry in self.miner.iter_mut() {
            if faded > 0 {
                entry.facts.weights.fade(faded);
            }
            entry.facts.recent = facts::Recent::default();
            entry.facts.cost = cost(entry);
            whole += entry.facts.cost;
        }
        if faded > 0 {
            self.all_weights.fade(faded);
        }
        self.cost = whole;
        self.evidence_room = self.limits.bytes * EVIDENCE_SHARE;
        self.make_room(None);
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// What stands in a fingerprint for all templates together.
const ALL: &str = "all";

/// The kind of an anomaly, and what its template is called.
fn parse(fingerprint: &str) -> Option<(AnomalyKind, &str)> {
    let mut parts = fingerprint.strip_prefix("log.")?.split(':');
    let name = parts.next()?;
    let kind = AnomalyKind::ALL.into_iter().find(|kind| kind.name() == name)?;
    Some((kind, parts.next()?))
}

fn hour_of(seconds: i64) -> i32 {
    i32::try_from(seconds / HOUR).unwrap_or(0).max(0)
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
