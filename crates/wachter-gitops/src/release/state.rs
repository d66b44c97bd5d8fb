use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wachter_model::Digest;

use crate::ObjectId;

/// How many accepted releases are remembered.
const HISTORY: usize = 20;

/// The version of the file's format.
pub(crate) const VERSION: u32 = 1;

/// What a node remembers about releases: `state.json` in its data folder, replaced whole.
///
/// Losing it means to accept again, once, whatever the server shows; so a damaged one is an error and
/// never an empty one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(super) version: u32,
    /// The repository that all of this is about.
    pub repository: Option<String>,
    /// The newest trust file that the roots signed and this node saw.
    pub trust: Option<TrustMark>,
    /// No release is judged at an earlier time than this. It is raised when a release is accepted,
    /// and an accepted release has not expired: a clock that was wrong once can move it no further
    /// than that release's own date.
    pub time_floor: Option<Timestamp>,
    /// The accepted releases, oldest first. Never empty after the first, and its last is the floor.
    pub history: Vec<AcceptedRelease>,
    /// A release that people chose to stay at.
    pub pin: Option<Pin>,
    /// A release that people chose to go back to.
    pub rollback: Option<Rollback>,
}

/// Which trust file was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustMark {
    /// Its serial.
    pub serial: u64,
    /// Its digest.
    pub digest: Digest,
    /// A commit that holds it.
    pub commit: ObjectId,
}

/// A release that passed every check at the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedRelease {
    /// Its number. Where commits are followed, a count of what was accepted.
    pub sequence: u64,
    /// The commit.
    pub commit: ObjectId,
    /// SHA-256 over the tree.
    pub tree: Digest,
    /// Who signed, by the names of the trust file.
    pub signers: Vec<String>,
    /// The ring; absent where commits are followed.
    pub ring: Option<String>,
    /// Until when it could be accepted; absent where commits are followed.
    pub not_after: Option<Timestamp>,
    /// When it was accepted, by the node's clock.
    pub accepted_at: Timestamp,
    /// The serial of the trust file that it was judged by.
    pub trust_serial: u64,
}

/// Stay at one release until a date. Newer ones are judged and remembered meanwhile, and the newest
/// takes effect when the pin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The release.
    pub sequence: u64,
    /// The end, by the node's clock.
    pub until: Timestamp,
}

/// Back at an earlier release until one is accepted that is newer than all that were known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The release that is in force.
    pub to: u64,
    /// The newest one at the time; what comes after it ends the rollback.
    pub from: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            repository: None,
            trust: None,
            time_floor: None,
            history: Vec::new(),
            pin: None,
            rollback: None,
        }
    }
}

impl State {
    /// The release in force at `now`: the pinned one, else the one rolled back to, else the newest.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Option<&AcceptedRelease> {
        let pinned = self.pin.filter(|pin| now < pin.until).map(|pin| pin.sequence);
        let rolled_back = self.rollback.map(|rollback| rollback.to);
        match pinned.or(rolled_back) {
            Some(sequence) => self.find(sequence),
            None => self.newest(),
        }
    }

    /// The newest accepted release. Nothing at or below it is ever accepted again.
    #[must_use]
    pub fn newest(&self) -> Option<&AcceptedRelease> {
        self.history.last()
    }

    /// An accepted release that is still remembered.
    #[must_use]
    pub fn find(&self, sequence: u64) -> Option<&AcceptedRelease> {
        self.history.iter().find(|release| release.sequence == sequence)
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Remembers a newly accepted release, and lets go of what ends with it.
    pub(crate) fn push(&mut self, release: AcceptedRelease) {
        if self.rollback.is_some_and(|rollback| release.sequence > rollback.from) {
            self.rollback = None;
        }
        self.time_floor = self.time_floor.max(Some(release.accepted_at));
        self.history.push(release);
        let held = [self.pin.map(|pin| pin.sequence), self.rollback.map(|rollback| rollback.to)];
        while self.history.len() > HISTORY {
            let free = |release: &AcceptedRelease| !held.contains(&Some(release.sequence));
            let Some(oldest) = self.history.iter().position(free) else { break };
            self.history.remove(oldest);
        }
    }

    /// Whether the parts agree with each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let ascending = self.history.windows(2).all(|pair| pair[0].sequence < pair[1].sequence);
        let known = |sequence| self.find(sequence).is_some();
        ascending
            && self.pin.is_none_or(|pin| known(pin.sequence))
            && self.rollback.is_none_or(|rollback| known(rollback.to))
            && (self.history.is_empty() || self.trust.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(sequence: u64) -> AcceptedRelease {
        AcceptedRelease {
            sequence,
            commit: ObjectId::from_bytes([0; 20]),
            tree: Digest::of(b""),
            signers: Vec::new(),
            ring: None,
            not_after: None,
            accepted_at: at(sequence),
            trust_serial: 1,
        }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    fn in_force(state: &State, now: u64) -> u64 {
        state.in_force(at(now)).unwrap().sequence
    }

    #[test]
    fn pins_end_and_rollbacks_hold_until_something_newer() {
        let mut state = State::default();
        state.push(release(1));
        state.push(release(2));
        assert_eq!(in_force(&state, 9), 2);
        state.rollback = Some(Rollback { to: 1, from: 2 });
        assert_eq!(in_force(&state, 9), 1);
        state.push(release(3));
        assert_eq!((in_force(&state, 9), state.rollback), (3, None));
        state.pin = Some(Pin { sequence: 2, until: at(100) });
        state.push(release(4));
        assert_eq!((in_force(&state, 99), in_force(&state, 100)), (2, 4));
        assert_eq!(state.time_floor, Some(at(4)));
    }

    #[test]
    fn history_is_bounded_and_keeps_what_is_held() {
        let mut state = State::default();
        state.push(release(1));
        state.pin = Some(Pin { sequence: 1, until: at(1000) });
        (2..100).for_each(|sequence| state.push(release(sequence)));
        assert_eq!(state.history.len(), HISTORY);
        assert!(state.find(1).is_some() && state.find(2).is_none() && state.find(99).is_some());
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
