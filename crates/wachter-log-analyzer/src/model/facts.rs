use wachter_model::Digest;

use crate::Record;
use crate::anomaly::{OddValue, Parameter, Range, Series, Weights, json_length};
use crate::template::{Entry, Merge, Shape, Token, ones};

use super::printable::printable;
use super::report::Evidence;

/// How many values of a line are looked at.
const MOST_PARAMETERS: usize = 8;

/// How many lines are kept as evidence, and values that are odd.
const MOST_EVIDENCE: usize = 3;
const MOST_ODD: usize = 4;

/// How many names of templates that went into one are kept.
const MOST_FORMER: usize = 4;

/// How much of a line is shown.
const LONGEST_LINE: usize = 200;
const LONGEST_SOURCE: usize = 120;
const LONGEST_VALUE: usize = 60;

/// A less surprising value is nothing to look at again.
const LEAST_SURPRISE: f32 = 1.0;

/// What is known of a template.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// What fingerprints call it: of the text that it began with.
    pub(crate) id: u64,
    /// What those called that went into it.
    pub(crate) former: Vec<u64>,
    pub(crate) count: u64,
    /// When the first and the last line was written, in seconds since the epoch.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The number of the line with which it began.
    pub(crate) sequence: u64,
    /// The score with which it was told of last.
    pub(crate) score: f32,
    pub(crate) weights: Weights,
    pub(crate) series: Series,
    /// By place.
    pub(crate) parameters: Vec<Parameter>,
    /// What the model counts it as, in bytes of JSON.
    pub(crate) cost: usize,
    /// What is known since the last conclusion alone, and is not stored.
    pub(crate) recent: Recent,
}

/// What a template did since the last conclusion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// Whether it began since then.
    pub(crate) born: bool,
    pub(crate) count: u64,
    /// When the last line before was written, and the first of these.
    pub(crate) before: i64,
    pub(crate) first: i64,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) odd: Vec<Odd>,
}

/// A value out of the ordinary, with its line.
#[derive(Clone, Debug)]
pub(crate) struct Odd {
    pub(crate) place: u8,
    pub(crate) value: String,
    pub(crate) odd: OddValue,
    /// Nothing where there was no room for it.
    pub(crate) evidence: Option<Evidence>,
}

impl Facts {
    pub(crate) fn begin(&mut self, program: &str, shape: &Shape, sequence: u64, time: i64) {
        self.id = id(program, &shape.text);
        (self.sequence, self.first, self.last) = (sequence, time, time);
        self.recent.born = true;
        self.parameters = ones(shape.values)
            .take(MOST_PARAMETERS)
            .filter_map(|place| u8::try_from(place).ok())
            .map(Parameter::new)
            .collect();
    }

    /// Takes a line in. Returns whether what has to be stored has changed in size.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        record: &Record<'_>,
        tokens: &[Token],
        (time, hour): (i64, i32),
        room: &mut usize,
        is_active: impl Fn(i32) -> bool,
    ) -> bool {
        self.count += 1;
        if self.recent.count == 0 {
            (self.recent.before, self.recent.first) = (self.last, time);
        }
        self.recent.count += 1;
        self.last = self.last.max(time);
        if self.recent.evidence.len() < MOST_EVIDENCE
            && let Some(evidence) = evidence(record, room)
        {
            self.recent.evidence.push(evidence);
        }
        let mut resized = self.series.observe(hour, is_active);
        for parameter in &mut self.parameters {
            let Some(token) = tokens.get(usize::from(parameter.place)) else { break };
            let value = token.value().of(record.message);
            let (odd, changed) = parameter.observe(value);
            resized |= changed;
            if let Some(odd) = odd.filter(|odd| odd.surprise >= LEAST_SURPRISE) {
                self.recent.note(Odd {
                    place: parameter.place,
                    value: printable(value, LONGEST_VALUE),
                    odd,
                    evidence: evidence(record, room),
                });
            }
        }
        resized
    }

    /// Of templates that go into one: the lines of all, and the rest of the one with most lines.
    pub(crate) fn joined(shape: &Shape, mut members: Vec<Merge<Self>>) -> Self {
        // What was made on the way from words to values never had a line.
        members.retain(|member| member.facts.count > 0);
        members.sort_by_key(|member| (u64::MAX - member.facts.count, member.facts.sequence));
        let count: u64 = members.iter().map(|member| member.facts.count).sum();
        let mut members = members.into_iter();
        let Some(Merge { shape: most_shape, facts: most }) = members.next() else {
            return Self::default();
        };
        let parameters = most.parameters_of(shape, &most_shape);
        #[allow(clippy::cast_precision_loss, reason = "six digits are enough")]
        let factor = count as f64 / most.count.max(1) as f64;
        let mut joined =
            Self { series: most.series.clone().scaled(factor), parameters, count, ..most };
        for Merge { shape: other_shape, facts: other } in members {
            joined.former.push(other.id);
            joined.first = joined.first.min(other.first);
            joined.last = joined.last.max(other.last);
            joined.sequence = joined.sequence.min(other.sequence);
            joined.score = joined.score.max(other.score);
            joined.weights = joined.weights.joined(other.weights);
            joined.series.add_open(&other.series);
            joined.know_words(shape, &other_shape, other.count);
            joined.recent.join(other.recent);
        }
        joined.former.truncate(MOST_FORMER);
        joined
    }

    /// The parameters of a template that this one goes into.
    fn parameters_of(&self, shape: &Shape, own: &Shape) -> Vec<Parameter> {
        ones(shape.values)
            .take(MOST_PARAMETERS)
            .filter_map(|place| {
                let place = u8::try_from(place).ok()?;
                let known = self.parameters.iter().find(|parameter| parameter.place == place);
                let mut parameter = known.cloned().unwrap_or_else(|| Parameter::new(place));
                if known.is_none()
                    && let Some(word) = word_at(shape, own, place)
                {
                    parameter.know(word, u32::try_from(self.count).unwrap_or(u32::MAX));
                }
                Some(parameter)
            })
            .collect()
    }

    fn know_words(&mut self, shape: &Shape, other: &Shape, count: u64) {
        for parameter in &mut self.parameters {
            if let Some(word) = word_at(shape, other, parameter.place) {
                parameter.know(word, u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
    }

    /// What it takes to store it with its template, in bytes of JSON at most.
    pub(crate) fn stored(&self, shape: &Shape) -> usize {
        let parameters: usize = self.parameters.iter().map(Parameter::stored).sum();
        let weights = if self.weights.is_none() { 4 } else { 46 };
        json_length(&shape.text)
            + 200
            + self.former.len() * 21
            + weights
            + self.series.stored()
            + parameters
    }

    /// How much would be lost with it: what was seen often or lately stays. Half is left of a count after 30 days.
    #[allow(clippy::cast_precision_loss, reason = "it is for comparing")]
    pub(crate) fn worth(&self, now: i64) -> f32 {
        let days = (now - self.last).max(0) as f32 / 86_400.0;
        let judged = if self.weights.is_none() { 0.0 } else { 10.0 };
        (self.count as f32).log2() + judged - days / 30.0
    }

    /// Whether a fingerprint may mean it.
    pub(crate) fn is(&self, id: u64) -> bool {
        self.id == id || self.former.contains(&id)
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.score.is_finite()
            && self.weights.is_sound()
            && self.series.state.is_sound()
            && self.parameters.len() <= MOST_PARAMETERS
            && self.former.len() <= MOST_FORMER
            && self.parameters.iter().all(|parameter| match &parameter.range {
                Range::Numbers(numbers) => numbers.is_sound(),
                _ => true,
            })
    }
}

impl Recent {
    fn note(&mut self, odd: Odd) {
        if self.odd.len() < MOST_ODD {
            self.odd.push(odd);
            return;
        }
        // What is least surprising gives way.
        let least = self.odd.iter_mut().min_by(|a, b| a.odd.surprise.total_cmp(&b.odd.surprise));
        if let Some(least) = least.filter(|least| least.odd.surprise < odd.odd.surprise) {
            *least = odd;
        }
    }

    fn join(&mut self, other: Self) {
        if other.count == 0 {
            self.born &= other.born;
            return;
        }
        if self.count == 0 {
            (self.before, self.first) = (other.before, other.first);
        }
        self.born &= other.born;
        self.count += other.count;
        self.before = self.before.max(other.before);
        self.first = self.first.min(other.first);
        self.evidence.extend(other.evidence);
        self.evidence.truncate(MOST_EVIDENCE);
        other.odd.into_iter().for_each(|odd| self.note(odd));
    }
}

/// The template and what it takes to store it.
pub(crate) fn cost(entry: &Entry<Facts>) -> usize {
    entry.facts.stored(&entry.shape)
}

/// The word that `other` has where `shape`, which took it in, has learned that there is a value.
fn word_at<'a>(shape: &Shape, other: &'a Shape, place: u8) -> Option<&'a str> {
    let place = usize::from(place);
    if other.values & 1 << place != 0 {
        return None;
    }
    let key = shape.token(place)?.strip_suffix("<*>")?;
    other.token(place)?.strip_prefix(key)
}

/// What a template is called: the same in every process and for every model.
fn id(program: &str, text: &str) -> u64 {
    let digest = Digest::of([program.as_bytes(), b"\0", text.as_bytes()].concat().as_slice());
    let (first, _) = digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
}

/// Nothing where there is no room for it any more.
#[cold]
fn evidence(record: &Record<'_>, room: &mut usize) -> Option<Evidence> {
    *room = room.checked_sub(LONGEST_LINE + LONGEST_SOURCE)?;
    Some(Evidence {
        source: printable(record.source.as_bytes(), LONGEST_SOURCE),
        offset: record.offset,
        line: printable(record.message, LONGEST_LINE),
    })
}
