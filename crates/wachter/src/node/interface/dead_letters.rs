use std::sync::Arc;

use serde_json::Value;
use wachter_api::shapes::{DeadLetter, Retried};
use wachter_api::{
    Call, DropDeadLetter, GetDeadLetter, ListDeadLetters, Nothing, Problem, RetryDeadLetter, Server,
};
use wachter_bus::{Bus, DeadLetterId, SubscriptionName};

use super::look_back::json_of;
use super::problems::{unreadable, unwritten};
use super::with;
use crate::node::context::Node;

/// How many a list has where nobody says, and at most.
const FEW: u32 = 100;
const MOST: u32 = 1_000;

/// What is given up where nobody has subscribed by hand: the subscriptions of agents.
const AGENTS: &str = "agents/";

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server
        .answer::<ListDeadLetters, _, _>(with(node, list))
        .answer::<GetDeadLetter, _, _>(with(node, get))
        .answer::<RetryDeadLetter, _, _>(with(node, retry))
        .answer::<DropDeadLetter, _, _>(with(node, forget))
}

async fn list(node: Arc<Node>, call: Call<ListDeadLetters>) -> Result<Vec<DeadLetter>, Problem> {
    let of = call.query.subscription.as_deref().map(subscription).transpose()?;
    let limit = usize::try_from(call.query.limit.unwrap_or(FEW).min(MOST)).unwrap_or(usize::MAX);
    let letters = node.bus.dead_letters(of, DeadLetterId::new(0), limit).await;
    Ok(letters.map_err(|error| unreadable(&error))?.into_iter().map(shown).collect())
}

async fn get(node: Arc<Node>, call: Call<GetDeadLetter>) -> Result<DeadLetter, Problem> {
    find(&node.bus, call.parameter()?).await.map(shown)
}

async fn retry(node: Arc<Node>, call: Call<RetryDeadLetter>) -> Result<Retried, Problem> {
    let letter = find(&node.bus, call.parameter()?).await?;
    let found = node.bus.retry_dead_letter(letter.id).await;
    if !found.map_err(|error| unwritten(&error))? {
        return Err(missing(letter.id));
    }
    let subscription = letter.subscription.to_string();
    Ok(Retried { subscription, sequence: letter.seq.get() })
}

async fn forget(node: Arc<Node>, call: Call<DropDeadLetter>) -> Result<Nothing, Problem> {
    let id = DeadLetterId::new(call.parameter()?);
    let found = node.bus.drop_dead_letter(id).await;
    if found.map_err(|error| unwritten(&error))? { Ok(Nothing {}) } else { Err(missing(id)) }
}

/// A subscription by its name, or by the name of its agent.
pub(super) fn subscription(text: &str) -> Result<SubscriptionName, Problem> {
    let full = if text.contains('/') { text.to_owned() } else { format!("{AGENTS}{text}") };
    full.parse().map_err(|_| {
        Problem::invalid(format!(
            "`{text}` is neither an agent nor a subscription; `wachter agents` lists agents"
        ))
    })
}

async fn find(bus: &Bus, number: i64) -> Result<wachter_bus::DeadLetter, Problem> {
    let id = DeadLetterId::new(number);
    let before = DeadLetterId::new(number.saturating_sub(1));
    let found = bus.dead_letters(None, before, 1).await.map_err(|error| unreadable(&error))?;
    found.into_iter().find(|letter| letter.id == id).ok_or_else(|| missing(id))
}

fn missing(id: DeadLetterId) -> Problem {
    Problem::not_found(format!(
        "there is no dead letter {id}; `wachter dead-letters list` shows those that there are"
    ))
}

fn shown(letter: wachter_bus::DeadLetter) -> DeadLetter {
    DeadLetter {
        // Numbers are given from 1 on.
        id: letter.id.to_string().parse().unwrap_or_default(),
        subscription: letter.subscription.to_string(),
        sequence: letter.seq.get(),
        reason: letter.reason,
        attempts: letter.attempts,
        time: letter.at,
        retried: letter.retried,
        event: letter.event.as_deref().map_or(Value::Null, json_of),
    }
}
