use std::time::Duration;

use wachter_bus::conformance::{Guarantees, Inbox, Letter, Port, Wanted, assert_claims};
use wachter_bus::{Bus, Delivery, Order, Outputs, Start, Subscription, SubscriptionOptions};
use wachter_model::Event;

use crate::support::{Fixture, next_or_silence, options};

struct Journal {
    bus: Bus,
    fixture: Fixture,
}

struct Member {
    bus: Bus,
    subscription: Subscription,
}

struct Held(Delivery);

impl Port for Journal {
    type Letter = Held;
    type Inbox = Member;

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            deduplicates: true,
            orders_keys: true,
            delays: true,
            commits_outputs: true,
            dead_letters: true,
            replays: true,
            max_event_bytes: 1 << 20,
        }
    }

    async fn publish(&self, batch: Vec<Event>) -> Result<Vec<bool>, String> {
        let published = self.bus.publish(batch).await.map_err(|error| error.to_string())?;
        Ok(published.into_iter().map(|one| one.duplicate).collect())
    }

    async fn subscribe(&self, wanted: Wanted) -> Result<Member, String> {
        let mut declared = SubscriptionOptions {
            order: if wanted.ordered { Order::Key } else { Order::Any },
            start: if wanted.from_beginning { Start::Beginning } else { Start::Now },
            ..options(&wanted.name)
        };
        declared.retry.attempts = wanted.attempts;
        declared.filter.topics = vec![wanted.topic.parse().unwrap()];
        let subscription = self.bus.subscribe(declared).await.map_err(|error| error.to_string())?;
        Ok(Member { bus: self.bus.clone(), subscription })
    }

    async fn pass(&self, time: Duration) {
        self.fixture.clock.advance(time);
    }
}

impl Inbox for Member {
    type Letter = Held;

    async fn next(&self) -> Option<Held> {
        next_or_silence(&self.bus, &self.subscription).await.map(Held)
    }
}

impl Letter for Held {
    fn event(&self) -> &Event {
        self.0.event()
    }

    fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    fn idempotency_key(&self) -> String {
        self.0.idempotency_key().to_string()
    }

    async fn ack(mut self, outputs: Vec<Event>) -> Result<(), String> {
        let outputs = Outputs { events: outputs, keys: Vec::new() };
        self.0.ack(outputs).await.map(drop).map_err(|error| error.to_string())
    }

    async fn nak(self, delay: Duration) {
        self.0.nak(Some(delay), "the suite says so");
    }
}

#[tokio::test]
async fn the_journal_keeps_what_it_claims() {
    assert_claims(async || {
        let fixture = Fixture::new();
        Journal { bus: fixture.open(), fixture }
    })
    .await;
}
