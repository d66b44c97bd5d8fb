use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;
use wachter_api::ReadLogs;
use wachter_api::shapes::{LogLine, LogsQuery};
use wachter_model::Level;

use super::events::the_node_ended;
use super::moment::Moment;
use super::node::{Node, next};
use super::words::time;
use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Cell, Column, Format, Page, Table, Tone, View, interrupted};

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    /// Only lines of this level or above
    #[arg(long, value_enum)]
    level: Option<LevelName>,
    /// Only lines since then: 1h, 2d, 2026-11-22 or a time
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// The last so many [default: 100]
    #[arg(long, short = 'n')]
    limit: Option<u32>,
    /// Go on with new lines as they come, until Ctrl-C
    #[arg(long, short)]
    pub(super) follow: bool,
}

/// The levels by their names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelName {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Trace => Self::Trace,
            LevelName::Debug => Self::Debug,
            LevelName::Info => Self::Info,
            LevelName::Warn => Self::Warn,
            LevelName::Error => Self::Error,
            LevelName::Critical => Self::Critical,
        }
    }
}

/// Prints line by line. JSON comes one line each: a log has no end to close a list with.
pub(super) async fn carry_out(
    arguments: LogsArguments,
    node: &Node,
    format: Format,
) -> CommandResult {
    let LogsArguments { level, since, limit, follow } = arguments;
    let ended = interrupted()?;
    let query = LogsQuery {
        since: since.map(|since| since.before(Timestamp::now())),
        level: level.map(Level::from),
        limit,
        follow,
    };
    let mut lines = node.stream::<ReadLogs>(&query).await?;
    let mut ended = std::pin::pin!(ended);
    loop {
        let line = tokio::select! {
            () = &mut ended => return Ok(()),
            line = next(&mut lines) => line?,
        };
        match line {
            Some(line) => {
                if print(&line, format)?.is_break() {
                    return Ok(());
                }
            }
            None if follow => return Err(the_node_ended()),
            None => return Ok(()),
        }
    }
}

fn print(line: &LogLine, format: Format) -> Result<ControlFlow<()>, CommandError> {
    if format == Format::Json {
        return output::json_line(line);
    }
    // A log is read to its end, so nothing of it is cut off.
    let mut page = Page::new(View { width: None, ..View::of_stdout() });
    page.rows(&row(line));
    page.print_while_read()
}

fn row(line: &LogLine) -> Table {
    let tone = match line.level {
        Level::Trace | Level::Debug => Tone::Quiet,
        Level::Info => Tone::Plain,
        Level::Warn => Tone::Warning,
        Level::Error | Level::Critical => Tone::Bad,
    };
    let mut table = Table::new([
        Column::whole("TIME (UTC)"),
        Column::whole("LEVEL").at_least(8),
        Column::whole("FROM").at_least(12),
        Column::whole("MESSAGE"),
    ]);
    let mut message = line.message.clone();
    if let Value::Object(fields) = &line.fields {
        for (name, value) in fields {
            match value {
                Value::String(text) => message.push_str(&format!("  {name}={text}")),
                other => message.push_str(&format!("  {name}={other}")),
            }
        }
    }
    table.row([
        time(line.time).into(),
        Cell::toned(&line.level.to_string(), tone),
        line.target.as_str().into(),
        message.into(),
    ]);
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_a_line_on_a_line() {
        let line = LogLine {
            time: "2026-11-22T10:00:00Z".parse().unwrap(),
            level: Level::Warn,
            target: "agents/disk".to_owned(),
            message: "no\nspace".to_owned(),
            fields: json!({ "free": 0, "path": "/srv" }),
        };
        let mut page = Page::new(View::plain(None));
        page.rows(&row(&line));
        assert_eq!(
            page.lines(),
            ["2026-11-22 10:00:00  warn      agents/disk   no\\u{a}space  free=0  path=/srv"]
        );
    }
}
