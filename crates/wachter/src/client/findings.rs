use clap::{Args, Subcommand, ValueEnum};
use wachter_api::shapes::{self, FindingsQuery, ReportedFinding};
use wachter_api::{DropFinding, GetFinding, JudgeFinding, ListFindings, Nothing};
use wachter_model::{AgentName, Severity, Verdict};

use super::node::Node;
use super::words::time;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View};

/// How many digits of an identifier a list has: enough to tell a few thousand findings apart.
const DIGITS: usize = 8;

#[derive(Args, Debug)]
pub(crate) struct FindingsArguments {
    #[command(subcommand)]
    command: Option<FindingsCommand>,
    #[command(flatten)]
    list: ListArguments,
}

#[derive(Args, Debug)]
struct ListArguments {
    /// Only those of this agent
    #[arg(long)]
    agent: Option<AgentName>,
    /// Only those of this severity, and worse ones
    #[arg(long, value_enum)]
    severity: Option<Least>,
    /// Those too that were judged to be none
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Least {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Subcommand, Debug)]
enum FindingsCommand {
    /// Show one with its evidence
    Show {
        /// Its first digits, as the list has them
        id: String,
    },
    /// Say whether a finding is one; its agent hears of it, and may learn from it
    Judge {
        /// Its first digits, as the list has them
        id: String,
        /// What it is
        #[arg(value_enum)]
        verdict: Judged,
        /// Why, for whoever finds it judged
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take one off the list; it comes back when it is reported again
    Drop {
        /// Its first digits, as the list has them
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Judged {
    /// There is no such problem.
    FalsePositive,
    /// There is.
    Confirmed,
}

pub(super) async fn carry_out(
    arguments: FindingsArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let list_options =
        arguments.list.agent.is_some() || arguments.list.severity.is_some() || arguments.list.all;
    match arguments.command {
        None => list(arguments.list, node, format).await,
        Some(_) if list_options => Err(CommandError::usage(
            "--agent, --severity and --all are for the list of findings alone; leave them out",
        )),
        Some(FindingsCommand::Show { id }) => {
            let found = node.call_at::<GetFinding>(&id, &Nothing {}, &Nothing {}).await?;
            if format == Format::Json {
                return output::json(&found);
            }
            let mut page = Page::new(View::of_stdout());
            describe(&found, &mut page)?;
            page.print()
        }
        Some(FindingsCommand::Judge { id, verdict, reason }) => {
            let verdict = verdict.into();
            let body = shapes::JudgeFinding { verdict, reason };
            let found = node.call_at::<JudgeFinding>(&id, &Nothing {}, &body).await?;
            let sentence = format!(
                "{} of {} is {}",
                found.open.finding.kind,
                found.open.finding.subject,
                word(verdict)
            );
            output::result(format, &found, sentence)
        }
        Some(FindingsCommand::Drop { id }) => {
            let dropped = node.call_at::<DropFinding>(&id, &Nothing {}, &Nothing {}).await?;
            output::result(format, &dropped, format_args!("finding {id} is off the list"))
        }
    }
}

async fn list(arguments: ListArguments, node: &Node, format: Format) -> CommandResult {
    let query = FindingsQuery {
        agent: arguments.agent,
        severity: arguments.severity.map(Severity::from),
        all: arguments.all,
    };
    let found = node.call::<ListFindings>(&query, &Nothing {}).await?;
    if format == Format::Json {
        return output::json(&found);
    }
    if found.is_empty() {
        output::talk("nothing is wrong, as far as agents have looked");
    }
    let mut page = Page::new(View::of_stdout());
    page.table(&table(&found));
    page.print()
}

fn table(found: &[ReportedFinding]) -> Table {
    let mut table = Table::new([
        Column::whole("ID"),
        Column::whole("SEVERITY"),
        Column::whole("SINCE (UTC)").spare(2),
        Column::whole("AGENT").spare(1),
        Column::whole("TYPE").spare(3),
        Column::cut("WHAT"),
    ]);
    for ReportedFinding { open, watched } in found {
        let id = open.id.get(..DIGITS).unwrap_or(&open.id);
        let mut what = open.finding.message.clone();
        if let Some(judgement) = &open.judgement {
            what = format!("{}: {what}", word(judgement.verdict));
        }
        if !watched {
            what = format!("nobody looks any more: {what}");
        }
        table.row([
            id.into(),
            severity(open.finding.severity),
            time(open.since).into(),
            open.agent.as_str().into(),
            open.finding.kind.as_str().into(),
            what.as_str().into(),
        ]);
    }
    table
}

fn severity(severity: Severity) -> Cell {
    Cell::toned(&severity.to_string(), tone(severity))
}

const fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium => Tone::Warning,
        Severity::Low | Severity::Info => Tone::Plain,
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::FalsePositive => "a false positive",
        Verdict::Confirmed => "confirmed",
    }
}

fn describe(found: &ReportedFinding, page: &mut Page) -> CommandResult {
    let open = &found.open;
    page.field("finding", &open.id);
    page.toned_field("severity", &open.finding.severity.to_string(), tone(open.finding.severity));
    page.field("type", open.finding.kind.as_str());
    page.field("subject", &open.finding.subject);
    page.field("what", &open.finding.message);
    page.field("confidence", &format!("{:.2}", open.finding.confidence.get()));
    page.field("since", &format!("{} UTC", time(open.since)));
    page.field("last report", &format!("{} UTC, run {}", time(open.seen), open.run));
    page.field("agent", &format!("{}, module {}", open.agent, open.module));
    if !found.watched {
        page.toned_field("watched", "no: the agent is gone", Tone::Warning);
    }
    if let Some(judgement) = &open.judgement {
        let because =
            judgement.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let judged = format!(
            "{} since {} UTC, says {}{because}",
            word(judgement.verdict),
            time(judgement.time),
            judgement.by
        );
        page.field("judged", &judged);
    }
    page.field("fingerprint", &open.finding.fingerprint);
    if !open.finding.evidence.is_null() {
        page.gap();
        page.toned_line("Evidence", Tone::Strong);
        page.text(&serde_json::to_string_pretty(&open.finding.evidence)?);
    }
    Ok(())
}

impl From<Least> for Severity {
    fn from(least: Least) -> Self {
        match least {
            Least::Info => Self::Info,
            Least::Low => Self::Low,
            Least::Medium => Self::Medium,
            Least::High => Self::High,
            Least::Critical => Self::Critical,
        }
    }
}

impl From<Judged> for Verdict {
    fn from(judged: Judged) -> Self {
        match judged {
            Judged::FalsePositive => Self::FalsePositive,
            Judged::Confirmed => Self::Confirmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(judged: bool, watched: bool) -> ReportedFinding {
        let judgement = json!({
            "verdict": "false-positive", "by": "ann", "reason": "a drill", "time": "2026-11-22T11:00:00Z",
        });
        serde_json::from_value(json!({
            "id": "0f1e2d3c4b5a6978", "agent": "monitor", "module": "system-monitor",
            "finding": {
                "type": "disk.full", "severity": "high", "confidence": 0.9, "subject": "/var",
                "message": "/var is\n93 % full", "fingerprint": "disk.full:/var", "evidence": { "percent": 93 },
            },
            "since": "2026-11-22T10:00:00Z", "seen": "2026-11-22T10:30:00Z", "reports": 2,
            "run": "0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55", "watched": watched,
            "judgement": if judged { judgement } else { json!(null) },
        }))
        .unwrap()
    }

    #[test]
    fn lists_and_describes() {
        let mut page = Page::new(View::plain(None));
        page.table(&table(&[found(false, true), found(true, false)]));
        assert_eq!(
            page.lines(),
            [
                "ID        SEVERITY  SINCE (UTC)          AGENT    TYPE       WHAT",
                "0f1e2d3c  high      2026-11-22 10:00:00  monitor  disk.full  /var is\\u{a}93 % full",
                "0f1e2d3c  high      2026-11-22 10:00:00  monitor  disk.full  nobody looks any more: a false positive: /var is\\u{a}93 % full",
            ]
        );
        let mut page = Page::new(View::plain(None));
        describe(&found(true, false), &mut page).unwrap();
        assert_eq!(
            page.lines(),
            [
                "finding      0f1e2d3c4b5a6978",
                "severity     high",
                "type         disk.full",
                "subject      /var",
                "what         /var is\\u{a}93 % full",
                "confidence   0.90",
                "since        2026-11-22 10:00:00 UTC",
                "last report  2026-11-22 10:30:00 UTC, run 0192f3a1-5b7e-7c11-8d2a-0f6d7e1c9b55",
                "agent        monitor, module system-monitor",
                "watched      no: the agent is gone",
                "judged       a false positive since 2026-11-22 11:00:00 UTC, says ann: a drill",
                "fingerprint  disk.full:/var",
                "",
                "Evidence",
                "{",
                "  \"percent\": 93",
                "}",
            ]
        );
    }
}
