use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use proptest::prelude::*;
use wachter_config::{AgentRole, Overlap};
use wachter_model::{AgentName, RunId};

use super::super::{Admission, AdmissionLimits, Offered, Priority, TurnedAway, Work};

const LIMITS: AdmissionLimits =
    AdmissionLimits { running: 16, running_per_agent: 8, queued: 1_024, queued_per_agent: 64 };

fn run(number: usize) -> RunId {
    format!("00000000-0000-7000-8000-{number:012}").parse().unwrap()
}

fn name(agent: &str) -> AgentName {
    agent.parse().unwrap()
}

/// Of a scanner, to be queued, without a key.
fn work(number: usize, agent: &str) -> Work {
    Work {
        run: run(number),
        agent: name(agent),
        role: AgentRole::Scanner,
        key: None,
        limit: NonZeroU32::MIN,
        overlap: Overlap::Queue,
        priority: Priority::Normal,
    }
}

fn keyed(number: usize, agent: &str, key: &str) -> Work {
    Work { key: Some(key.to_owned()), ..work(number, agent) }
}

fn admission(running: usize) -> Admission {
    Admission::new(AdmissionLimits { running, ..LIMITS })
}

fn runs(started: &[Work]) -> Vec<RunId> {
    started.iter().map(|work| work.run).collect()
}

#[test]
fn each_answer_to_overlap() {
    let with = |number, overlap| Work { overlap, ..work(number, "backup") };
    let replaces = |end: Option<usize>, given_up: &[usize]| Offered::Replaces {
        end: end.map(run),
        given_up: given_up.iter().copied().map(run).collect(),
        start: false,
    };
    for (overlap, second, third, after_first) in [
        (Overlap::Allow, Offered::Start, Offered::Start, vec![]),
        (
            Overlap::Skip,
            Offered::TurnedAway(TurnedAway::Overlap),
            Offered::TurnedAway(TurnedAway::Overlap),
            vec![],
        ),
        (Overlap::Queue, Offered::Queued { place: 1 }, Offered::Queued { place: 2 }, vec![run(2)]),
        (Overlap::Replace, replaces(Some(1), &[]), replaces(None, &[2]), vec![run(3)]),
    ] {
        let mut admission = admission(16);
        assert_eq!(admission.offer(with(1, overlap)), Offered::Start);
        assert_eq!(admission.offer(with(2, overlap)), second, "{overlap:?}");
        assert_eq!(admission.offer(with(3, overlap)), third, "{overlap:?}");
        assert_eq!(runs(&admission.finished(run(1))), after_first, "{overlap:?}");
        assert!(admission.finished(run(1)).is_empty());
    }
}

#[test]
fn one_that_is_skipped_for_overlap_may_overlap_what_waits() {
    let mut admission = admission(1);
    let skip = |number| Work { overlap: Overlap::Skip, ..work(number, "b") };
    assert_eq!(admission.offer(work(1, "a")), Offered::Start);
    assert_eq!(admission.offer(skip(2)), Offered::Queued { place: 1 });
    assert_eq!(admission.offer(skip(3)), Offered::TurnedAway(TurnedAway::Overlap));
    assert_eq!(runs(&admission.finished(run(1))), [run(2)]);
}

#[test]
fn a_limit_above_one_counts() {
    let two = |number, overlap| Work {
        limit: NonZeroU32::new(2).unwrap(),
        overlap,
        ..work(number, "backup")
    };
    for (overlap, third) in [
        (Overlap::Allow, Offered::Start),
        (Overlap::Skip, Offered::TurnedAway(TurnedAway::Overlap)),
        (Overlap::Queue, Offered::Queued { place: 1 }),
        (Overlap::Replace, Offered::Replaces { end: Some(run(1)), given_up: vec![], start: false }),
    ] {
        let mut admission = admission(16);
        assert_eq!(admission.offer(two(1, overlap)), Offered::Start);
        assert_eq!(admission.offer(two(2, overlap)), Offered::Start);
        assert_eq!(admission.offer(two(3, overlap)), third, "{overlap:?}");
    }
}

#[test]
fn runs_with_one_key_share_the_limit_and_others_go_on_beside_them() {
    let limits = AdmissionLimits { running_per_agent: 2, ..LIMITS };
    let mut admission = Admission::new(limits);
    assert_eq!(admission.offer(keyed(1, "pull", "a")), Offered::Start);
    assert_eq!(admission.offer(keyed(2, "pull", "a")), Offered::Queued { place: 1 });
    assert_eq!(admission.offer(keyed(3, "pull", "b")), Offered::Start);
    assert_eq!(admission.offer(keyed(4, "pull", "c")), Offered::Queued { place: 1 });
    // Its own key is free and there is no place for it: that is no overlap.
    let skip = Work { overlap: Overlap::Skip, ..keyed(5, "pull", "d") };
    assert_eq!(admission.offer(skip), Offered::Queued { place: 1 });
    let skip = Work { overlap: Overlap::Skip, ..keyed(6, "pull", "b") };
    assert_eq!(admission.offer(skip), Offered::TurnedAway(TurnedAway::Overlap));
    assert_eq!(runs(&admission.finished(run(3))), [run(4)]);
    assert_eq!(runs(&admission.finished(run(1))), [run(2)]);
    // The same key of another agent is another key.
    assert_eq!(admission.offer(keyed(7, "push", "a")), Offered::Start);
}

#[test]
fn queues_are_bounded() {
    let limits =
        AdmissionLimits { running: 1, running_per_agent: 1, queued: 4, queued_per_agent: 3 };
    let mut admission = Admission::new(limits);
    assert_eq!(admission.offer(work(0, "a")), Offered::Start);
    for number in 1..=3 {
        assert_eq!(admission.offer(work(number, "a")), Offered::Queued { place: number });
    }
    let full = Offered::TurnedAway(TurnedAway::AgentQueueFull);
    assert_eq!(admission.offer(work(4, "a")), full);
    assert_eq!(admission.offer(work(5, "b")), Offered::Queued { place: 1 });
    assert_eq!(admission.offer(work(6, "b")), Offered::TurnedAway(TurnedAway::QueueFull));
    // What replaces takes the place of what it replaces.
    let replace = Work { overlap: Overlap::Replace, ..work(7, "b") };
    let expected = Offered::Replaces { end: None, given_up: vec![run(5)], start: false };
    assert_eq!(admission.offer(replace), expected);
    assert_eq!(admission.offer(work(7, "b")), Offered::TurnedAway(TurnedAway::Known));
    assert_eq!(admission.offer(work(0, "a")), Offered::TurnedAway(TurnedAway::Known));
    assert_eq!(admission.withdraw(run(2)).map(|work| work.run), Some(run(2)));
    assert_eq!(admission.withdraw(run(2)), None);
    assert_eq!(admission.queued(), 3);
    assert_eq!(runs(&admission.limit(AdmissionLimits { running: 2, ..limits })), [run(7)]);
}

#[test]
fn a_pause_and_a_freeze_hold() {
    let mut admission = admission(2);
    let maintenance = |number| Work { role: AgentRole::Maintenance, ..work(number, "backup") };
    assert_eq!(admission.offer(work(1, "scan")), Offered::Start);
    assert_eq!(admission.offer(maintenance(2)), Offered::Start);
    assert_eq!(admission.offer(maintenance(3)), Offered::Queued { place: 1 });
    assert_eq!(admission.offer(work(4, "scan")), Offered::Queued { place: 1 });
    admission.freeze();
    assert_eq!(admission.offer(maintenance(5)), Offered::TurnedAway(TurnedAway::Frozen));
    assert!(admission.finished(run(2)).is_empty());
    assert_eq!(runs(&admission.finished(run(1))), [run(4)]);
    assert_eq!(runs(&admission.thaw()), [run(3)]);

    admission.pause(name("scan"));
    assert_eq!(admission.offer(work(6, "scan")), Offered::TurnedAway(TurnedAway::Paused));
    assert!(admission.resume(&name("scan")).is_empty());
    assert_eq!(admission.offer(work(6, "scan")), Offered::Queued { place: 1 });
    admission.pause(name("scan"));
    assert!(admission.finished(run(4)).is_empty());
    assert_eq!(runs(&admission.resume(&name("scan"))), [run(6)]);
}

#[test]
fn the_important_goes_first_and_starves_nobody() {
    let mut admission = admission(1);
    let with =
        |number: usize, priority| Work { priority, ..work(number, &format!("agent-{number}")) };
    assert_eq!(admission.offer(with(0, Priority::High)), Offered::Start);
    assert_eq!(admission.offer(with(1, Priority::Low)), Offered::Queued { place: 1 });
    // One that matters more comes each time that one ends.
    let mut under_way = run(0);
    for number in 2..1_000 {
        assert_eq!(admission.offer(with(number, Priority::High)), Offered::Queued { place: 1 });
        let started = runs(&admission.finished(under_way));
        if started == [run(1)] {
            // Two steps of 64 offers after its own, which was the second.
            assert_eq!(number, 129);
            return;
        }
        assert_eq!(started, [run(number)]);
        under_way = started[0];
    }
    panic!("starved");
}

#[derive(Clone, Debug)]
enum Step {
    Offer { agent: usize, key: Option<usize>, limit: u32, overlap: Overlap, priority: Priority },
    Finish(usize),
    Withdraw(usize),
    Pause(usize),
    Resume(usize),
    Freeze,
    Thaw,
    Limit(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let overlap = prop::sample::select(vec![
        Overlap::Allow,
        Overlap::Skip,
        Overlap::Queue,
        Overlap::Queue,
        Overlap::Replace,
    ]);
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let offer = (0_usize..4, prop::option::of(0_usize..3), 1_u32..4, overlap, priority);
    let step = prop_oneof![
        8 => offer.prop_map(|(agent, key, limit, overlap, priority)| {
            Step::Offer { agent, key, limit, overlap, priority }
        }),
        6 => (0_usize..64).prop_map(Step::Finish),
        1 => (0_usize..64).prop_map(Step::Withdraw),
        1 => (0_usize..4).prop_map(Step::Pause),
        2 => (0_usize..4).prop_map(Step::Resume),
        1 => Just(Step::Freeze),
        1 => Just(Step::Thaw),
        1 => (1_usize..5).prop_map(Step::Limit),
    ];
    prop::collection::vec(step, 1..200)
}

/// Everything that was offered, in lists.
#[derive(Default)]
struct Model {
    limit: usize,
    running: Vec<Work>,
    waiting: Vec<Work>,
    paused: BTreeSet<AgentName>,
    frozen: bool,
    /// Where what was taken in stands: its number among these, and 64 for each step below the highest.
    ranks: BTreeMap<RunId, (usize, usize)>,
    /// The last offer that started, of each agent and key.
    last: BTreeMap<(AgentName, Option<String>), RunId>,
}

impl Model {
    fn may_start(&self, work: &Work) -> bool {
        let held = self.paused.contains(&work.agent) || self.frozen && work.has_effects();
        let of_agent = self.running.iter().filter(|other| other.agent == work.agent);
        let beside = of_agent.clone().filter(|other| other.key == work.key).count();
        let limit = usize::try_from(work.limit.get()).unwrap();
        let crowded = work.overlap != Overlap::Allow && beside >= limit;
        !held && !crowded && of_agent.count() < 2 && self.running.len() < self.limit
    }

    fn start(&mut self, work: Work) -> Result<(), TestCaseError> {
        prop_assert!(self.may_start(&work), "{work:?} beside {:?}", self.running);
        let lane = (work.agent.clone(), work.key.clone());
        // Runs are numbered as they are offered.
        prop_assert!(self.last.insert(lane, work.run) < Some(work.run), "out of turn: {work:?}");
        self.running.push(work);
        Ok(())
    }

    fn take_in(&mut self, work: &Work) {
        let steps = match work.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        let number = self.ranks.len();
        self.ranks.insert(work.run, (number + 64 * steps, number));
    }

    fn start_waiting(&mut self, started: Vec<Work>) -> Result<(), TestCaseError> {
        for work in started {
            let place = self.waiting.iter().position(|waiting| *waiting == work);
            prop_assert!(place.is_some(), "{work:?} did not wait");
            let heads = self.heads().into_iter().filter(|head| self.may_start(head));
            let first = heads.min_by_key(|head| self.ranks[&head.run]);
            prop_assert_eq!(first, Some(&work));
            self.waiting.retain(|waiting| waiting.run != work.run);
            self.start(work)?;
        }
        Ok(())
    }

    fn heads(&self) -> Vec<&Work> {
        let mut lanes = BTreeSet::new();
        let heads = self.waiting.iter().filter(|work| lanes.insert((&work.agent, &work.key)));
        heads.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn limits_hold_and_nothing_is_lost(steps in steps()) {
        let limits = AdmissionLimits {
            running: 3,
            running_per_agent: 2,
            queued: 12,
            queued_per_agent: 5,
        };
        let mut admission = Admission::new(limits);
        let mut model = Model { limit: 3, ..Model::default() };
        for (number, step) in steps.into_iter().enumerate() {
            let agent = |number: usize| name(&format!("agent-{number}"));
            match step {
                Step::Offer { agent: of, key, limit, overlap, priority } => {
                    let roles = [AgentRole::Scanner, AgentRole::Remediation];
                    let work = Work {
                        run: run(number),
                        agent: agent(of),
                        role: roles[of % 2],
                        key: key.map(|key| key.to_string()),
                        limit: NonZeroU32::new(limit).unwrap(),
                        overlap,
                        priority,
                    };
                    let offered = admission.offer(work.clone());
                    if !matches!(offered, Offered::TurnedAway(_)) {
                        model.take_in(&work);
                    }
                    match offered {
                        Offered::Start => model.start(work)?,
                        Offered::Queued { place } => {
                            let lane = |other: &&Work| other.agent == work.agent && other.key == work.key;
                            prop_assert_eq!(place, model.waiting.iter().filter(lane).count() + 1);
                            model.waiting.push(work);
                        }
                        Offered::Replaces { end, given_up, start } => {
                            prop_assert_eq!(overlap, Overlap::Replace);
                            if let Some(end) = end {
                                let ended = model.running.iter().find(|other| other.run == end);
                                prop_assert_eq!(ended.map(|other| &other.agent), Some(&work.agent));
                            }
                            for run in given_up {
                                let place = model.waiting.iter().position(|other| other.run == run);
                                prop_assert!(place.is_some());
                                model.waiting.remove(place.unwrap());
                            }
                            if start {
                                model.start(work)?;
                            } else {
                                model.waiting.push(work);
                            }
                        }
                        Offered::TurnedAway(reason) => match reason {
                            TurnedAway::Paused => prop_assert!(model.paused.contains(&work.agent)),
                            TurnedAway::Frozen => prop_assert!(model.frozen && work.has_effects()),
                            TurnedAway::Overlap => prop_assert_eq!(overlap, Overlap::Skip),
                            TurnedAway::QueueFull => prop_assert_eq!(model.waiting.len(), 12),
                            TurnedAway::AgentQueueFull => {
                                let of = |other: &&Work| other.agent == work.agent;
                                prop_assert_eq!(model.waiting.iter().filter(of).count(), 5);
                            }
                            TurnedAway::Known => prop_assert!(false, "{work:?} was not known"),
                        },
                    }
                }
                Step::Finish(place) if !model.running.is_empty() => {
                    let ended = model.running.remove(place % model.running.len());
                    model.start_waiting(admission.finished(ended.run))?;
                }
                Step::Withdraw(place) if !model.waiting.is_empty() => {
                    let gone = model.waiting.remove(place % model.waiting.len());
                    prop_assert_eq!(admission.withdraw(gone.run), Some(gone));
                    // What stood behind it may start with the next change.
                    model.start_waiting(admission.limit(AdmissionLimits { running: model.limit, ..limits }))?;
                }
                Step::Finish(_) | Step::Withdraw(_) => {}
                Step::Pause(of) => {
                    model.paused.insert(agent(of));
                    admission.pause(agent(of));
                }
                Step::Resume(of) => {
                    model.paused.remove(&agent(of));
                    model.start_waiting(admission.resume(&agent(of)))?;
                }
                Step::Freeze => {
                    model.frozen = true;
                    admission.freeze();
                }
                Step::Thaw => {
                    model.frozen = false;
                    model.start_waiting(admission.thaw())?;
                }
                Step::Limit(running) => {
                    model.limit = running;
                    model.start_waiting(admission.limit(AdmissionLimits { running, ..limits }))?;
                }
            }
            prop_assert_eq!(admission.running(), model.running.len());
            prop_assert_eq!(admission.queued(), model.waiting.len());
            prop_assert!(model.waiting.len() <= 12);
            // Nothing waits that could run.
            for head in model.heads() {
                prop_assert!(!model.may_start(head), "{head:?} beside {:?}", model.running);
            }
        }
        // Ended one after the other, all that was taken in runs.
        model.frozen = false;
        model.start_waiting(admission.thaw())?;
        for number in 0..4 {
            let agent = name(&format!("agent-{number}"));
            model.paused.remove(&agent);
            model.start_waiting(admission.resume(&agent))?;
        }
        while let Some(ended) = model.running.pop() {
            model.start_waiting(admission.finished(ended.run))?;
        }
        prop_assert_eq!((admission.queued(), model.waiting.len()), (0, 0));
    }
}
