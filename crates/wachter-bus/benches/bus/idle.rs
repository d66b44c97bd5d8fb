//! What subscriptions cost that want nothing of what is published: each has a member that waits.

use std::time::Duration;

use tokio::runtime::Runtime;
use wachter_bus::{Bus, SubscriptionOptions};

use crate::rate::{self, Clients, median};
use crate::{Scale, event};

const SUBSCRIPTIONS: usize = 1_000;
const PUBLISHERS: u64 = 8;

pub(crate) fn measure(runtime: &Runtime, bus: &Bus, scale: Scale) {
    let (mut ratios, mut without, mut with) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.turns {
        let alone = publish(runtime, bus, scale.length);
        let members = runtime.block_on(wait(bus));
        let beside = publish(runtime, bus, scale.length);
        runtime.block_on(leave(bus, members));
        ratios.push(beside.rate / alone.rate);
        without.push(alone);
        with.push(beside);
    }
    println!(
        "publish, {PUBLISHERS} at once, beside {SUBSCRIPTIONS} idle subscriptions: {}, alone {}: {:.2}",
        rate::summary(with),
        rate::summary(without),
        median(&ratios)
    );
}

fn publish(runtime: &Runtime, bus: &Bus, length: Duration) -> Clients {
    let bus = bus.clone();
    Clients::run(runtime, PUBLISHERS, length, move |number| {
        let bus = bus.clone();
        async move {
            bus.publish(vec![event(number)]).await.expect("the disk has room");
        }
    })
}

type Members = Vec<tokio::task::JoinHandle<()>>;

async fn wait(bus: &Bus) -> Members {
    let mut members = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        let mut options = SubscriptionOptions::new(name(number));
        options.filter.topics = vec![format!("agent.a{number}.>").parse().expect("a filter")];
        let member = bus.subscribe(options).await.expect("the disk has room");
        members.push(tokio::spawn(async move { drop(member.next().await) }));
    }
    members
}

async fn leave(bus: &Bus, members: Members) {
    for (number, member) in members.into_iter().enumerate() {
        bus.unsubscribe(name(number)).await.expect("it is there");
        member.await.expect("it ends with its subscription");
    }
}

fn name(number: usize) -> wachter_bus::SubscriptionName {
    format!("idle/{number}").parse().expect("a name")
}
