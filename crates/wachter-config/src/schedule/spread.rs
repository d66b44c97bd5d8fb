use wachter_model::{AgentName, Digest, Duration, NodeName};

use jiff::Timestamp;

/// What sets the times of one agent on one node apart from all others: a number that is the same at
/// every computation, on every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spread(u64);

impl Spread {
    /// Of an agent that every node runs for itself.
    #[must_use]
    pub fn of_node(node: &NodeName, agent: &AgentName) -> Self {
        Self::of(&format!("wachter-schedule node {node} {agent}"))
    }

    /// Of an agent that one node runs for all: they have to agree on its times.
    #[must_use]
    pub fn of_fleet(agent: &AgentName) -> Self {
        Self::of(&format!("wachter-schedule fleet {agent}"))
    }

    fn of(text: &str) -> Self {
        let digest = Digest::of(text.as_bytes());
        let first = digest.as_bytes().first_chunk().expect("a SHA-256 has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    /// By how much the tick of `at` is late: at least nothing, less than `jitter`.
    #[must_use]
    pub fn jitter(self, at: Timestamp, jitter: Duration) -> Duration {
        let at = u64::from_ne_bytes(at.as_millisecond().to_ne_bytes());
        Duration::from_millis(self.below(at, jitter.as_millis()))
    }

    /// Where in an interval the ticks are.
    pub(super) fn phase(self, interval: Duration) -> u64 {
        self.below(0, interval.as_millis())
    }

    /// A number below `bound` that depends on `subject`; 0 where there is none.
    pub(super) fn below(self, subject: u64, bound: u64) -> u64 {
        let scaled = u128::from(mix(self.0 ^ mix(subject))) * u128::from(bound);
        u64::try_from(scaled >> 64).expect("a product of two 64-bit numbers, halved in width")
    }
}

/// The output function of SplitMix64: every bit of the result depends on every bit of `number`.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(node: &str) -> Spread {
        Spread::of_node(&node.parse().unwrap(), &"backup".parse().unwrap())
    }

    #[test]
    fn is_the_same_on_every_version() {
        let at: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let jitter = |node| spread(node).jitter(at, Duration::from_secs(300)).as_millis();
        assert_eq!((jitter("web-1"), jitter("web-2")), (137_297, 10_561));
    }

    #[test]
    fn spreads_evenly() {
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            let at = Timestamp::from_second(1_700_000_000 + number * 60).unwrap();
            let late = spread("web-1").jitter(at, Duration::from_secs(10)).as_millis();
            tenths[usize::try_from(late / 1_000).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1_150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn no_jitter_is_none() {
        let jitter = spread("web-1").jitter(Timestamp::UNIX_EPOCH, Duration::from_millis(0));
        assert_eq!(jitter.as_millis(), 0);
    }
}
