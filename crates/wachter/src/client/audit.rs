use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use wachter_api::shapes::{AuditQuery, AuditReport, Change, ChangesQuery};
use wachter_api::{ExportJournal, ListChanges, Nothing, VerifyJournal};

use super::moment::Moment;
use super::node::{Node, next};
use super::words::{count, time};
use crate::failure::{CommandError, CommandResult};
use crate::keys;
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};

mod checkpoints;
mod mark;

use mark::{Mark, Report};

#[derive(Args, Debug)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    /// Check that the journal is what it was: every digest, every link, every checkpoint
    Verify {
        /// Also compare with what was kept elsewhere: a checkpoint of this journal, or what an
        /// earlier `audit verify --output json` printed
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The public key that signed the checkpoint [default: the node's keys]
        #[arg(long, value_name = "FILE", requires = "checkpoint")]
        key: Option<PathBuf>,
        #[command(flatten)]
        range: RangeArguments,
    },
    /// Print a checkpoint with its signature, to be kept elsewhere
    Checkpoint {
        /// That whose segment has the event with this number [default: the newest]
        sequence: Option<u64>,
    },
    /// List the checkpoints of the journal
    Checkpoints,
    /// Print the journal with its digests, as JSON Lines
    Export {
        #[command(flatten)]
        range: RangeArguments,
    },
}

#[derive(Args, Clone, Copy, Debug)]
struct RangeArguments {
    /// From the event with this number on [default: the oldest]
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Up to the event with this number [default: the newest]
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct ChangesArguments {
    /// Since then: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: Moment,
}

pub(super) async fn carry_out(
    arguments: &AuditArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    match &arguments.command {
        AuditCommand::Verify { checkpoint, key, range } => {
            let mut mark = checkpoint.as_deref().map(Mark::read).transpose()?;
            if let (Some(mark), Some(key)) = (&mut mark, key) {
                mark.verify(&keys::public_key(key)?)?;
            }
            if mark.as_ref().is_some_and(|mark| mark.is_unsigned() && key.is_none()) {
                output::talk(
                    "the checkpoint carries no signature: it proves as much as the place where it was kept",
                );
            }
            verify(mark.as_ref(), *range, node, format).await
        }
        AuditCommand::Checkpoint { sequence } => checkpoints::print(*sequence, node, format).await,
        AuditCommand::Checkpoints => checkpoints::list(node, format).await,
        AuditCommand::Export { range } => export(*range, node).await,
    }
}

async fn verify(
    mark: Option<&Mark>,
    range: RangeArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let checkpoint = match mark {
        Some(Mark::Checkpoint(checkpoint)) => Some(checkpoint.to_string()),
        _ => None,
    };
    let query = AuditQuery { from: range.from, to: range.to, checkpoint };
    let report = node.call::<VerifyJournal>(&query, &Nothing {}).await?;
    if format == Format::Json {
        output::json(&report)?;
    } else {
        let mut page = Page::new(View::of_stdout());
        describe(&report, &mut page);
        page.print()?;
    }
    if !report.valid {
        let places = count(report.corruptions.len() as u64, "place", "places");
        return Err(CommandError::refused(format!(
            "the journal is not what it was, in {places}; keep a copy, and see who could write to it"
        )));
    }
    match mark {
        Some(Mark::Report(earlier)) => compare(earlier, &report.journal, node).await,
        _ => Ok(()),
    }
}

/// Whether the chain had that value at that event.
async fn compare(earlier: &Report, journal: &str, node: &Node) -> CommandResult {
    earlier.is_of(journal)?;
    let query =
        AuditQuery { from: Some(earlier.last), to: Some(earlier.last), ..AuditQuery::default() };
    let mut lines = node.stream::<ExportJournal>(&query).await?;
    match next(&mut lines).await? {
        Some(record) if record.sequence == earlier.last => earlier.compare(record.chain),
        _ => Err(CommandError::refused(format!(
            "the journal has no event {} to compare with: it was dropped for its age or size, or is missing",
            earlier.last
        ))),
    }
}

fn describe(report: &AuditReport, page: &mut Page) {
    let (word, tone) = if report.valid { ("valid", Tone::Good) } else { ("damaged", Tone::Bad) };
    page.toned_field("journal", word, tone);
    page.field(
        "checked",
        &format!("events {} to {}: {}", report.first, report.last, report.events),
    );
    page.field("identity", &report.journal);
    page.field("checkpoints", &report.checkpoints.to_string());
    if let Some(chain) = &report.chain {
        page.field("chain", &chain.to_string());
    }
    let mut corruptions =
        Table::new([Column::whole("FROM"), Column::whole("TO"), Column::cut("WHAT")]);
    for corruption in &report.corruptions {
        corruptions.row([
            corruption.first.to_string().into(),
            corruption.last.to_string().into(),
            Cell::toned(&corruption.what, Tone::Bad),
        ]);
    }
    page.section("Damage", &corruptions);
}

async fn export(range: RangeArguments, node: &Node) -> CommandResult {
    let query = AuditQuery { from: range.from, to: range.to, checkpoint: None };
    let mut lines = node.stream::<ExportJournal>(&query).await?;
    while let Some(record) = next(&mut lines).await? {
        if output::json_line_exactly(&record)?.is_break() {
            break;
        }
    }
    Ok(())
}

pub(super) async fn changes(
    arguments: &ChangesArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let query = ChangesQuery { since: Some(arguments.since.before(Timestamp::now())) };
    let changes = node.call::<ListChanges>(&query, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&changes);
    }
    if changes.is_empty() {
        output::talk("nothing was changed since then");
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&changes));
    page.print()
}

fn table(changes: &[Change]) -> Table {
    let mut table = Table::new([
        Column::whole("TIME (UTC)"),
        Column::whole("SEQUENCE").spare(1),
        Column::whole("KIND"),
        Column::whole("BY"),
        Column::cut("WHAT"),
    ]);
    for change in changes {
        table.row([
            time(change.time).into(),
            change.sequence.to_string().into(),
            change.kind.as_str().into(),
            change.by.as_str().into(),
            change.what.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_a_report() {
        let mut report: AuditReport = serde_json::from_value(json!({
            "valid": true, "journal": "0192f3a1", "first": 1, "last": 9, "events": 9, "checkpoints": 2,
            "chain": "ab".repeat(32), "corruptions": [],
        }))
        .unwrap();
        let lines = |report: &AuditReport| {
            let mut page = Page::new(View::plain(None));
            describe(report, &mut page);
            page.lines().to_vec()
        };
        let chain = format!("chain        {}", "ab".repeat(32));
        let mut expected = vec![
            "journal      valid",
            "checked      events 1 to 9: 9",
            "identity     0192f3a1",
            "checkpoints  2",
            &chain,
        ];
        assert_eq!(lines(&report), expected);
        report.valid = false;
        report.corruptions.push(
            serde_json::from_value(json!({ "first": 3, "last": 4, "what": "missing" })).unwrap(),
        );
        expected[0] = "journal      damaged";
        expected.extend(["", "Damage", "FROM  TO  WHAT", "3     4   missing"]);
        assert_eq!(lines(&report), expected);
    }

    #[test]
    fn shows_changes() {
        let change = Change {
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            sequence: 12,
            kind: "release".to_owned(),
            by: "ann".to_owned(),
            what: "release 2 is in force".to_owned(),
        };
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[change]));
        assert_eq!(
            page.lines(),
            [
                "TIME (UTC)           SEQUENCE  KIND     BY   WHAT",
                "2026-11-22 10:00:00  12        release  ann  release 2 is in force",
            ]
        );
    }
}
