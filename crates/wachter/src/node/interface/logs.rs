use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use wachter_api::shapes::{LogLine, LogsQuery};
use wachter_api::{Call, Problem, ReadLogs, Server};
use wachter_log::{Line, Look, Reader};
use wachter_model::{Level, chain};

use super::with;
use crate::node::context::Node;
use crate::node::log;

/// How many lines are handed out where nobody says, and at most before those that are followed.
const FEW: u32 = 100;
const MOST: u32 = 100_000;

/// By how much a clock may have been set while the log was written.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

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
    let reading = blocking(move || Reading::open(&folder, &query)).await?;
    Ok(stream::try_unfold(reading, |mut reading| async {
        loop {
            if let Some(line) = reading.next() {
                return Ok(Some((shown(line), reading)));
            }
            match reading.then {
                Then::End => return Ok(None),
                Then::More => {}
                Then::Wait => tokio::time::sleep(PAUSE).await,
            }
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
    fn takes(self, line: &Line) -> bool {
        self.since.is_none_or(|since| line.time >= since)
            && self.level.is_none_or(|level| line.level >= level)
    }

    /// What to make of a line on the way back from the end.
    fn look(self, line: &Line) -> Look {
        // What is in no format of ours has no time of its own, and says nothing of what is before it.
        let timed = line.time != Timestamp::UNIX_EPOCH;
        let oldest = self.since.and_then(|since| since.checked_sub(SLACK).ok());
        match oldest {
            _ if self.takes(line) => Look::Wanted,
            Some(oldest) if timed && line.time < oldest => Look::TooOld,
            _ => Look::Other,
        }
    }
}

/// A log that is being handed out, page by page.
struct Reading {
    reader: Reader,
    wanted: Wanted,
    follow: bool,
    /// How many lines are still handed out; who follows is handed all that come.
    left: usize,
    lines: VecDeque<Line>,
    then: Then,
}

/// What is to be done when no line is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    End,
    More,
    Wait,
}

impl Reading {
    /// From the oldest of the last lines that are wanted. Waits for the disk.
    fn open(folder: &Path, query: &LogsQuery) -> Result<Self, Problem> {
        let wanted = Wanted { since: query.since, level: query.level };
        let limit = usize::try_from(query.limit.unwrap_or(FEW).min(MOST)).unwrap_or(usize::MAX);
        let reader = Reader::last(folder, limit, |line| wanted.look(line));
        let reader = reader.map_err(|error| Problem::internal(chain(&error)))?;
        let reading = Self {
            reader,
            wanted,
            follow: query.follow,
            left: limit,
            lines: VecDeque::new(),
            then: Then::More,
        };
        reading.read_on()
    }

    /// The next line of those that were read.
    fn next(&mut self) -> Option<Line> {
        if self.follow {
            return self.lines.pop_front();
        }
        let left = self.left.checked_sub(1)?;
        let line = self.lines.pop_front()?;
        self.left = left;
        Some(line)
    }

    /// Reads a page more. Waits for the disk.
    fn read_on(mut self) -> Result<Self, Problem> {
        let lines = self.reader.next_lines().map_err(|error| Problem::internal(chain(&error)))?;
        self.then = match (lines.is_empty(), self.follow) {
            (true, true) => Then::Wait,
            (true, false) => Then::End,
            // What came since the end was looked for is nobody's who does not follow.
            (false, false) if self.left == 0 => Then::End,
            (false, _) => Then::More,
        };
        self.lines.extend(lines.into_iter().filter(|line| self.wanted.takes(line)));
        Ok(self)
    }
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
