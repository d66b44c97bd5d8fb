//! What may start now.
//!
//! Work stands in lanes, one for each agent and key. Within a lane it goes first come, first served,
//! and as many are under way as its limit says, or one of those agents whose runs build on each
//! other; no agent has more under way than the node gives one,
//! however many keys it has. Heads of lanes compete for what the node has to
//! give: by rank, which is the number of their offer, moved forward by [`OVERTAKEN`] for each step of
//! priority. So work is overtaken by what was offered up to that much later, and by nothing after: no
//! priority starves another, and no clock is needed to see that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use wachter_config::Overlap;
use wachter_model::{AgentName, RunId};

use super::{Offered, Priority, TurnedAway, Work};

/// How many offers later something one step more important may come and still go first.
const OVERTAKEN: u64 = 64;

/// How much may be under way, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Runs under way on the node.
    pub running: usize,
    /// Runs of one agent under way, with all its keys.
    pub running_per_agent: usize,
    /// Work that waits on the node.
    pub queued: usize,
    /// Work that waits for one agent.
    pub queued_per_agent: usize,
}

/// Decides what may start.
///
/// Every run that it says may start is under way for it until [`finished`](Self::finished), whatever
/// became of it.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    running: BTreeMap<RunId, Running>,
    lanes: BTreeMap<Lane, VecDeque<Waiting>>,
    /// The heads of lanes, by rank and then by offer.
    heads: BTreeSet<(u64, u64, Lane)>,
    agents: BTreeMap<AgentName, Agent>,
    paused: BTreeSet<AgentName>,
    /// Whose runs go one at a time, whatever their limit.
    alone: BTreeSet<AgentName>,
    frozen: bool,
    queued: usize,
    offers: u64,
}

/// An agent, and the key that its work has in common.
type Lane = (AgentName, Option<String>);

#[derive(Debug)]
struct Running {
    lane: Lane,
    /// The number of its offer.
    offer: u64,
    /// Whether it was to be ended for another.
    ending: bool,
}

#[derive(Debug)]
struct Waiting {
    work: Work,
    rank: u64,
    offer: u64,
}

/// How much there is of an agent. None of it, and it is not kept.
#[derive(Debug, Default)]
struct Agent {
    running: usize,
    queued: usize,
}

impl Admission {
    /// With limits.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            running: BTreeMap::new(),
            lanes: BTreeMap::new(),
            heads: BTreeSet::new(),
            agents: BTreeMap::new(),
            paused: BTreeSet::new(),
            alone: BTreeSet::new(),
            frozen: false,
            queued: 0,
            offers: 0,
        }
    }

    /// Takes work in, or says why not.
    pub fn offer(&mut self, work: Work) -> Offered {
        if let Err(reason) = self.may_be_taken(&work) {
            return Offered::TurnedAway(reason);
        }
        let lane = lane(&work);
        let crowded = self.is_crowded(&work, &lane);
        let waits = self.lanes.get(&lane).map_or(0, VecDeque::len);
        match work.overlap {
            Overlap::Skip if crowded || waits > 0 => {
                return Offered::TurnedAway(TurnedAway::Overlap);
            }
            Overlap::Replace if crowded || waits > 0 => return self.replace(work, lane),
            _ => {}
        }
        // What waits elsewhere could not start: whenever something can, it is started.
        if waits == 0 && self.may_start(&work) {
            let offer = self.number();
            self.start(&work, lane, offer);
            return Offered::Start;
        }
        if let Err(reason) = self.has_room(&work.agent) {
            return Offered::TurnedAway(reason);
        }
        self.wait(work, lane);
        Offered::Queued { place: waits + 1 }
    }

    /// A run is over; says which may start now. A run that is not under way changes nothing.
    #[must_use]
    pub fn finished(&mut self, run: RunId) -> Vec<Work> {
        let Some(Running { lane: (agent, _), .. }) = self.running.remove(&run) else {
            return Vec::new();
        };
        self.count(&agent, |agent| agent.running -= 1);
        self.start_what_may()
    }

    /// Gives up work that waits. `None` when it does not.
    pub fn withdraw(&mut self, run: RunId) -> Option<Work> {
        let found = self.lanes.iter().find_map(|(lane, waiting)| {
            let place = waiting.iter().position(|waiting| waiting.work.run == run)?;
            Some((lane.clone(), place))
        });
        let (lane, place) = found?;
        Some(self.take(&lane, place))
    }

    /// Starts nothing of an agent, takes nothing more in for it, and keeps what waits.
    pub fn pause(&mut self, agent: AgentName) {
        self.paused.insert(agent);
    }

    /// Undoes [`pause`](Self::pause); says what may start now.
    #[must_use]
    pub fn resume(&mut self, agent: &AgentName) -> Vec<Work> {
        self.paused.remove(agent);
        self.start_what_may()
    }

    /// Has the runs of an agent go one at a time from now on, whatever their limit: each needs what the
    /// one before it left. Those under way go on.
    pub fn run_alone(&mut self, agent: AgentName) {
        self.alone.insert(agent);
    }

    /// Has what waits for an agent go by another limit. What it may start now, [`limit`](Self::limit)
    /// says.
    pub fn revise(&mut self, agent: &AgentName, limit: NonZeroU32, overlap: Overlap) {
        let lanes = self.lanes.iter_mut().filter(|((of, _), _)| of == agent);
        for waiting in lanes.flat_map(|(_, waiting)| waiting) {
            (waiting.work.limit, waiting.work.overlap) = (limit, overlap);
        }
    }

    /// Forgets what was said of an agent. What waits and is under way stays.
    pub fn forget(&mut self, agent: &AgentName) {
        self.paused.remove(agent);
        self.alone.remove(agent);
    }

    /// Starts nothing that has effects, takes no such work in, and keeps what waits. What only looks
    /// or tells goes on; so do runs that are under way.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Undoes [`freeze`](Self::freeze); says what may start now.
    #[must_use]
    pub fn thaw(&mut self) -> Vec<Work> {
        self.frozen = false;
        self.start_what_may()
    }

    /// Other limits; says what may start now. Nothing under way is ended, nothing that waits given up.
    #[must_use]
    pub fn limit(&mut self, limits: AdmissionLimits) -> Vec<Work> {
        self.limits = limits;
        self.start_what_may()
    }

    /// Whether effects are frozen.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// How many runs are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many runs of an agent are under way.
    #[must_use]
    pub fn running_of(&self, agent: &AgentName) -> usize {
        self.agents.get(agent).map_or(0, |agent| agent.running)
    }

    /// How many runs of an agent are under way, by their key.
    #[must_use]
    pub fn running_by_key(&self, agent: &AgentName) -> BTreeMap<Option<String>, usize> {
        let mut counts = BTreeMap::new();
        for Running { lane: (of, key), .. } in self.running.values() {
            if of == agent {
                *counts.entry(key.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// How much work waits.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// What waits for an agent, in no order across its keys.
    pub fn queued_of<'a>(&'a self, agent: &'a AgentName) -> impl Iterator<Item = &'a Work> {
        let lanes = self.lanes.iter().filter(move |((of, _), _)| of == agent);
        lanes.flat_map(|(_, waiting)| waiting).map(|waiting| &waiting.work)
    }

    fn may_be_taken(&self, work: &Work) -> Result<(), TurnedAway> {
        let waits = || self.queued_of(&work.agent).any(|waiting| waiting.run == work.run);
        if self.running.contains_key(&work.run) || waits() {
            return Err(TurnedAway::Known);
        }
        if self.paused.contains(&work.agent) {
            return Err(TurnedAway::Paused);
        }
        if self.frozen && work.has_effects() {
            return Err(TurnedAway::Frozen);
        }
        Ok(())
    }

    fn has_room(&self, agent: &AgentName) -> Result<(), TurnedAway> {
        if self.queued >= self.limits.queued {
            return Err(TurnedAway::QueueFull);
        }
        if self.agents.get(agent).is_some_and(|agent| agent.queued >= self.limits.queued_per_agent)
        {
            return Err(TurnedAway::AgentQueueFull);
        }
        Ok(())
    }

    /// Whether its lane has as much under way as its limit says. What the node or its agent has under
    /// way besides is no overlap: for that it only waits.
    fn is_crowded(&self, work: &Work, lane: &Lane) -> bool {
        self.under_way(lane).count() >= work.most()
    }

    fn under_way<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = (&'a RunId, &'a Running)> {
        self.running.iter().filter(move |(_, running)| running.lane == *lane)
    }

    fn may_start(&self, work: &Work) -> bool {
        let held = self.paused.contains(&work.agent) || self.frozen && work.has_effects();
        !held
            && self.running.len() < self.limits.running
            && self.running_of(&work.agent) < self.limits.running_per_agent
            && (self.running_of(&work.agent) == 0 || !self.alone.contains(&work.agent))
            && !self.is_crowded(work, &lane(work))
    }

    /// What waits in the lane is given up, and of what is under way the oldest is ended.
    fn replace(&mut self, work: Work, lane: Lane) -> Offered {
        let mut given_up = Vec::new();
        while self.lanes.contains_key(&lane) {
            given_up.push(self.take(&lane, 0).run);
        }
        // Where something was given up, its place is taken.
        if given_up.is_empty()
            && let Err(reason) = self.has_room(&work.agent)
        {
            return Offered::TurnedAway(reason);
        }
        if self.may_start(&work) {
            // What waited may have had a stricter limit, from before a change.
            let offer = self.number();
            self.start(&work, lane, offer);
            return Offered::Replaces { end: None, given_up, start: true };
        }
        let crowded = self.is_crowded(&work, &lane);
        let ended = self.under_way(&lane).any(|(_, running)| running.ending);
        let oldest = self.under_way(&lane).min_by_key(|(_, running)| running.offer);
        let end = oldest.map(|(run, _)| *run).filter(|_| crowded && !ended);
        if let Some(running) = end.and_then(|run| self.running.get_mut(&run)) {
            running.ending = true;
        }
        self.wait(work, lane);
        Offered::Replaces { end, given_up, start: false }
    }

    fn wait(&mut self, work: Work, lane: Lane) {
        let offer = self.number();
        let steps = match work.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        let rank = offer.saturating_add(steps * OVERTAKEN);
        self.queued += 1;
        self.count(&work.agent, |agent| agent.queued += 1);
        let waiting = self.lanes.entry(lane.clone()).or_default();
        if waiting.is_empty() {
            self.heads.insert((rank, offer, lane));
        }
        waiting.push_back(Waiting { work, rank, offer });
    }

    /// Takes one out of its lane, which has it.
    fn take(&mut self, lane: &Lane, place: usize) -> Work {
        let waiting = self.lanes.get_mut(lane).expect("the lane was just found");
        let order = |waiting: &Waiting| (waiting.rank, waiting.offer);
        let head = waiting.front().map(order).expect("no lane is empty");
        let taken = waiting.remove(place).expect("the place was just found");
        let next = waiting.front().map(order);
        if next != Some(head) {
            self.heads.remove(&(head.0, head.1, lane.clone()));
            self.heads.extend(next.map(|(rank, offer)| (rank, offer, lane.clone())));
        }
        if next.is_none() {
            self.lanes.remove(lane);
        }
        self.queued -= 1;
        self.count(&taken.work.agent, |agent| agent.queued -= 1);
        taken.work
    }

    fn start_what_may(&mut self) -> Vec<Work> {
        let mut started = Vec::new();
        while self.running.len() < self.limits.running {
            let may = |(_, _, lane): &&(u64, u64, Lane)| {
                self.head(lane).is_some_and(|head| self.may_start(&head.work))
            };
            let Some((_, offer, lane)) = self.heads.iter().find(may).cloned() else { break };
            let work = self.take(&lane, 0);
            self.start(&work, lane, offer);
            started.push(work);
        }
        started
    }

    fn start(&mut self, work: &Work, lane: Lane, offer: u64) {
        self.count(&work.agent, |agent| agent.running += 1);
        self.running.insert(work.run, Running { lane, offer, ending: false });
    }

    fn head(&self, lane: &Lane) -> Option<&Waiting> {
        self.lanes.get(lane).and_then(VecDeque::front)
    }

    fn count(&mut self, name: &AgentName, change: impl FnOnce(&mut Agent)) {
        let agent = self.agents.entry(name.clone()).or_default();
        change(agent);
        if agent.running == 0 && agent.queued == 0 {
            self.agents.remove(name);
        }
    }

    fn number(&mut self) -> u64 {
        self.offers += 1;
        self.offers
    }
}

fn lane(work: &Work) -> Lane {
    (work.agent.clone(), work.key.clone())
}
