use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use serde_json::Value;
use wachter_api::shapes::{LogLine, LogsQuery};
use wachter_api::{Call, Problem, ReadLogs, Server};
use wachter_log::{Line, Reader};
use wachter_model::{Level, chain};

use super::with;
use crate::node::context::Node;
use crate::node::log;

/// How many lines are handed out where nobody says, and at most before those that are followed.
const FEW: u32 = 100;
const MOST: u32 = 100_000;

/// How often who follows looks for what is new.
const PAUSE: Duration = Duration::from_millis(250);

pub(super) fn handlers(server: Server, node: &Arc<Node>) -> Server {
    server.stream::<ReadLogs, _, _, _>(with(node, read))
}

async fn read(
    node: Arc<Node>,
    call: Call<ReadLogs>,
) -> Result<impl Stream<Item = Result<LogLine, Problem>> + use<>, Problem> {
    let folder = node.data.join(log::FOLDER);
    let query = call.query;
    let reading = Reading::open(folder, Wanted::of(&query), query.limit, query.follow);
    let reading = blocking(reading).await?;
    Ok(stream::try_unfold(reading, |mut reading| async {
        loop {
            if let Some(line) = reading.lines.pop_front() {
                return Ok(Some((shown(line), reading)));
            }
            if !reading.follow {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
            reading = blocking(move || reading.read_on()).await?;
        }
    }))
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    since: Option<Timestamp>,
    level: Option<Level>,
}

impl Wanted {
    fn of(query: &LogsQuery) -> Self {
        Self { since: query.since, level: query.level }
    }

    fn takes(self, line: &Line) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.level.is_none_or(|level| line.level >= level)
    }
}

/// A log that is being handed out.
struct Reading {
    folder: PathBuf,
    /// None while there is no log.
    reader: Option<Reader>,
    wanted: Wanted,
    follow: bool,
    lines: VecDeque<Line>,
}

impl Reading {
    /// Reads what is there, of which the last lines are kept. Waits for the disk.
    fn open(
        folder: PathBuf,
        wanted: Wanted,
        limit: Option<u32>,
        follow: bool,
    ) -> impl FnOnce() -> Result<Self, Problem> + Send + 'static {
        let limit = usize::try_from(limit.unwrap_or(FEW).min(MOST)).unwrap_or(usize::MAX);
        move || {
            let mut reading =
                Self { reader: reader(&folder)?, folder, wanted, follow, lines: VecDeque::new() };
            loop {
                let read = reading.take()?;
                let excess = reading.lines.len().saturating_sub(limit);
                reading.lines.drain(..excess);
                if read == 0 {
                    return Ok(reading);
                }
            }
        }
    }

    /// Reads what came since. Waits for the disk.
    fn read_on(mut self) -> Result<Self, Problem> {
        if self.reader.is_none() {
            self.reader = reader(&self.folder)?;
        }
        self.take()?;
        Ok(self)
    }

    /// Takes some lines in; says how many there were.
    fn take(&mut self) -> Result<usize, Problem> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let lines = reader.next_lines().map_err(|error| Problem::internal(chain(&error)))?;
        let read = lines.len();
        self.lines.extend(lines.into_iter().filter(|line| self.wanted.takes(line)));
        Ok(read)
    }
}

/// None where there is no log yet.
fn reader(folder: &Path) -> Result<Option<Reader>, Problem> {
    if !folder.exists() {
        return Ok(None);
    }
    Reader::open(folder).map(Some).map_err(|error| Problem::internal(chain(&error)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::internal(error.to_string()))?
}

fn shown(line: Line) -> LogLine {
    let fields = if line.fields.is_empty() { Value::Null } else { Value::Object(line.fields) };
    let Line { time, level, target, message, .. } = line;
    LogLine { time, level, target, message, fields }
}
