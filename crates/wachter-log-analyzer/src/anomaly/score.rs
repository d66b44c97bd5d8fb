use serde::{Deserialize, Serialize};
use wachter_model::Verdict;

/// In which way something is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyKind {
    /// A template that was never seen before.
    NewTemplate,
    /// A template that is seen again after a long time, as few times before.
    RareTemplate,
    /// Far more lines of a template than the hour of the week brings, or none where there should be some.
    Rate,
    /// A value that was never seen at its place among few others, or far from all numbers there.
    Value,
}

impl AnomalyKind {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::NewTemplate, Self::RareTemplate, Self::Rate, Self::Value];

    /// As it stands in fingerprints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewTemplate => "new-template",
            Self::RareTemplate => "rare-template",
            Self::Rate => "rate",
            Self::Value => "value",
        }
    }
}

/// How surprise becomes a score: the surprise at which it is one half, and how much more it takes to move on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    half: f32,
    step: f32,
}

impl Scale {
    /// One template in 300 lines is news, one in 100 is not.
    pub(crate) const NEW: Self = Self { half: 2.5, step: 0.5 };
    /// By the chance that it is seen on a day: half at one day in eight.
    pub(crate) const RARE: Self = Self { half: 0.9, step: 0.2 };
    /// Tried for every template in every hour: a handful of false alarms a month where a thousand templates are busy.
    pub(crate) const BURST: Self = Self { half: 5.0, step: 1.2 };
    /// Tried as often, but for what is due only in few hours; that is taken account of before.
    pub(crate) const SILENCE: Self = Self { half: 5.0, step: 0.75 };
    /// Good-Turing: one unseen value among 300.
    pub(crate) const UNSEEN: Self = Self { half: 2.5, step: 0.4 };
    /// Tried for every number that is beyond all before it.
    pub(crate) const BEYOND: Self = Self { half: 5.0, step: 1.2 };

    /// From 0 to 1. A weight is what verdicts have added to the logarithm of the odds.
    pub(crate) fn score(self, surprise: f32, weight: f32) -> f32 {
        1.0 / (1.0 + (-(surprise - self.half) / self.step - weight).exp())
    }
}

/// What verdicts did to each kind of a template's anomalies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[u32; 4]", into = "[u32; 4]")]
pub(crate) struct Weights([f32; 4]);

impl Weights {
    const FALSE_POSITIVE: f32 = -2.0;
    const CONFIRMED: f32 = 1.5;
    const LEAST: f32 = -6.0;
    const MOST: f32 = 3.0;
    /// What a day leaves of a weight: half is left after 90 days, since what people find normal changes.
    const A_DAY: f32 = 0.992_328;

    pub(crate) const fn of(&self, kind: AnomalyKind) -> f32 {
        self.0[kind as usize]
    }

    /// Takes a share of a verdict in.
    pub(crate) fn judge(&mut self, kind: AnomalyKind, verdict: Verdict, share: f32) {
        let weight = &mut self.0[kind as usize];
        *weight += share
            * match verdict {
                Verdict::FalsePositive => Self::FALSE_POSITIVE,
                Verdict::Confirmed => Self::CONFIRMED,
            };
        *weight = weight.clamp(Self::LEAST, Self::MOST);
    }

    /// Forgets as days do. What is too small to matter is nothing.
    pub(crate) fn fade(&mut self, days: u32) {
        let left = Self::A_DAY.powi(i32::try_from(days).unwrap_or(i32::MAX));
        for weight in &mut self.0 {
            *weight = if weight.abs() < 0.05 { 0.0 } else { *weight * left };
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Of two templates that become one: whichever people were surer of.
    pub(crate) fn joined(self, other: Self) -> Self {
        let mut joined = self;
        for (weight, other) in joined.0.iter_mut().zip(other.0) {
            if other.abs() > weight.abs() {
                *weight = other;
            }
        }
        joined
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.0.iter().all(|weight| (Self::LEAST..=Self::MOST).contains(weight))
    }
}

/// Whole numbers alone are stored, so that they come back exactly.
impl From<Weights> for [u32; 4] {
    fn from(weights: Weights) -> Self {
        weights.0.map(f32::to_bits)
    }
}

impl From<[u32; 4]> for Weights {
    fn from(bits: [u32; 4]) -> Self {
        Self(bits.map(f32::from_bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_move_one_kind_and_fade() {
        let mut weights = Weights::default();
        let score = |weights: &Weights| Scale::BURST.score(5.7, weights.of(AnomalyKind::Rate));
        let before = score(&weights);
        weights.judge(AnomalyKind::Rate, Verdict::FalsePositive, 1.0);
        let lowered = score(&weights);
        assert!(before > 0.6 && lowered < 0.25, "{before} {lowered}");
        assert_eq!(weights.of(AnomalyKind::Value), 0.0);
        weights.fade(90);
        assert!((weights.of(AnomalyKind::Rate) + 1.0).abs() < 0.01);
        weights.judge(AnomalyKind::Rate, Verdict::Confirmed, 1.0);
        assert!(score(&weights) > before);
        weights.fade(900);
        weights.fade(1);
        assert!(weights.is_none());
    }

    #[test]
    fn no_number_of_verdicts_goes_beyond_the_ends() {
        let mut weights = Weights::default();
        for _ in 0..100 {
            weights.judge(AnomalyKind::NewTemplate, Verdict::FalsePositive, 1.0);
            weights.judge(AnomalyKind::Value, Verdict::Confirmed, 1.0);
            assert!(weights.is_sound());
        }
        // Even then what is surprising enough is told.
        assert!(Scale::BURST.score(20.0, Weights::LEAST) > 0.9);
    }

    #[test]
    fn scores_lie_between_zero_and_one_and_are_half_where_the_scale_says() {
        for scale in [Scale::NEW, Scale::RARE, Scale::BURST, Scale::SILENCE, Scale::UNSEEN] {
            assert!((scale.score(scale.half, 0.0) - 0.5).abs() < 1e-6);
            for surprise in [0.0, 1.0, 50.0, 1e6] {
                assert!((0.0..=1.0).contains(&scale.score(surprise, 0.0)));
            }
        }
    }
}
