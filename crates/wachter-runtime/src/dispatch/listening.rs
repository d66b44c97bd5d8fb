use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wachter_bus::{
    Clock, Delivery, Order, ReadError, Retry, Subscription, SubscriptionName, SubscriptionOptions,
};
use wachter_config::Agent;
use wachter_model::AgentName;

use super::condition;
use super::run::LEASE;
use super::turn::PAUSE;
use super::wake::Sources;

/// Deliveries of an agent that may wait here beside those that run; the others stay in the journal.
const AHEAD: usize = 8;

/// How often an event may be delivered besides its failures: nodes stop, launchers die. It bounds what
/// a node that dies each time can do to it.
const INTERRUPTIONS: u32 = 10;

/// The task that waits for deliveries while the gate is open. It ends with who holds it; a delivery
/// on its way is put back.
pub(super) struct Listening {
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listening {
    /// Not yet.
    pub(super) fn new(
        agent: AgentName,
        subscription: Subscription,
        deliveries: mpsc::Sender<(AgentName, Delivery)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (gate, opened) = watch::channel(false);
        let task = tokio::spawn(listen(agent, subscription, deliveries, opened, clock));
        Self { gate, task }
    }

    /// Takes deliveries from now on, or none.
    pub(super) fn open(&self, open: bool) {
        self.gate.send_if_modified(|gate| std::mem::replace(gate, open) != open);
    }
}

/// The subscription that an agent needs.
pub(super) fn subscription(
    agent: &Agent,
    sources: &Sources,
    errors: &Arc<AtomicU64>,
) -> SubscriptionOptions {
    let limit = usize::try_from(agent.concurrency.limit.get()).unwrap_or(usize::MAX);
    SubscriptionOptions {
        filter: condition::filter(agent, sources, errors),
        order: Order::Any,
        in_flight: limit.saturating_add(AHEAD),
        ack_within: LEASE,
        // What is given back without a delay of its own was cut off, by a kill of the launcher or a
        // journal that took nothing: that is no reason to wait for minutes.
        retry: Retry {
            attempts: agent.retry.attempts(),
            interruptions: INTERRUPTIONS,
            initial: Duration::from_millis(200),
            max: Duration::from_secs(5),
            ..Retry::default()
        },
        ..SubscriptionOptions::new(subscription_of(&agent.name))
    }
}

/// The name of an agent's subscription.
pub(super) fn subscription_of(agent: &AgentName) -> SubscriptionName {
    format!("agents/{agent}")
        .parse()
        .expect("names of agents are made of letters, digits and hyphens")
}

/// A delivery that nobody has looked at: put back, however this ends.
struct Untouched(Option<Delivery>);

impl Drop for Untouched {
    fn drop(&mut self) {
        if let Some(delivery) = self.0.take() {
            delivery.put_back(Duration::ZERO);
        }
    }
}

async fn listen(
    agent: AgentName,
    subscription: Subscription,
    deliveries: mpsc::Sender<(AgentName, Delivery)>,
    mut gate: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
) {
    let pause = |by: Duration| clock.wait_until(clock.elapsed() + by);
    loop {
        if gate.wait_for(|open| *open).await.is_err() {
            return;
        }
        let closed = async { gate.wait_for(|open| !*open).await.is_ok() };
        tokio::select! {
            closed = closed => if !closed { return },
            next = subscription.next() => match next {
                Ok(delivery) => {
                    let mut delivery = Untouched(Some(delivery));
                    let Ok(place) = deliveries.reserve().await else { return };
                    if let Some(delivery) = delivery.0.take() {
                        place.send((agent.clone(), delivery));
                    }
                }
                Err(ReadError::Closed) => return,
                // The bus says by itself that it cannot be read, and tries again.
                Err(_) => pause(PAUSE).await,
            },
        }
    }
}
