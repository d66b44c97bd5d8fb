use clap::Args;
use wachter_api::shapes::TraceNode;
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
    let tree = node.call_at::<TraceEvent>(&arguments.event, &Nothing {}, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&tree);
    }
    let mut page = Page::new(View::of_stdout());
    draw(&tree, &mut page);
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

/// Draws the tree with the time of each event since the first. Does not call itself: how deep causes
/// go is not ours to say.
fn draw(tree: &TraceNode, page: &mut Page) {
    let branches = if page.view().unicode { &BOXES } else { &ASCII };
    let mut left = vec![(tree, String::new(), String::new())];
    while let Some((node, before, below)) = left.pop() {
        let tone = match (node.asked, text(&node.event.event, "type")) {
            (true, _) => Tone::Strong,
            (false, kind) if kind == wachter_runtime::dispatch::RUN_FINISHED => {
                let outcome = node.event.event.pointer("/data/outcome");
                Tone::of_outcome(outcome.and_then(serde_json::Value::as_str).unwrap_or_default())
            }
            (false, _) => Tone::Plain,
        };
        page.toned_line(&format!("{before}{}", words(node, before.is_empty())), tone);
        let last = node.children.len().saturating_sub(1);
        for (index, child) in node.children.iter().enumerate().rev() {
            let (branch, through) = if index == last {
                (branches.last, branches.after)
            } else {
                (branches.middle, branches.through)
            };
            left.push((child, format!("{below}{branch}"), format!("{below}{through}")));
        }
    }
}

fn words(node: &TraceNode, is_root: bool) -> String {
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

    fn node(id: &str, kind: &str, milliseconds: i64, children: Vec<TraceNode>) -> TraceNode {
        let event = json!({
            "id": id, "type": kind, "time": "2026-11-22T10:00:00Z",
            "data": if kind == "run.finished" {
                json!({ "outcome": "failed", "usage": { "wall_microseconds": 12_345 } })
            } else {
                json!(null)
            },
        });
        TraceNode {
            event: StoredEvent { sequence: 1, event },
            asked: id == "c",
            milliseconds,
            children,
        }
    }

    #[test]
    fn draws_a_tree() {
        let deep =
            node("c", "vulnerability.dependency", 90, vec![node("d", "agent.x", 61_000, vec![])]);
        let tree = node(
            "a",
            "github.push",
            0,
            vec![
                node("b", "run.finished", 80, vec![deep]),
                node("e", "clock.set\u{1b}", -5, vec![]),
            ],
        );
        let check = |unicode: bool, expected: &[&str]| {
            let mut page = Page::new(View { unicode, ..View::plain(None) });
            draw(&tree, &mut page);
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
        let mut tree = node("end", "a.b", 0, vec![]);
        for _ in 0..2_000 {
            tree = node("x", "a.b", 0, vec![tree]);
        }
        let mut page = Page::new(View::plain(None));
        draw(&tree, &mut page);
        assert!(page.lines().last().unwrap().ends_with("end"));
    }
}
