//! Keeping to the limit: what each template costs, and which go first.

use crate::template::{Entry, Shape, Slot};

use super::Model;
use super::facts::{Facts, cost};

/// A template with fewer lines is on probation: it is the first to go.
pub(super) const PROBATION: u64 = 3;

/// Which share of the templates may be on probation before these are the only ones to go, as a divisor.
const PROBATION_SHARE: usize = 8;

/// What is stored beside templates and origins, in bytes at most.
const FRAME: usize = 2_048;

impl Model {
    pub(super) fn insert(&mut self, shape: Shape, facts: Facts) {
        let slot = self.miner.insert(shape, facts);
        self.count_in(slot);
    }

    pub(super) fn count_in(&mut self, slot: Slot) {
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

    pub(super) fn count_out(&mut self, facts: &Facts) {
        self.cost = self.cost.saturating_sub(facts.cost);
        // What was never counted in has no cost.
        let was_counted = facts.count < PROBATION && facts.cost > 0;
        self.probation = self.probation.saturating_sub(usize::from(was_counted));
    }

    /// Forgets templates until there is room, but for the one at hand.
    pub(super) fn make_room(&mut self, hand: Option<Slot>) {
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
}
