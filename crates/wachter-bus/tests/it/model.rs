//! Random steps on the bus and on a small model of it, with closing, crashes and damage to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use wachter_bus::{
    AckError, Bus, DeadLetterId, Delivery, End, Options, Order, Outputs, SegmentLimits, Seq, Start,
    Subscription, SubscriptionOptions,
};

use crate::support::{Fixture, next_or_silence, number_of, numbered, options};

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<u64>),
    Take,
    Ack(prop::sample::Index, Option<u64>),
    Nak(prop::sample::Index, u64),
    /// Fails one that is held, with an output.
    Fail(prop::sample::Index, u64),
    Forget(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Pass(u64),
    /// Gives a part of the past again: from a place on, so many places.
    Again(u64, Option<u64>),
    Rejoin,
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => prop::collection::vec(0..200_u64, 1..6).prop_map(Step::Publish),
        8 => Just(Step::Take),
        6 => (index(), prop::option::of(200..400_u64)).prop_map(|(at, out)| Step::Ack(at, out)),
        2 => (index(), 0..4_000_u64).prop_map(|(at, delay)| Step::Nak(at, delay)),
        2 => (index(), 400..600_u64).prop_map(|(at, out)| Step::Fail(at, out)),
        1 => index().prop_map(Step::Forget),
        1 => index().prop_map(Step::GiveUp),
        3 => (100..40_000_u64).prop_map(Step::Pass),
        1 => (0..80_u64, prop::option::of(0..20_u64)).prop_map(|(from, many)| Step::Again(from, many)),
        1 => Just(Step::Rejoin),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// What has to be true, whatever happened.
#[derive(Default)]
struct Model {
    /// Numbers of events, in the journal's order.
    events: Vec<u64>,
    settled: BTreeSet<u64>,
    given_up: BTreeSet<u64>,
    /// Those that came again as a replay.
    repeated: BTreeSet<u64>,
    keys: BTreeMap<u64, String>,
}

impl Model {
    /// It was acknowledged; of a replay that says nothing new.
    fn settle(&mut self, delivery: &Delivery) {
        if !delivery.is_replay() {
            self.settled.insert(number_of(delivery.event()));
        }
    }
}

struct World {
    fixture: Fixture,
    bus: Bus,
    subscription: Subscription,
    held: Vec<Delivery>,
    ordered: bool,
}

fn small(options: &mut Options) {
    options.segment = SegmentLimits { events: 7, ..SegmentLimits::default() };
    options.dedup.generation = 16;
}

async fn join(bus: &Bus, ordered: bool) -> Subscription {
    let order = if ordered { Order::Key } else { Order::Any };
    let declared = SubscriptionOptions { in_flight: 4, window: 8, order, ..options("one") };
    bus.subscribe(declared).await.unwrap()
}

/// Every third number has a key.
fn keyed(number: u64) -> wachter_model::Event {
    let event = numbered(number).into_builder();
    let event = if number.is_multiple_of(3) { event.partition_key("k") } else { event };
    event.build().unwrap()
}

impl World {
    async fn new(ordered: bool) -> Self {
        let fixture = Fixture::new();
        let bus = fixture.open_with(small);
        let subscription = join(&bus, ordered).await;
        Self { fixture, bus, subscription, held: Vec::new(), ordered }
    }

    async fn take(&mut self, model: &mut Model) -> bool {
        let Some(delivery) = next_or_silence(&self.bus, &self.subscription).await else {
            return false;
        };
        let number = number_of(delivery.event());
        assert!(model.events.contains(&number), "{number} was never published");
        self.note_given_up(model).await;
        let ended = model.settled.contains(&number) || model.given_up.contains(&number);
        assert_eq!(delivery.is_replay(), ended, "{number} came again unmarked, or marked at first");
        if ended {
            model.repeated.insert(number);
        }
        let key = delivery.idempotency_key().to_string();
        let known = model.keys.entry(number).or_insert_with(|| key.clone());
        assert_eq!(*known, key, "{number} has another key");
        self.held.push(delivery);
        true
    }

    async fn reopen(&mut self, crash: bool) {
        if crash {
            self.bus.look_after().await.unwrap();
            self.fixture = self.fixture.crash();
        }
        self.held.drain(..).for_each(std::mem::forget);
        // A bus that was forgotten by deliveries still closes.
        self.bus.close();
        self.bus = self.fixture.open_with(small);
        assert_eq!(self.bus.opened().damage, []);
        assert_eq!(self.bus.opened().clean, !crash);
        self.subscription = join(&self.bus, self.ordered).await;
    }

    async fn run(&mut self, step: Step, model: &mut Model) {
        let pick = |at: prop::sample::Index, held: &mut Vec<Delivery>| {
            (!held.is_empty()).then(|| held.swap_remove(at.index(held.len())))
        };
        match step {
            Step::Publish(numbers) => {
                let batch = numbers.iter().copied().map(keyed).collect();
                let published = self.bus.publish(batch).await.unwrap();
                for (number, one) in numbers.into_iter().zip(published) {
                    let place = model.events.iter().position(|known| *known == number);
                    assert_eq!(one.duplicate, place.is_some(), "{number}");
                    if place.is_none() {
                        model.events.push(number);
                    }
                    let place = place.unwrap_or(model.events.len() - 1);
                    assert_eq!(one.seq, Seq::new(place as u64 + 1));
                }
            }
            Step::Take => drop(self.take(model).await),
            Step::Ack(at, output) => {
                let Some(mut delivery) = pick(at, &mut self.held) else { return };
                let events = output.into_iter().map(keyed).collect();
                match delivery.ack(Outputs { events, keys: Vec::new() }).await {
                    Ok(_) => {
                        model.settle(&delivery);
                        model.events.extend(output.filter(|one| !model.events.contains(one)));
                    }
                    Err(error) => assert!(matches!(error, AckError::Expired), "{error}"),
                }
            }
            Step::Nak(at, delay) => {
                if let Some(delivery) = pick(at, &mut self.held) {
                    delivery.nak(Some(Duration::from_millis(delay)), "a random step");
                }
            }
            Step::Fail(at, output) => {
                let Some(mut delivery) = pick(at, &mut self.held) else { return };
                let outputs = Outputs { events: vec![keyed(output)], keys: Vec::new() };
                match delivery.nak_with(outputs, None, "a random step").await {
                    Ok(_) if model.events.contains(&output) => {}
                    Ok(_) => model.events.push(output),
                    Err(error) => assert!(matches!(error, AckError::Expired), "{error}"),
                }
            }
            Step::Forget(at) => drop(pick(at, &mut self.held)),
            Step::GiveUp(at) => {
                let Some(delivery) = pick(at, &mut self.held) else { return };
                let number = number_of(delivery.event());
                let delivery_is_replay = delivery.is_replay();
                match delivery.dead_letter("a random step").await {
                    Ok(()) if delivery_is_replay => {}
                    Ok(()) => drop(model.given_up.insert(number)),
                    Err(error) => assert!(matches!(error, AckError::Expired), "{error}"),
                }
            }
            Step::Pass(millis) => self.fixture.clock.advance(Duration::from_millis(millis)),
            Step::Again(from, many) => {
                let to = many.map_or(End::Here, |many| End::Seq(Seq::new(from + many)));
                let name = self.subscription.name().clone();
                let from = Start::Seq(Seq::new(from));
                self.bus.redeliver(name, from, to).await.unwrap().unwrap();
            }
            Step::Rejoin => {
                // Members may go while deliveries are out.
                let other = join(&self.bus, self.ordered).await;
                self.subscription = other;
            }
            Step::Reopen => self.reopen(false).await,
            Step::Crash => self.reopen(true).await,
        }
        self.note_given_up(model).await;
    }

    /// What the retry policy gave up.
    async fn note_given_up(&self, model: &mut Model) {
        let dead = self.bus.dead_letters(None, DeadLetterId::new(0), 1_000).await.unwrap();
        for dead in dead {
            let number = number_of(dead.event.as_ref().unwrap());
            // A replay that is given up takes nothing back.
            if !(model.repeated.contains(&number) && model.settled.contains(&number)) {
                model.given_up.insert(number);
            }
        }
    }

    /// Takes all that is left.
    async fn finish(mut self, model: &mut Model) {
        self.held.clear();
        // What was said without waiting is written before its deadline is past.
        self.bus.look_after().await.unwrap();
        loop {
            self.fixture.clock.advance(Duration::from_secs(400));
            if !self.take(model).await {
                break;
            }
            while let Some(mut delivery) = self.held.pop() {
                delivery.ack(Outputs::default()).await.unwrap();
                model.settle(&delivery);
            }
        }
        self.note_given_up(model).await;
        for number in &model.events {
            let ended = [&model.settled, &model.given_up].map(|ended| ended.contains(number));
            assert_ne!(ended, [false, false], "{number} was lost");
            assert_ne!(ended, [true, true], "{number} was settled and given up");
        }
        let report = self.bus.verify(Seq::ZERO, Vec::new()).await.unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert_eq!(report.events, model.events.len() as u64);
        assert_eq!(self.subscription.status().floor, self.bus.status().last);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_steps_loses_or_repeats_what_it_must_not(steps in steps(), ordered: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::default();
            let mut world = World::new(ordered).await;
            for step in steps {
                world.run(step, &mut model).await;
            }
            world.finish(&mut model).await;
        });
    }
}

/// Set by `WACHTER_BUS_CASES`.
fn cases() -> u32 {
    std::env::var("WACHTER_BUS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}
