//! What is out of the ordinary, in words and numbers.

use std::collections::BTreeMap;

use wachter_model::Severity;

use crate::anomaly::{AnomalyKind, Direction, OddRate, Reason, Scale};
use crate::template::{Entry, Slot};

use super::facts::{self, Facts};
use super::{ALL, Anomaly, DAY, Model, explain};

/// How many new templates of one origin are told of by themselves; the others are counted.
const MOST_NEW: usize = 5;

/// A template that was away for less is not rare, in seconds.
const LEAST_GAP: i64 = 3 * DAY;

impl Model {
    /// Everything that may be told of, whatever its score, with its template.
    pub(super) fn anomalies(&mut self) -> Vec<(Option<Slot>, Anomaly)> {
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

const fn scale_of(direction: Direction) -> (Scale, &'static str) {
    match direction {
        Direction::Burst => (Scale::BURST, ":burst"),
        Direction::Silence => (Scale::SILENCE, ":silence"),
    }
}
