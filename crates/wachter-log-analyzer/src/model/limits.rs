use serde::{Deserialize, Serialize};

/// How much a model may hold, and what it tells.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most bytes that the model takes as JSON, not below 64 KiB. In memory it takes some eight times as
    /// much.
    pub bytes: usize,
    /// What an anomaly has to score to be told of, 0 to 1.
    pub score: f32,
}

impl Limits {
    /// A model of less could hold next to nothing.
    pub(crate) const LEAST_BYTES: usize = 64 * 1024;

    /// The same with every value within its bounds.
    pub(crate) fn bounded(self) -> Self {
        Self { bytes: self.bytes.max(Self::LEAST_BYTES), score: self.score.clamp(0.0, 1.0) }
    }
}

impl Default for Limits {
    /// 400 KiB, and what is more likely right than wrong.
    fn default() -> Self {
        Self { bytes: 400 * 1024, score: 0.5 }
    }
}
