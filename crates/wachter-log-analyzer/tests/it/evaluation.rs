//! How well anomalies are told: faults that were made against what the model says.

use std::collections::BTreeMap;

use wachter_log_analyzer::{AnomalyKind, Limits, Model, Record};

use crate::generator::{Fault, FaultKind, Generator, WEEK};

/// How many hours after a fault what is said still belongs to it: a burst is told until an hour was ordinary again.
const GRACE: u32 = 2;

/// What came of one log.
#[derive(Default)]
pub(crate) struct Evaluation {
    /// The highest score of each fault.
    pub(crate) faults: Vec<(FaultKind, f32)>,
    /// The highest score of each template and hour without a fault, where anything was said at all.
    pub(crate) quiet: Vec<f32>,
    /// How many templates and hours there were without a fault.
    pub(crate) cells: usize,
    /// For each alarm, from its first hour to its last: its score, and whether a fault was the reason.
    pub(crate) alarms: Vec<(AnomalyKind, f32, bool, String)>,
    pub(crate) lines: usize,
}

impl Evaluation {
    /// The share of the faults that are told, and of the hours of templates that are told wrongly.
    pub(crate) fn rates(&self, score: f32) -> (f64, f64) {
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        let told = self.faults.iter().filter(|(_, fault)| *fault >= score).count();
        let wrong = self.quiet.iter().filter(|quiet| **quiet >= score).count();
        (share(told, self.faults.len()), share(wrong, self.cells))
    }

    /// The share of the alarms that are right, and of the faults that are told.
    pub(crate) fn precision_and_recall(&self, score: f32) -> (f64, f64) {
        let alarms: Vec<_> = self.alarms.iter().filter(|(_, alarm, ..)| *alarm >= score).collect();
        let right = alarms.iter().filter(|(_, _, right, _)| *right).count();
        (right as f64 / alarms.len().max(1) as f64, self.rates(score).0)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.quiet.extend(other.quiet);
        self.alarms.extend(other.alarms);
        self.cells += other.cells;
        self.lines += other.lines;
    }
}

/// Learns for `quiet` weeks, then listens to what is said, up to week `weeks`.
pub(crate) fn evaluate(seed: u64, quiet: u32, weeks: u32) -> Evaluation {
    let mut generator = Generator::new(seed, quiet, weeks);
    let mut model = Model::new(Limits { score: 0.0, ..Limits::default() });
    let faults = generator.faults().to_vec();
    let mut evaluation = Evaluation {
        faults: faults.iter().map(|fault| (fault.kind, 0.0)).collect(),
        ..Evaluation::default()
    };
    let mut open: BTreeMap<String, (usize, u32)> = BTreeMap::new();
    let mut lines = Vec::new();
    for hour in 0..weeks * WEEK {
        generator.next_hour(&mut lines);
        for line in &lines {
            model.observe(&Record {
                source: "/var/log/syslog",
                offset: 0,
                time: Some(line.time),
                host: None,
                program: Some(line.program),
                process: None,
                message: line.message.as_bytes(),
            });
        }
        evaluation.lines += lines.len();
        let anomalies = model.conclude(Generator::end_of(hour));
        if hour < quiet * WEEK {
            continue;
        }
        evaluation.cells += model.progress().templates;
        let mut cells: BTreeMap<&str, f32> = BTreeMap::new();
        for anomaly in &anomalies {
            let mut right = false;
            for (fault, told) in faults.iter().zip(&mut evaluation.faults) {
                if belongs(fault, &anomaly.template, hour) {
                    right = true;
                    told.1 = told.1.max(anomaly.score);
                }
            }
            if !right {
                let cell = cells.entry(&anomaly.template).or_default();
                *cell = cell.max(anomaly.score);
            }
            if anomaly.score < 0.05 {
                continue;
            }
            let known = open.get(&anomaly.fingerprint).filter(|(_, last)| last + 1 >= hour);
            let place = known.map_or(evaluation.alarms.len(), |(place, _)| *place);
            if place == evaluation.alarms.len() {
                evaluation.alarms.push((
                    anomaly.kind,
                    anomaly.score,
                    right,
                    anomaly.message.clone(),
                ));
            }
            let alarm = &mut evaluation.alarms[place];
            if anomaly.score > alarm.1 {
                (alarm.1, alarm.3) = (anomaly.score, anomaly.message.clone());
            }
            alarm.2 |= right;
            open.insert(anomaly.fingerprint.clone(), (place, hour));
        }
        evaluation.quiet.extend(cells.into_values());
    }
    evaluation
}

fn belongs(fault: &Fault, template: &str, hour: u32) -> bool {
    template.contains(fault.marker) && (fault.from..fault.until + GRACE).contains(&hour)
}
