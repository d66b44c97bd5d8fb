use clap::Args;
use wachter_api::shapes::{Ask, Send, StoredEvent};
use wachter_api::{AskQuestion, Nothing, SendEvent};
use wachter_model::{Duration, Topic};
use wachter_runtime::dispatch::{QUERY_FAILED, QueryFailed};

use super::document::json_argument;
use super::events;
use super::node::Node;
use crate::failure::{CommandError, CommandResult, ExitKind};
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
    let question = Ask { kind: topic.clone(), subject, data, timeout: Some(timeout.as_millis()) };
    let answer = node.call::<AskQuestion>(&Nothing {}, &question).await?;
    let Some(failed) = failed(&answer) else {
        return output::result(format, &answer, events::data(&answer.event));
    };
    if format == Format::Json {
        output::json(&answer)?;
    }
    Err(unanswered(&topic, &failed))
}

/// What an answer says where it is that there is none.
fn failed(answer: &StoredEvent) -> Option<QueryFailed> {
    let failed = answer.event.get("type")?.as_str()? == QUERY_FAILED;
    failed.then(|| serde_json::from_value(answer.event.get("data")?.clone()).ok()).flatten()
}

fn unanswered(topic: &Topic, failed: &QueryFailed) -> CommandError {
    let QueryFailed { agent, error, run, .. } = failed;
    let (kind, hint) = match run {
        Some(run) => (ExitKind::RunFailed, format!("`wachter runs {run}` shows its run")),
        None => (ExitKind::Failed, format!("`wachter agents show {agent}` says more")),
    };
    CommandError::new(kind, format!("`{topic}` has no answer from {agent}: {error}; {hint}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_reply_that_there_is_no_answer_is_a_failure() {
        let run = "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55";
        let check = |kind: &str, data: Value, expected: Option<(ExitKind, &str)>| {
            let answer = StoredEvent { sequence: 1, event: json!({ "type": kind, "data": data }) };
            let error = failed(&answer).map(|failed| unanswered(&"a.b".parse().unwrap(), &failed));
            let error = error.as_ref().map(|error| (error.kind, error.message.as_str()));
            assert_eq!(error, expected, "{answer:?}");
        };
        let mut data =
            json!({ "agent": "desk", "outcome": "failed", "error": "no paper", "run": run });
        let ran =
            format!("`a.b` has no answer from desk: no paper; `wachter runs {run}` shows its run");
        check("query.failed", data.clone(), Some((ExitKind::RunFailed, &ran)));
        check("query.answered", data.clone(), None);
        data["run"] = Value::Null;
        let idle = "`a.b` has no answer from desk: no paper; `wachter agents show desk` says more";
        check("query.failed", data, Some((ExitKind::Failed, idle)));
        check("query.failed", json!(7), None);
    }
}
