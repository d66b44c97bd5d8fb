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
mod limits;
mod origins;
mod printable;
mod report;
mod stored;

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use wachter_model::{Severity, Verdict};

use crate::anomaly::{AnomalyKind, Direction, Discovery, OddRate, Reason, Scale, Series, Weights};
use crate::record::Record;
use crate::template::{Entry, Found, Miner, Shape, Slot};

use activity::Activity;
use facts::{Facts, cost};
pub use limits::Limits;
use origins::Origins;
pub use report::{Anomaly, Evidence, Progress, Template};

/// A template with fewer lines is on probation: it is the first to go.
const PROBATION: u64 = 3;

/// Which share of the templates may be on probation before these are the only ones to go, as a divisor.
const PROBATION_SHARE: usize = 8;

/// What is stored beside templates and origins, in bytes at most.
const FRAME: usize = 2_048;

/// How much evidence is kept between two conclusions, in parts of the limit.
const EVIDENCE_SHARE: usize = 2;

/// How many new templates of one origin are told of by themselves; the others are counted.
const MOST_NEW: usize = 5;

/// A template that was away for less is not rare, in seconds.
const LEAST_GAP: i64 = 3 * DAY;

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

    fn insert(&mut self, shape: Shape, facts: Facts) {
        let slot = self.miner.insert(shape, facts);
        self.count_in(slot);
    }

    fn count_in(&mut self, slot: Slot) {
        let Some(entry) = self.miner.get_mut(slot) else { return };
        entry.facts.cost = cost(entry);
        self.cost += entry.facts.cost;
        if entry.facts.count < PROBATION {
            self.probation += 1;
            self.queue.push_back((slot, entry.facts.sequence));
            self.tidy_queue();
        }
    }

    /// Drops what has grown out of probation, or is gone, once it is most of the queue.
    fn tidy_queue(&mut self) {
        if self.queue.len() > 2 * self.miner.len() + 64 {
            let miner = &self.miner;
            self.queue.retain(|(slot, sequence)| {
                let entry = miner.get(*slot).map(|entry| &entry.facts);
                entry.is_some_and(|facts| facts.sequence == *sequence && facts.count < PROBATION)
            });
        }
    }

    fn count_out(&mut self, facts: &Facts) {
        self.cost = self.cost.saturating_sub(facts.cost);
        // What was never counted in has no cost.
        let was_counted = facts.count < PROBATION && facts.cost > 0;
        self.probation = self.probation.saturating_sub(usize::from(was_counted));
    }

    /// Forgets templates until there is room, but for the one at hand.
    fn make_room(&mut self, hand: Option<Slot>) {
        if self.cost + self.origins.stored() + FRAME <= self.limits.bytes {
            return;
        }
        self.forget(hand);
    }

    #[cold]
    fn forget(&mut self, hand: Option<Slot>) {
        let most = self.limits.bytes.saturating_sub(self.origins.stored() + FRAME);
        while self.cost > most && self.miner.len() > 1 {
            if self.probation * PROBATION_SHARE > self.miner.len()
                && let Some(slot) = self.oldest_on_probation(hand)
            {
                self.drop(slot);
            } else if !self.drop_least(hand) {
                return;
            }
        }
    }

    fn oldest_on_probation(&mut self, hand: Option<Slot>) -> Option<Slot> {
        let mut kept = None;
        let found = loop {
            let Some((slot, sequence)) = self.queue.pop_front() else { break None };
            if Some(slot) == hand {
                kept = Some((slot, sequence));
                continue;
            }
            let is = |entry: &Entry<Facts>| {
                entry.facts.sequence == sequence && entry.facts.count < PROBATION
            };
            if self.miner.get(slot).is_some_and(is) {
                break Some(slot);
            }
        };
        if let Some(kept) = kept {
            self.queue.push_front(kept);
        }
        found
    }

    /// Drops a sixteenth of the templates, those with fewest lines, so that looking for them pays.
    fn drop_least(&mut self, hand: Option<Slot>) -> bool {
        let now = self.programs.last.max(self.now);
        let mut worth: Vec<(f32, u64, Slot)> = self
            .miner
            .iter()
            .filter(|(slot, _)| Some(*slot) != hand)
            .map(|(slot, entry)| (entry.facts.worth(now), entry.facts.sequence, slot))
            .collect();
        worth.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        worth.truncate(worth.len().div_ceil(16));
        for (_, _, slot) in &worth {
            self.drop(*slot);
        }
        !worth.is_empty()
    }

    fn drop(&mut self, slot: Slot) {
        if let Some(entry) = self.miner.remove(slot) {
            self.count_out(&entry.facts);
            self.forgotten += 1;
        }
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

    /// Everything that may be told of, whatever its score, with its template.
    fn anomalies(&mut self) -> Vec<(Option<Slot>, Anomaly)> {
        let mut found = self.new_templates();
        let mut rates = Vec::new();
        let slots: Vec<Slot> = self.miner.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(entry) = self.miner.get_mut(slot) {
                rates.push((slot, entry.facts.series.take_odd()));
            }
        }
        for (slot, odd) in rates {
            let Some(entry) = self.miner.get(slot) else { continue };
            found.extend(odd.into_iter().flatten().map(|odd| (Some(slot), self.rate(entry, &odd))));
            found.extend(self.rare(entry).map(|anomaly| (Some(slot), anomaly)));
            found.extend(self.values(entry).map(|anomaly| (Some(slot), anomaly)));
        }
        if let [_, Some(odd)] = self.all.take_odd() {
            found.push((None, self.all_silent(&odd)));
        }
        found
    }

    fn new_templates(&self) -> Vec<(Option<Slot>, Anomaly)> {
        let mut born: BTreeMap<u16, Vec<(bool, Slot)>> = BTreeMap::new();
        for (slot, entry) in self.miner.iter().filter(|(_, entry)| entry.facts.recent.born) {
            let quiet = !explain::is_alarming(&entry.shape.text);
            born.entry(entry.shape.origin).or_default().push((quiet, slot));
        }
        let mut found = Vec::new();
        for (number, mut slots) in born {
            let origin = self.origins.get(number);
            // Bad news first, then the order in which they were written.
            slots.sort_by_key(|(quiet, slot)| {
                (*quiet, self.miner.get(*slot).map(|entry| entry.facts.sequence))
            });
            let discovery = if origin.born { &self.programs } else { &origin.discovery };
            if !discovery.is_warm() {
                continue;
            }
            let (told, news) = if origin.born {
                (1, discovery.surprise_alone())
            } else {
                (MOST_NEW, discovery.surprise(&self.host))
            };
            for (place, (quiet, slot)) in slots.iter().take(told).enumerate() {
                let Some(entry) = self.miner.get(*slot) else { continue };
                let text = &entry.shape.text;
                let surprise = news + if *quiet { 0.0 } else { 0.5 };
                let weight = origin.weights.of(AnomalyKind::NewTemplate);
                let score = Scale::NEW.score(surprise, weight);
                let last = place + 1 == slots.len().min(told);
                let others = if last { slots.len() - place - 1 } else { 0 };
                let message = if origin.born {
                    explain::new_program(origin, text, discovery.lines_before())
                } else {
                    explain::new_template(origin, text, discovery.lines_before(), others)
                };
                let severity = explain::severity(Severity::Low, score, !quiet, weight > 0.0);
                let anomaly =
                    self.anomaly(entry, AnomalyKind::NewTemplate, "", score, severity, message);
                found.push((Some(*slot), anomaly));
            }
        }
        found
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "it is an estimate"
    )]
    fn rare(&self, entry: &Entry<Facts>) -> Option<Anomaly> {
        let Facts { count, first, recent, weights, .. } = &entry.facts;
        let known = count - recent.count;
        let gap = recent.first - recent.before;
        if recent.born || recent.count == 0 || known == 0 || gap < LEAST_GAP {
            return None;
        }
        // Of the time that it was known: half a line more than there were.
        let mean = (recent.first - first) as f64 / (known as f64 + 0.5);
        let days = mean.min(gap as f64) / DAY as f64;
        let surprise = -(-(-1.0 / days).exp_m1()).log10();
        let weight = weights.of(AnomalyKind::RareTemplate);
        let score = Scale::RARE.score(surprise as f32, weight);
        let alarming = explain::is_alarming(&entry.shape.text);
        let origin = self.origins.get(entry.shape.origin);
        let days = gap as f64 / DAY as f64;
        let message = explain::rare_template(origin, &entry.shape.text, &entry.facts, days);
        let severity = explain::severity(Severity::Low, score, alarming, weight > 0.0);
        Some(self.anomaly(entry, AnomalyKind::RareTemplate, "", score, severity, message))
    }

    fn rate(&self, entry: &Entry<Facts>, odd: &OddRate) -> Anomaly {
        let weight = entry.facts.weights.of(AnomalyKind::Rate);
        let (scale, suffix) = scale_of(odd.direction);
        let score = scale.score(odd.surprise, weight);
        let origin = self.origins.get(entry.shape.origin);
        let message = explain::rate(origin.actor(), &entry.shape.text, odd, entry.facts.last);
        let alarming = odd.direction == Direction::Burst && explain::is_alarming(&entry.shape.text);
        let severity = explain::severity(Severity::Low, score, alarming, weight > 0.0);
        let anomaly = self.anomaly(entry, AnomalyKind::Rate, suffix, score, severity, message);
        Anomaly { expected: Some(odd.expected), seen: u64::from(odd.seen), ..anomaly }
    }

    fn values(&self, entry: &Entry<Facts>) -> impl Iterator<Item = Anomaly> {
        // One for each place: the most surprising.
        let mut places: BTreeMap<u8, &facts::Odd> = BTreeMap::new();
        for odd in &entry.facts.recent.odd {
            let place = places.entry(odd.place).or_insert(odd);
            if odd.odd.surprise > place.odd.surprise {
                *place = odd;
            }
        }
        let weight = entry.facts.weights.of(AnomalyKind::Value);
        let origin = self.origins.get(entry.shape.origin);
        places.into_values().map(move |odd| {
            let scale = match odd.odd.reason {
                Reason::Unseen { .. } => Scale::UNSEEN,
                Reason::Beyond { .. } => Scale::BEYOND,
            };
            let score = scale.score(odd.odd.surprise, weight);
            let message = explain::value(origin, &entry.shape.text, odd);
            let severity = explain::severity(Severity::Low, score, false, weight > 0.0);
            let suffix = format!(":{}", odd.place);
            let anomaly =
                self.anomaly(entry, AnomalyKind::Value, &suffix, score, severity, message);
            let same = |other: &&facts::Odd| other.place == odd.place;
            let evidence = entry.facts.recent.odd.iter().filter(same);
            Anomaly {
                evidence: evidence.filter_map(|odd| odd.evidence.clone()).collect(),
                ..anomaly
            }
        })
    }

    fn all_silent(&self, odd: &OddRate) -> Anomaly {
        let weight = self.all_weights.of(AnomalyKind::Rate);
        let score = Scale::SILENCE.score(odd.surprise, weight);
        Anomaly {
            kind: AnomalyKind::Rate,
            fingerprint: format!("log.{}:{ALL}", AnomalyKind::Rate.name()),
            score,
            severity: explain::severity(Severity::Medium, score, false, weight > 0.0),
            subject: "all logs".to_owned(),
            message: explain::rate("this host", "", odd, self.programs.last),
            evidence: Vec::new(),
            template: String::new(),
            expected: Some(odd.expected),
            seen: 0,
        }
    }

    fn anomaly(
        &self,
        entry: &Entry<Facts>,
        kind: AnomalyKind,
        suffix: &str,
        score: f32,
        severity: Severity,
        message: String,
    ) -> Anomaly {
        Anomaly {
            kind,
            fingerprint: format!("log.{}:{:016x}{suffix}", kind.name(), entry.facts.id),
            score,
            severity,
            subject: self.origins.get(entry.shape.origin).subject(),
            message,
            evidence: entry.facts.recent.evidence.clone(),
            template: entry.shape.text.clone(),
            expected: None,
            seen: entry.facts.recent.count,
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// What stands in a fingerprint for all templates together.
const ALL: &str = "all";

const fn scale_of(direction: Direction) -> (Scale, &'static str) {
    match direction {
        Direction::Burst => (Scale::BURST, ":burst"),
        Direction::Silence => (Scale::SILENCE, ":silence"),
    }
}

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
