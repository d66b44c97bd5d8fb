use clap::Args;
use wachter_api::shapes::{Ask, Send};
use wachter_api::{AskQuestion, Nothing, SendEvent};
use wachter_model::{Duration, Topic};

use super::document::json_argument;
use super::events;
use super::node::Node;
use crate::failure::CommandResult;
use crate::output::{self, Format};

#[derive(Args, Debug)]
pub(crate) struct SendArguments {
    /// The event's topic, such as `scan.requested`
    topic: Topic,
    /// What it says: JSON, @FILE, or `-` for stdin
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    content: Option<String>,
    /// What it is about
    #[arg(long)]
    subject: Option<String>,
    /// Events with the same key are handled in order
    #[arg(long)]
    key: Option<String>,
    /// An identifier of your own: sent twice with the same one, it is taken once
    #[arg(long)]
    id: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RequestArguments {
    /// The question's topic
    topic: Topic,
    /// What it says: JSON, @FILE, or `-` for stdin
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    content: Option<String>,
    /// What it is about
    #[arg(long)]
    subject: Option<String>,
    /// How long to wait for the answer: 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Duration,
}

pub(super) async fn send(arguments: SendArguments, node: &Node, format: Format) -> CommandResult {
    let SendArguments { topic, content, subject, key, id } = arguments;
    let data = content.as_deref().map(json_argument).transpose()?.unwrap_or_default();
    let event = Send { kind: topic, subject, data, partition_key: key, id };
    let sent = node.call::<SendEvent>(&Nothing {}, &event).await?;
    let sentence = if sent.duplicate {
        format!("event {} was known already, as number {}", sent.id, sent.sequence)
    } else {
        format!("event {} was taken, as number {}", sent.id, sent.sequence)
    };
    output::result(format, &sent, sentence)
}

pub(super) async fn request(
    arguments: RequestArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let RequestArguments { topic, content, subject, timeout } = arguments;
    let data = content.as_deref().map(json_argument).transpose()?.unwrap_or_default();
    let question = Ask { kind: topic, subject, data, timeout: Some(timeout.as_millis()) };
    let answer = node.call::<AskQuestion>(&Nothing {}, &question).await?;
    output::result(format, &answer, events::data(&answer.event))
}
