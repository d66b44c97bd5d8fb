use clap::{Args, Subcommand};
use wachter_api::shapes::{DeadLetter, DeadLettersQuery};
use wachter_api::{DropDeadLetter, GetDeadLetter, ListDeadLetters, Nothing, RetryDeadLetter};

use super::events;
use super::node::Node;
use super::words::time;
use crate::failure::CommandResult;
use crate::output::{self, Column, Format, Page, Table, Tone, View};

#[derive(Args, Debug)]
pub(crate) struct DeadLettersArguments {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Subcommand, Debug)]
enum DeadLettersCommand {
    /// Show events that were given up, and why
    List {
        /// Only those of this subscription
        #[arg(long)]
        subscription: Option<String>,
        /// How many to show [default: 100]
        #[arg(long, short = 'n')]
        limit: Option<u32>,
    },
    /// Show one in full
    Show {
        /// Its number, as the list has it
        id: u64,
    },
    /// Deliver one once more, to the subscription that gave it up
    Retry {
        /// Its number
        id: u64,
    },
    /// Forget one; the event itself stays in the journal
    Drop {
        /// Its number
        id: u64,
    },
}

pub(super) async fn carry_out(
    arguments: DeadLettersArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    match arguments.command {
        DeadLettersCommand::List { subscription, limit } => {
            let query = DeadLettersQuery { subscription, limit };
            let letters = node.call::<ListDeadLetters>(&query, &Nothing {}).await?;
            if format == Format::Json {
                return output::json(&letters);
            }
            if letters.is_empty() {
                output::talk("nothing was given up");
            }
            let mut page = Page::new(View::of_stdout());
            page.table(&table(&letters));
            page.print()
        }
        DeadLettersCommand::Show { id } => {
            let letter =
                node.call_at::<GetDeadLetter>(&id.to_string(), &Nothing {}, &Nothing {}).await?;
            if format == Format::Json {
                return output::json(&letter);
            }
            let mut page = Page::new(View::of_stdout());
            describe(&letter, &mut page)?;
            page.print()
        }
        DeadLettersCommand::Retry { id } => {
            let retried =
                node.call_at::<RetryDeadLetter>(&id.to_string(), &Nothing {}, &Nothing {}).await?;
            let sentence = format!(
                "event number {} goes to {} once more",
                retried.sequence, retried.subscription
            );
            output::result(format, &retried, sentence)
        }
        DeadLettersCommand::Drop { id } => {
            let dropped =
                node.call_at::<DropDeadLetter>(&id.to_string(), &Nothing {}, &Nothing {}).await?;
            output::result(format, &dropped, format_args!("dead letter {id} is forgotten"))
        }
    }
}

fn table(letters: &[DeadLetter]) -> Table {
    let mut table = Table::new([
        Column::whole("ID"),
        Column::whole("GIVEN UP (UTC)").spare(3),
        Column::whole("SUBSCRIPTION"),
        Column::whole("SEQUENCE").spare(2),
        Column::whole("ATTEMPTS").spare(1),
        Column::whole("TYPE"),
        Column::cut("REASON"),
    ]);
    for letter in letters {
        table.row([
            letter.id.to_string().into(),
            time(letter.time).into(),
            letter.subscription.as_str().into(),
            letter.sequence.to_string().into(),
            letter.attempts.to_string().into(),
            events::text(&letter.event, "type").into(),
            letter.reason.as_str().into(),
        ]);
    }
    table
}

fn describe(letter: &DeadLetter, page: &mut Page) -> CommandResult {
    page.field("dead letter", &letter.id.to_string());
    page.field("subscription", &letter.subscription);
    page.field("sequence", &letter.sequence.to_string());
    page.field("given up", &format!("{} UTC", time(letter.time)));
    page.field("attempts", &letter.attempts.to_string());
    if let Some(retried) = letter.retried {
        page.field("tried again", &format!("{} UTC", time(retried)));
    }
    page.toned_field("reason", &letter.reason, Tone::Bad);
    page.gap();
    page.toned_line("Event", Tone::Strong);
    page.text(&serde_json::to_string_pretty(&letter.event)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_describes() {
        let letter = DeadLetter {
            id: 3,
            subscription: "agents/scan".to_owned(),
            sequence: 41,
            reason: "3 runs failed: no\nnetwork".to_owned(),
            attempts: 3,
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            retried: Some("2026-11-22T11:00:00Z".parse().unwrap()),
            event: json!({ "type": "scan.requested" }),
        };
        let mut page = Page::new(View::plain(Some(99)));
        page.table(&table(std::slice::from_ref(&letter)));
        assert_eq!(
            page.lines(),
            [
                "ID  GIVEN UP (UTC)       SUBSCRIPTION  SEQUENCE  ATTEMPTS  TYPE            REASON",
                "3   2026-11-22 10:00:00  agents/scan   41        3         scan.requested  3 runs failed: no\\u{a}n…",
            ]
        );
        let mut page = Page::new(View::plain(None));
        describe(&letter, &mut page).unwrap();
        assert_eq!(
            page.lines(),
            [
                "dead letter  3",
                "subscription agents/scan",
                "sequence     41",
                "given up     2026-11-22 10:00:00 UTC",
                "attempts     3",
                "tried again  2026-11-22 11:00:00 UTC",
                "reason       3 runs failed: no\\u{a}network",
                "",
                "Event",
                "{",
                "  \"type\": \"scan.requested\"",
                "}",
            ]
        );
    }
}
