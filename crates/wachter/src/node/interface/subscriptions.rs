use std::sync::Arc;

use wachter_api::shapes::Subscription;
use wachter_api::{Call, ListSubscriptions, Problem, Server};

use super::problems::unreadable;
use super::with;
use crate::node::context::Node;

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.answer::<ListSubscriptions, _, _>(with(node, list))
}

async fn list(node: Arc<Node>, _: Call<ListSubscriptions>) -> Result<Vec<Subscription>, Problem> {
    let dead_letters = node.bus.count_dead_letters().await;
    let dead_letters = dead_letters.map_err(|error| unreadable(&error))?;
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let subscriptions = node.bus.subscriptions().into_iter().map(|status| Subscription {
        dead_letters: dead_letters.get(&status.name).copied().unwrap_or(0),
        name: status.name.to_string(),
        floor: status.floor.get(),
        in_flight: wide(status.in_flight),
        behind: status.behind.saturating_add(wide(status.retrying)),
    });
    Ok(subscriptions.collect())
}
