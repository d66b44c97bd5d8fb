use std::collections::{BTreeMap, BTreeSet};

use wachter_bus::Seq;

/// What the process said, over all rounds, of events that the journal still has.
#[derive(Default)]
pub(super) struct Said {
    /// Identifiers of what was acknowledged to publishers.
    pub(super) published: BTreeMap<Seq, String>,
    /// The key of each delivery, and with how many failures it was delivered last.
    delivered: BTreeMap<Seq, (String, u64)>,
    pub(super) settled: BTreeSet<Seq>,
    /// The number of the last failure of each.
    pub(super) failed: BTreeMap<Seq, u64>,
    /// Failures of this round.
    pub(super) failed_now: BTreeMap<Seq, u64>,
    /// How much each worker has counted.
    pub(super) counted: BTreeMap<String, u64>,
    /// Deliveries that were not settled when the round before was killed.
    pub(super) open_before: usize,
    /// Deliveries of this round that had been made before.
    pub(super) repeats: usize,
    pub(super) totals: Totals,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) published: usize,
    pub(super) settled: usize,
    pub(super) failed: usize,
    pub(super) given_up: usize,
    pub(super) repeats: usize,
}

impl Said {
    /// Begins a round.
    pub(super) fn begin(&mut self) {
        let open = |(seq, (_, failures)): &(&Seq, &(String, u64))| {
            !self.settled.contains(seq)
                && self.failed.get(seq).is_none_or(|number| number <= failures)
        };
        self.open_before = self.delivered.iter().filter(open).count();
        self.repeats = 0;
        self.failed_now.clear();
    }

    pub(super) fn take(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [verb, place, name, number] = words[..] else { return };
        let (Ok(place), Ok(number)) = (place.parse::<u64>(), number.parse::<u64>()) else { return };
        let seq = Seq::new(place);
        match verb {
            "published" => {
                self.published.insert(seq, name.to_owned());
                self.totals.published += 1;
            }
            "delivered" => self.delivered(seq, name, number),
            "settled" => {
                self.settled.insert(seq);
                self.totals.settled += 1;
            }
            "failed" => {
                self.failed.insert(seq, number);
                self.failed_now.insert(seq, number);
                self.totals.failed += 1;
            }
            "counted" => drop(self.counted.insert(name.to_owned(), place)),
            _ => {}
        }
    }

    fn delivered(&mut self, seq: Seq, key: &str, failures: u64) {
        assert!(!self.settled.contains(&seq), "{seq} came after it was settled");
        let said = self.failed.get(&seq).copied().unwrap_or(0);
        assert!(failures >= said, "{seq} failed {said} times and came with {failures}");
        if let Some((before, count)) = self.delivered.insert(seq, (key.to_owned(), failures)) {
            assert_eq!(before, key, "{seq} came with another key");
            assert!(failures >= count, "{seq} came with {count} failures, then with {failures}");
            if failures == count {
                self.repeats += 1;
                self.totals.repeats += 1;
            }
        }
    }

    /// Forgets what retention has dropped.
    pub(super) fn forget_before(&mut self, first: Seq) {
        self.published = self.published.split_off(&first);
        self.delivered = self.delivered.split_off(&first);
        self.settled = self.settled.split_off(&first);
        self.failed = self.failed.split_off(&first);
    }
}
