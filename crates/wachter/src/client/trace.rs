use clap::Args;
use wachter_api::shapes::{Trace, TracedEvent};
use wachter_api::{Nothing, TraceEvent};

use super::events::{outcome, text, time_of};
use super::node::Node;
use super::words::took;
use crate::failure::CommandResult;
use crate::output::{self, Format, Page, Tone, View};

#[derive(Args, Debug)]
pub(crate) struct TraceArguments {
    /// The event: its identifier or its number, as `wachter events` has them
    event: String,
}

pub(super) async fn carry_out(
    arguments: &TraceArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let trace = node.call_at::<TraceEvent>(&arguments.event, &Nothing {}, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&trace);
    }
    let mut page = Page::new(View::of_stdout());
    draw(&trace, &mut page);
    page.print()
}

/// What branches are drawn with.
struct Branches {
    middle: &'static str,
    last: &'static str,
    through: &'static str,
    after: &'static str,
}

const BOXES: Branches =
    Branches { middle: "├─ ", last: "└─ ", through: "│  ", after: "   " };
const ASCII: Branches = Branches { middle: "|- ", last: "`- ", through: "|  ", after: "   " };

/// How many levels are drawn with branches; what is deeper says how deep, since a line has an end.
const DRAWN: usize = 40;

/// Where an event stands in the drawing.
struct Place {
    event: usize,
    depth: usize,
    before: String,
    below: String,
}

/// Draws the tree with the time of each event since the first. Does not call itself: how deep causes
/// go is not ours to say.
fn draw(trace: &Trace, page: &mut Page) {
    let branches = if page.view().unicode { &BOXES } else { &ASCII };
    let mut children = vec![Vec::new(); trace.events.len()];
    for (place, event) in trace.events.iter().enumerate() {
        // An effect stands behind its cause; what says otherwise is drawn nowhere, and nothing is drawn
        // for ever.
        if let Some(cause) = event.cause.filter(|cause| *cause < place) {
            children[cause].push(place);
        }
    }
    let root = Place { event: 0, depth: 0, before: String::new(), below: String::new() };
    let mut left = if trace.events.is_empty() { Vec::new() } else { vec![root] };
    while let Some(Place { event, depth, before, below }) = left.pop() {
        let traced = &trace.events[event];
        let tone = match (traced.asked, text(&traced.event.event, "type")) {
            (true, _) => Tone::Strong,
            (false, kind) if kind == wachter_runtime::dispatch::RUN_FINISHED => {
                let outcome = traced.event.event.pointer("/data/outcome");
                Tone::of_outcome(outcome.and_then(serde_json::Value::as_str).unwrap_or_default())
            }
            (false, _) => Tone::Plain,
        };
        let deep = if depth > DRAWN { format!("[{depth}] ") } else { String::new() };
        page.toned_line(&format!("{before}{deep}{}", words(traced, depth == 0)), tone);
        let last = children[event].len().saturating_sub(1);
        for (index, child) in children[event].iter().enumerate().rev() {
            let (branch, through) = if index == last {
                (branches.last, branches.after)
            } else {
                (branches.middle, branches.through)
            };
            let (before, below) = if depth < DRAWN {
                (format!("{below}{branch}"), format!("{below}{through}"))
            } else {
                (below.clone(), below.clone())
            };
            left.push(Place { event: *child, depth: depth + 1, before, below });
        }
    }
    if !trace.complete {
        page.line("there is more than is shown; ask about one of the last");
    }
}

fn words(node: &TracedEvent, is_root: bool) -> String {
    let event = &node.event.event;
    let mut words =
        if is_root { format!("{} UTC", time_of(event)) } else { since(node.milliseconds) };
    words.push_str(&format!("  {}", text(event, "type")));
    let outcome = outcome(event).unwrap_or_default();
    for part in [text(event, "subject"), &outcome, text(event, "id")] {
        if !part.is_empty() {
            words.push_str("  ");
            words.push_str(part);
        }
    }
    if node.asked {
        words.push_str("  (this one)");
    }
    words
}

fn since(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { '-' } else { '+' };
    format!("{sign}{}", took(milliseconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wachter_api::shapes::StoredEvent;

    use super::*;

    fn traced(id: &str, kind: &str, milliseconds: i64, cause: Option<usize>) -> TracedEvent {
        let event = json!({
            "id": id, "type": kind, "time": "2026-11-22T10:00:00Z",
            "data": if kind == "run.finished" {
                json!({ "outcome": "failed", "usage": { "wall_microseconds": 12_345 } })
            } else {
                json!(null)
            },
        });
        let event = StoredEvent { sequence: 1, event };
        TracedEvent { event, asked: id == "c", milliseconds, cause }
    }

    #[test]
    fn draws_a_tree() {
        let events = vec![
            traced("a", "github.push", 0, None),
            traced("b", "run.finished", 80, Some(0)),
            traced("e", "clock.set\u{1b}", -5, Some(0)),
            traced("c", "vulnerability.dependency", 90, Some(1)),
            traced("d", "agent.x", 61_000, Some(3)),
        ];
        let trace = Trace { events, complete: true };
        let check = |unicode: bool, expected: &[&str]| {
            let mut page = Page::new(View { unicode, ..View::plain(None) });
            draw(&trace, &mut page);
            assert_eq!(page.lines(), expected);
        };
        check(
            true,
            &[
                "2026-11-22 10:00:00 UTC  github.push  a",
                "├─ +80 ms  run.finished  failed in 12 ms  b",
                "│  └─ +90 ms  vulnerability.dependency  c  (this one)",
                "│     └─ +1 min 1 s  agent.x  d",
                "└─ -5 ms  clock.set\\u{1b}  e",
            ],
        );
        check(
            false,
            &[
                "2026-11-22 10:00:00 UTC  github.push  a",
                "|- +80 ms  run.finished  failed in 12 ms  b",
                "|  `- +90 ms  vulnerability.dependency  c  (this one)",
                "|     `- +1 min 1 s  agent.x  d",
                "`- -5 ms  clock.set\\u{1b}  e",
            ],
        );
    }

    #[test]
    fn a_long_chain_is_drawn_to_its_end() {
        let chain = |place: usize| traced("x", "a.b", 0, place.checked_sub(1));
        let mut events: Vec<TracedEvent> = (0..10_000).map(chain).collect();
        events.push(traced("end", "a.b", 0, Some(9_999)));
        let mut page = Page::new(View::plain(None));
        draw(&Trace { events, complete: false }, &mut page);
        let [.., last, more] = page.lines() else { panic!("two lines at least") };
        assert!(last.ends_with("[10000] +0 ms  a.b  end"), "{last}");
        assert!(last.len() < 400, "{last}");
        assert!(more.starts_with("there is more"), "{more}");
    }

    #[test]
    fn what_names_no_cause_before_it_is_passed_over() {
        let events = vec![traced("a", "a.b", 0, Some(0)), traced("b", "a.b", 0, Some(7))];
        let mut page = Page::new(View::plain(None));
        draw(&Trace { events, complete: true }, &mut page);
        assert_eq!(page.lines().len(), 1);
        draw(&Trace { events: Vec::new(), complete: true }, &mut page);
        assert_eq!(page.lines().len(), 1);
    }
}
