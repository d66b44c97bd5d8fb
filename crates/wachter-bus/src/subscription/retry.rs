use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::Seq;

/// What becomes of a delivery that failed, was not settled in time, or was interrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// How often an event may fail; the last time it goes to the dead letters. A failure is a
    /// [`nak`](crate::Delivery::nak) and a deadline that was past. 5.
    pub attempts: u32,
    /// How often the deliveries of an event may be interrupted before it goes to the dead letters:
    /// dropped, given back, or under way when the node went down. This bounds what an event can do
    /// that takes its worker or the node down each time. 10.
    pub interruptions: u32,
    /// The wait after the first failure. 1 s.
    pub initial: Duration,
    /// By what each further wait is longer. 2.
    pub factor: f64,
    /// The longest wait. 5 min.
    pub max: Duration,
    /// How much of a wait is taken off at random, from 0 to 1, so that what failed together is not
    /// tried together. 0.2.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            interruptions: 10,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(300),
            jitter: 0.2,
        }
    }
}

impl Retry {
    /// The wait after failure, or interruption, number `attempt` of the event at `seq`. Always the same for the same:
    /// what is taken off comes from a hash of both.
    pub(super) fn wait(&self, seq: Seq, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max.as_secs_f64();
        let grown = self.initial.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // A product beyond all bounds is no number to compare with.
        let full = if grown.is_finite() { grown.min(longest) } else { longest };
        let hash =
            Sha256::digest([seq.get().to_be_bytes(), u64::from(attempt).to_be_bytes()].concat());
        let share = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX);
        Duration::try_from_secs_f64(full * (1.0 - self.jitter.clamp(0.0, 1.0) * share))
            .unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest() {
        let retry = Retry { jitter: 0.0, ..Retry::default() };
        let waits: Vec<_> = [1, 2, 3, 9, 10, 5_000]
            .map(|attempt| retry.wait(Seq::new(1), attempt).as_secs())
            .into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn jitter_takes_off_no_more_than_it_may() {
        let retry = Retry::default();
        let waits: Vec<_> =
            (0..1_000).map(|seq| retry.wait(Seq::new(seq), 1).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (0.8..=1.0).contains(wait)));
        let mean = waits.iter().sum::<f64>() / 1_000.0;
        assert!((0.89..0.91).contains(&mean), "{mean}");
    }
}
