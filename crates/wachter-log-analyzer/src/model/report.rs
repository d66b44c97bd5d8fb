use jiff::Timestamp;
use serde::Serialize;
use wachter_model::Severity;

use crate::AnomalyKind;

/// Something out of the ordinary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Anomaly {
    /// In which way.
    pub kind: AnomalyKind,
    /// Stays the same for the same kind of anomaly of the same template; what [`Model::judge`](crate::Model::judge) takes.
    pub fingerprint: String,
    /// How sure it is, 0 to 1: what the statistics say, moved by verdicts.
    pub score: f32,
    /// How bad it may be.
    pub severity: Severity,
    /// The program, and what its lines are read from.
    pub subject: String,
    /// One sentence for a person.
    pub message: String,
    /// Lines that show it, at most five.
    pub evidence: Vec<Evidence>,
    /// What the lines have in common; empty where it is about all lines.
    pub template: String,
    /// How many lines were to be expected, where it is about their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<f32>,
    /// How many there were.
    pub seen: u64,
}

/// A line that shows an anomaly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What it was read from.
    pub source: String,
    /// Where it begins there, in bytes.
    pub offset: u64,
    /// The message, escaped, at most 200 bytes.
    pub line: String,
}

/// What lines of one program have in common, for reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Template {
    /// The program, and what its lines are read from.
    pub subject: String,
    /// The text, with `<*>` where values are.
    pub text: String,
    /// How many lines it had.
    pub count: u64,
    /// When the first was written.
    pub first: Timestamp,
    /// When the last was.
    pub last: Timestamp,
    /// The score with which it was told of last; 0 where it never was.
    pub score: f32,
}

/// How far a model has come with learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// When it began; nothing before the first conclusion.
    pub since: Option<Timestamp>,
    /// How many records it has observed.
    pub records: u64,
    /// How many templates it knows.
    pub templates: usize,
    /// How many it had to forget for want of room.
    pub forgotten: u64,
    /// How many programs it knows well enough to call their messages new.
    pub warm: usize,
    /// How many programs it knows.
    pub programs: usize,
}
