use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use wachter_config::{Missed, Trigger};
use wachter_model::AgentName;

use super::times::Point;
use super::{AgentTimes, Due, Passed, Reason, Tick, Times};

/// What the clock makes due, for all agents of a node.
///
/// Whoever drives it asks [`next_wake`](Self::next_wake) how long to wait, waits, asks
/// [`due`](Self::due) what to do, and keeps [`kept`](Self::kept) of each agent that it then took up. It
/// waits a minute at most, since a clock that is set does not end a wait.
#[derive(Debug)]
pub struct Timetable {
    /// How many ticks of an agent's past are looked at.
    catch_up: usize,
    agents: BTreeMap<AgentName, Entry>,
    /// Who is to be looked at when.
    wakes: BTreeSet<(Timestamp, AgentName)>,
    /// The time that was handed in last.
    seen: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    times: Times,
    trigger: String,
    /// The last tick that was handed out or passed over.
    last: Timestamp,
    /// Whether it has yet to run at all.
    first: bool,
    paused: bool,
    /// How often its last tick was taken back, since the clock was wrong.
    era: u32,
    /// Its place in the order of wakes.
    wake: Option<Timestamp>,
}

impl Timetable {
    /// How late a tick may be and still not be missed.
    pub const GRACE: SignedDuration = SignedDuration::from_secs(60);
    /// By how much a clock may go back for its old time to be waited for; further back, the new time
    /// is right and the old was wrong. The number is Vixie cron's.
    pub const REWIND: SignedDuration = SignedDuration::from_hours(3);
    /// After what time an agent is looked at again whose ticks got no further.
    const LATER: SignedDuration = SignedDuration::from_secs(1);
    /// After how many ticks one call ends; the next one goes on.
    pub const MOST_AT_ONCE: usize = 1_000;
    /// How many ticks of a past that nobody was there for may be looked at, of each agent.
    pub const MOST_CATCH_UP: u32 = 1_000;

    /// One that looks at the latest `catch_up` of the ticks that an agent missed, 1 to
    /// [`MOST_CATCH_UP`](Self::MOST_CATCH_UP); older ones are neither made up for nor counted.
    #[must_use]
    pub fn new(catch_up: u32) -> Self {
        let catch_up = catch_up.clamp(1, Self::MOST_CATCH_UP);
        Self {
            catch_up: usize::try_from(catch_up).unwrap_or(usize::MAX),
            agents: BTreeMap::new(),
            wakes: BTreeSet::new(),
            seen: None,
        }
    }

    /// Takes up an agent, or another schedule for one: at the start, after a change and after a crash.
    ///
    /// An agent that is known here goes on from its last tick; else `kept` says where it stood. With
    /// neither it is new: by an interval it is due at once, by cron at its next time. Under another
    /// trigger, whatever was due before `now` does not count.
    pub fn declare(
        &mut self,
        agent: AgentName,
        times: Times,
        kept: Option<AgentTimes>,
        now: Timestamp,
    ) {
        self.look_at_clock(now);
        let trigger = times.trigger();
        let known = self.forget(&agent).or(kept);
        let mut entry = match known {
            Some(AgentTimes { trigger: of, last, first, paused, era, .. }) => {
                let last = if of == trigger { last } else { last.max(now) };
                Entry { times, trigger, last, first, paused, era, wake: None }
            }
            None => {
                let first = matches!(times.schedule().trigger(), Trigger::Every(_));
                Entry { times, trigger, last: now, first, paused: false, era: 0, wake: None }
            }
        };
        entry.correct(now);
        entry.plan(now);
        self.place(agent, entry);
    }

    /// Gives up an agent; says what was to be kept of it.
    pub fn forget(&mut self, agent: &AgentName) -> Option<AgentTimes> {
        let entry = self.take(agent)?;
        Some(entry.kept())
    }

    /// The agents.
    pub fn agents(&self) -> impl Iterator<Item = &AgentName> {
        self.agents.keys()
    }

    /// What has to survive of an agent.
    #[must_use]
    pub fn kept(&self, agent: &AgentName) -> Option<AgentTimes> {
        self.agents.get(agent).map(Entry::kept)
    }

    /// Whether an agent is paused; `None` where there is none.
    #[must_use]
    pub fn is_paused(&self, agent: &AgentName) -> Option<bool> {
        self.agents.get(agent).map(|entry| entry.paused)
    }

    /// When an agent is next due, as far as is known now; `None` while it is paused.
    #[must_use]
    pub fn next_of(&self, agent: &AgentName) -> Option<Timestamp> {
        self.agents.get(agent).and_then(|entry| entry.wake)
    }

    /// Hands out no ticks of an agent from now on. Says whether that is new.
    pub fn pause(&mut self, agent: &AgentName) -> bool {
        self.change(agent, |entry| {
            let new = !std::mem::replace(&mut entry.paused, true);
            entry.wake = None;
            new
        })
    }

    /// Hands out the ticks of an agent that are due after `now`. Says whether that is new.
    pub fn resume(&mut self, agent: &AgentName, now: Timestamp) -> bool {
        self.look_at_clock(now);
        self.change(agent, |entry| {
            let new = std::mem::replace(&mut entry.paused, false);
            if new {
                entry.last = entry.last.max(now);
                entry.correct(now);
                entry.plan(now);
            }
            new
        })
    }

    /// When to call [`due`](Self::due): never before `now`, never after something is due. `None` when
    /// nothing is going to be.
    pub fn next_wake(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.look_at_clock(now);
        self.wakes.first().map(|(wake, _)| (*wake).max(now))
    }

    /// What is due. Each tick is handed out once, also when the clock goes back.
    pub fn due(&mut self, now: Timestamp) -> Due {
        self.look_at_clock(now);
        let mut due = Due::default();
        while due.ticks.len() < Self::MOST_AT_ONCE
            && self.wakes.first().is_some_and(|(wake, _)| *wake <= now)
        {
            let Some((_, agent)) = self.wakes.pop_first() else { break };
            if let Some(entry) = self.agents.get_mut(&agent) {
                entry.hand_out(&agent, now, self.catch_up, &mut due);
                entry.wake = None;
                entry.plan(now);
                // Whatever is due was handed out. One that is due again all the same must not keep the
                // others from their turn.
                debug_assert!(entry.wake.is_none_or(|wake| wake > now), "{agent} at {now}");
                if entry.wake.is_some_and(|wake| wake <= now) {
                    entry.wake = now.checked_add(Self::LATER).ok();
                }
                if let Some(wake) = entry.wake {
                    self.wakes.insert((wake, agent));
                }
            }
        }
        due
    }

    /// A clock that went back makes what was worked out from the later time wrong.
    fn look_at_clock(&mut self, now: Timestamp) {
        if self.seen.is_some_and(|seen| now < seen) {
            self.wakes.clear();
            for (agent, entry) in &mut self.agents {
                entry.correct(now);
                entry.plan(now);
                self.wakes.extend(entry.wake.map(|wake| (wake, agent.clone())));
            }
        }
        self.seen = Some(now);
    }

    fn change(&mut self, agent: &AgentName, change: impl FnOnce(&mut Entry) -> bool) -> bool {
        let Some(mut entry) = self.take(agent) else { return false };
        let changed = change(&mut entry);
        self.place(agent.clone(), entry);
        changed
    }

    fn take(&mut self, agent: &AgentName) -> Option<Entry> {
        let (agent, entry) = self.agents.remove_entry(agent)?;
        if let Some(wake) = entry.wake {
            self.wakes.remove(&(wake, agent));
        }
        Some(entry)
    }

    fn place(&mut self, agent: AgentName, entry: Entry) {
        self.wakes.extend(entry.wake.map(|wake| (wake, agent.clone())));
        self.agents.insert(agent, entry);
    }
}

impl Entry {
    fn kept(&self) -> AgentTimes {
        AgentTimes::new(self.trigger.clone(), self.last, self.first, self.paused, self.era)
    }

    /// Goes on from `now` where the clock was wrong by more than is waited for.
    fn correct(&mut self, now: Timestamp) {
        if self.last.duration_since(now) > Timetable::REWIND {
            self.last = now;
            self.era += 1;
        }
    }

    /// Works out when to look at it again.
    fn plan(&mut self, now: Timestamp) {
        self.wake = if self.paused {
            None
        } else if self.first {
            self.times.open_from(now)
        } else {
            match self.times.next(self.last).map(|point| point.due) {
                Some(due) if due > now => Some(due),
                Some(_) => self.times.open_from(now),
                None => None,
            }
        };
    }

    fn hand_out(&mut self, agent: &AgentName, now: Timestamp, catch_up: usize, due: &mut Due) {
        // What was missed waits for the window, too.
        if self.times.open_from(now) != Some(now) {
            return;
        }
        let era = self.era;
        let tick =
            |scheduled_for, reason| Tick { agent: agent.clone(), scheduled_for, reason, era };
        if self.first {
            // The tick of the interval that now is in, so that nodes agree on its name.
            let latest = self.times.latest(now).unwrap_or(now);
            due.ticks.push(tick(latest, Reason::First));
            (self.first, self.last) = (false, latest.max(self.last));
            return;
        }
        let points = self.pending(now, catch_up);
        let Some((latest, earlier)) = points.split_last() else { return };
        self.last = latest.scheduled_for;
        let in_time = now.duration_since(latest.due) <= Timetable::GRACE;
        let on_its_own = match latest.deferred {
            true => Reason::Deferred,
            false => Reason::Regular,
        };
        let all = count(points.len());
        match self.times.schedule().missed() {
            Missed::Skip => {
                let passed = if in_time { earlier } else { &points };
                due.passed.extend(passed.last().map(|point| Passed {
                    agent: agent.clone(),
                    count: count(passed.len()),
                    latest: point.scheduled_for,
                }));
                due.ticks.extend(in_time.then(|| tick(latest.scheduled_for, on_its_own)));
            }
            Missed::RunOnce if earlier.is_empty() && in_time => {
                due.ticks.push(tick(latest.scheduled_for, on_its_own));
            }
            Missed::RunOnce => {
                due.ticks.push(tick(latest.scheduled_for, Reason::Missed { count: all }));
            }
            Missed::RunAll => {
                let missed = |point: &Point| tick(point.scheduled_for, Reason::Missed { count: 1 });
                due.ticks.extend(earlier.iter().map(missed));
                due.ticks.push(match in_time {
                    true => tick(latest.scheduled_for, on_its_own),
                    false => missed(latest),
                });
            }
        }
    }

    /// The ticks that are due, the oldest first.
    fn pending(&self, now: Timestamp, catch_up: usize) -> Vec<Point> {
        let Some(first) = self.times.next(self.last).filter(|point| point.due <= now) else {
            return Vec::new();
        };
        // Nearly always it is the only one.
        match self.times.next(first.scheduled_for) {
            Some(second) if second.due <= now => self.times.backlog(self.last, now, catch_up),
            _ => vec![first],
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
