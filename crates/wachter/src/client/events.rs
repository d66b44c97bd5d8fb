use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use wachter_api::shapes::{EventsQuery, FollowQuery, StoredEvent};
use wachter_api::{FollowEvents, GetStatus, ListEvents, Nothing};
use wachter_model::TopicFilter;
use wachter_runtime::dispatch::RUN_FINISHED;

use super::moment::Moment;
use super::node::{Node, next};
use super::words::{time, took};
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::output::{self, Cell, Column, Format, Page, Table, View, interrupted};

#[derive(Args, Debug)]
pub(crate) struct EventsArguments {
    /// Only those of these topics, joined by commas; `*` stands for a word, a last `>` for the rest
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    topic: Vec<TopicFilter>,
    /// Only those since then: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// The newest so many [default: 50]
    #[arg(long, short = 'n')]
    limit: Option<u32>,
    /// Go on with new events as they come, until Ctrl-C
    #[arg(long, short)]
    pub(super) follow: bool,
}

pub(super) async fn carry_out(
    arguments: EventsArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let EventsArguments { topic, since, limit, follow } = arguments;
    let topics: Vec<&str> = topic.iter().map(TopicFilter::as_str).collect();
    let topic = (!topics.is_empty()).then(|| topics.join(","));
    let ended = interrupted()?;
    // Before the list is asked for: what comes after it is told by the stream, and nothing twice.
    let known = if follow { node.get::<GetStatus>().await?.journal.last } else { 0 };
    let query = EventsQuery {
        topic: topic.clone(),
        since: since.map(|since| since.before(Timestamp::now())),
        after: None,
        limit,
    };
    let events = node.call::<ListEvents>(&query, &Nothing {}).await?;
    if !follow {
        if format == Format::Json {
            return output::json(&events);
        }
        if events.is_empty() {
            output::talk("there are no such events");
        }
        let mut page = Page::new(View::of_stdout());
        page.table(&table(&events));
        return page.print();
    }
    for event in &events {
        if print(event, format)?.is_break() {
            return Ok(());
        }
    }
    let after = events.last().map_or(known, |event| event.sequence.max(known));
    let mut lines = node.stream::<FollowEvents>(&FollowQuery { topic, after: Some(after) }).await?;
    let mut ended = std::pin::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            line = next(&mut lines) => {
                let event = line?.ok_or_else(the_node_ended)?;
                if print(&event, format)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

/// What followed a node has nothing to follow any more.
pub(super) fn the_node_ended() -> CommandError {
    CommandError::new(
        ExitKind::NoNode,
        "the node has ended; see its log, and start it again with `wachter run`",
    )
}

fn print(event: &StoredEvent, format: Format) -> Result<std::ops::ControlFlow<()>, CommandError> {
    if format == Format::Json {
        return output::json_line(event);
    }
    let mut page = Page::new(View::of_stdout());
    page.rows(&table(std::slice::from_ref(event)));
    page.print_while_read()
}

fn table(events: &[StoredEvent]) -> Table {
    let mut table = Table::new([
        Column::whole("SEQUENCE").at_least(8),
        Column::whole("TIME (UTC)").at_least(19),
        Column::whole("TYPE").at_least(18),
        Column::whole("SUBJECT").at_least(14).spare(2),
        Column::whole("ID").at_least(36).spare(1),
        Column::cut("DATA"),
    ]);
    for StoredEvent { sequence, event } in events {
        table.row([
            sequence.to_string().into(),
            time_of(event).into(),
            text(event, "type").into(),
            text(event, "subject").into(),
            text(event, "id").into(),
            Cell::plain(&summary(event)),
        ]);
    }
    table
}

/// How much of an event's data stands in a list; `--output json` has all of it.
const LONGEST_SUMMARY: usize = 200;

/// What an event says, for a list.
fn summary(event: &Value) -> String {
    let words = match (text(event, "type"), outcome(event)) {
        (RUN_FINISHED, Some(outcome)) => match event.pointer("/data/message") {
            Some(Value::String(message)) => format!("{outcome}: {message}"),
            _ => outcome,
        },
        _ => data(event),
    };
    match words.char_indices().nth(LONGEST_SUMMARY) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

/// Of an event that tells of a run: how it ended, and how long it took.
pub(super) fn outcome(event: &Value) -> Option<String> {
    let outcome = event.pointer("/data/outcome")?.as_str()?;
    let microseconds = event.pointer("/data/usage/wall_microseconds").and_then(Value::as_u64);
    Some(match microseconds {
        Some(microseconds) => format!("{outcome} in {}", took(microseconds / 1_000)),
        None => outcome.to_owned(),
    })
}

/// An attribute of an event as text; nothing where it has none.
pub(super) fn text<'e>(event: &'e Value, attribute: &str) -> &'e str {
    event.get(attribute).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn time_of(event: &Value) -> String {
    text(event, "time").parse().map(time).unwrap_or_default()
}

/// What an event says, on one line (CloudEvents JSON format: `data`, or `data_base64` of bytes).
pub(super) fn data(event: &Value) -> String {
    match (event.get("data"), event.get("data_base64")) {
        (Some(Value::Null) | None, None) => String::new(),
        (Some(Value::String(text)), _) => text.clone(),
        (Some(data), _) => data.to_string(),
        (None, Some(bytes)) => format!("base64:{}", bytes.as_str().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_in_a_list_what_an_event_is_about() {
        let check = |event: Value, expected: &str| assert_eq!(summary(&event), expected);
        let run = |message: Value| {
            json!({ "type": "run.finished", "data": {
                "outcome": "failed", "usage": { "wall_microseconds": 1_500_000 }, "message": message,
            } })
        };
        check(run(json!("no space")), "failed in 1.5 s: no space");
        check(run(json!(null)), "failed in 1.5 s");
        check(json!({ "type": "run.finished", "data": 1 }), "1");
        check(json!({ "type": "a", "data": { "outcome": "failed" } }), "{\"outcome\":\"failed\"}");
        check(json!({ "type": "a", "data": "é".repeat(201) }), &("é".repeat(200) + "..."));
    }

    #[test]
    fn lists_events() {
        let event = |sequence: u64, event: Value| StoredEvent { sequence, event };
        let events = [
            event(
                7,
                json!({
                    "type": "disk.full", "subject": "/srv\r\n", "time": "2026-11-22T10:00:00.5Z",
                    "id": "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55", "data": { "used": "99 %" },
                }),
            ),
            event(8, json!({ "type": "a", "id": "1", "data_base64": "AAE=" })),
            event(9, json!({})),
        ];
        let mut page = Page::new(View::plain(Some(117)));
        page.table(&table(&events));
        assert_eq!(
            page.lines(),
            [
                "SEQUENCE  TIME (UTC)           TYPE                SUBJECT         ID                                    DATA",
                "7         2026-11-22 10:00:00  disk.full           /srv\\u{d}\\u{a}  0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55  {\"used\":\"99…",
                "8                              a                                   1                                     base64:AAE=",
                "9",
            ]
        );
    }
}
