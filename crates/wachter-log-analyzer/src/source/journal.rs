use std::io::{BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::export::{ExportEntry, ExportError, ExportLimits};
use super::follow::Loss;
use crate::record::{Entry, Record};

/// Reads the journal of systemd through `journalctl`.
pub(crate) struct Journal<'a> {
    /// The program.
    pub(crate) program: &'a str,
    /// Bytes of a message.
    pub(crate) message: usize,
    /// Whether there is no time left.
    pub(crate) stop: &'a dyn Fn() -> bool,
}

/// Up to where the journal was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct JournalCursor(String);

/// Why the journal was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("`{program}` cannot be started; grant it under `exec`")]
    Start { program: String, source: std::io::Error },
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("`journalctl` failed: {0}; grant the group `systemd-journal`")]
    Failed(String),
}

/// How far one run came.
#[derive(Debug, Default)]
pub(crate) struct JournalTurn {
    pub(crate) cursor: Option<JournalCursor>,
    pub(crate) entries: u64,
    pub(crate) read: u64,
    pub(crate) cut: u64,
    /// There is nothing more for now.
    pub(crate) finished: bool,
    pub(crate) losses: Vec<Loss>,
    /// When the last entry was written.
    pub(crate) last: Option<Timestamp>,
    /// What `journalctl` says besides.
    pub(crate) said: String,
}

const FIELDS: [&str; 10] = [
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "MESSAGE",
    "_HOSTNAME",
    "SYSLOG_IDENTIFIER",
    "_COMM",
    "_PID",
    "SYSLOG_PID",
    "_TRANSPORT",
    "_SYSTEMD_UNIT",
];
/// Bytes of what `journalctl` says on its stderr that are kept.
const MAX_SAID: u64 = 2 << 10;

impl Journal<'_> {
    /// Reads up to `most` bytes of entries after `cursor`; without one, from the beginning or none
    /// but the last.
    ///
    /// # Errors
    /// `journalctl` cannot be started, fails, or writes something else, before anything was visited.
    pub(crate) fn turn(
        &self,
        cursor: Option<&JournalCursor>,
        from_the_beginning: bool,
        most: u64,
        visit: &mut dyn FnMut(&Entry<'_>),
    ) -> Result<JournalTurn, JournalError> {
        let mut child = Running(self.start(cursor, from_the_beginning)?);
        let stdout = child.0.stdout.take();
        let mut source = BufReader::with_capacity(64 << 10, stdout.expect("stdout is piped"));
        let limits = ExportLimits { value: self.message, fields: FIELDS.len() };
        let only_the_place = cursor.is_none() && !from_the_beginning;
        let mut turn = JournalTurn { cursor: cursor.cloned(), ..JournalTurn::default() };
        let mut first = true;
        loop {
            if turn.read >= most || (self.stop)() {
                return Ok(turn);
            }
            let entry = match ExportEntry::read(&mut source, limits, &FIELDS) {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // What was read counts; the next run begins with the error.
                Err(error) if turn.entries > 0 => {
                    turn.said = error.to_string();
                    return Ok(turn);
                }
                Err(error) => return Err(error.into()),
            };
            let place = entry.get("__CURSOR").and_then(|place| std::str::from_utf8(place).ok());
            let place = place.map(|place| JournalCursor(place.to_owned()));
            // The entry that the cursor is about comes first, if the journal has it still.
            let known = std::mem::replace(&mut first, false) && cursor.is_some();
            if known && place.as_ref() != cursor {
                let why = "the journal was shortened beyond what had been read".to_owned();
                turn.losses.push(Loss { bytes: None, why });
            }
            if known && place.as_ref() == cursor {
                continue;
            }
            turn.read += entry.size;
            turn.cursor = place.or(turn.cursor);
            turn.last = time(&entry).or(turn.last);
            if !only_the_place {
                turn.cut += entry.cut;
                turn.entries += 1;
                visit(&record(&entry));
            }
        }
        turn.finished = true;
        let (ended, said) = child.end();
        if !ended && turn.entries == 0 {
            return Err(JournalError::Failed(said));
        }
        turn.said = said;
        Ok(turn)
    }

    fn start(&self, cursor: Option<&JournalCursor>, all: bool) -> Result<Child, JournalError> {
        let mut command = Command::new(self.program);
        // Without `merge` it looks for the machine's identity, which a jail does not show.
        command.args(["--output=export", "--no-pager", "--merge", "--quiet"]);
        match cursor {
            Some(JournalCursor(place)) => {
                command.arg(format!("--cursor={place}"));
            }
            None if all => {}
            None => {
                command.arg("--lines=1");
            }
        }
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        piped
            .spawn()
            .map_err(|source| JournalError::Start { program: self.program.to_owned(), source })
    }
}

/// A program that ends when nobody reads it any more.
struct Running(Child);

impl Running {
    /// Waits for its end: whether it went well, and what it said.
    fn end(&mut self) -> (bool, String) {
        let mut said = Vec::new();
        if let Some(stderr) = self.0.stderr.take() {
            // What cannot be read was not said.
            let _ = stderr.take(MAX_SAID).read_to_end(&mut said);
        }
        let well = self.0.wait().is_ok_and(|status| status.success());
        (well, String::from_utf8_lossy(&said).trim().to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn time(entry: &ExportEntry) -> Option<Timestamp> {
    let text = std::str::from_utf8(entry.get("__REALTIME_TIMESTAMP")?).ok()?;
    Timestamp::from_microsecond(text.parse().ok()?).ok()
}

fn record(entry: &ExportEntry) -> Entry<'_> {
    let text = |name| entry.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let kernel = text("_TRANSPORT") == Some("kernel");
    let program = text("SYSLOG_IDENTIFIER").or_else(|| text("_COMM"));
    let message = entry.get("MESSAGE").unwrap_or_default();
    let record = Record {
        source: "journal",
        offset: 0,
        time: time(entry),
        host: text("_HOSTNAME"),
        program: if kernel { Some("kernel") } else { program },
        process: text("_PID").or_else(|| text("SYSLOG_PID")).and_then(|pid| pid.parse().ok()),
        message,
    };
    Entry { record, text: message, request: None }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A program in the place of `journalctl` that knows three entries, the cursors `a` to `c`.
    fn program(folder: &std::path::Path, after: &str) -> String {
        let path = folder.join("journalctl");
        let entry = |cursor: &str, message: &str| {
            format!(
                "__CURSOR={cursor}\\n__REALTIME_TIMESTAMP=1700000000000000\\nSYSLOG_IDENTIFIER=sshd\\n_PID=7\\n_HOSTNAME=h\\nMESSAGE={message}\\n\\n"
            )
        };
        let (a, b, c) = (entry("a", "one"), entry("b", "two"), entry("c", "three"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*--cursor=a) printf '{a}{b}{c}' ;;\n*--cursor=c) printf '{c}' ;;\n\
             *--cursor=gone) printf '{b}{c}' ;;\n*--lines=1) printf '{c}' ;;\n*) printf '{a}{b}{c}' ;;\nesac\n{after}\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What was read, where it goes on, and how much is known to be lost.
    fn read(cursor: Option<&str>, all: bool, most: u64, after: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path(), after);
        let journal = Journal { program: &program, message: 100, stop: &|| false };
        let cursor = cursor.map(|cursor| JournalCursor(cursor.to_owned()));
        let mut seen = Vec::new();
        let turn = journal.turn(cursor.as_ref(), all, most, &mut |entry| {
            let Record { program, process, host, .. } = entry.record;
            assert_eq!((program, process, host), (Some("sshd"), Some(7), Some("h")));
            seen.push(String::from_utf8_lossy(entry.record.message).into_owned());
        });
        match turn {
            Ok(turn) => {
                let place = turn.cursor.map_or(String::new(), |cursor| cursor.0);
                let end = if turn.finished { "" } else { " …" };
                format!("{} > {place}{end} {}", seen.join(" "), turn.losses.len())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn entries_after_the_cursor() {
        const ALL: u64 = 1 << 20;
        for (cursor, all, most, after, expected) in [
            (None, true, ALL, "", "one two three > c 0"),
            (None, false, ALL, "", " > c 0"),
            (Some("a"), false, ALL, "", "two three > c 0"),
            (Some("c"), false, ALL, "", " > c 0"),
            (Some("gone"), false, ALL, "", "two three > c 1"),
            (Some("a"), false, 1, "", "two > b … 0"),
            (Some("a"), false, 1, "exec sleep 60", "two > b … 0"),
            (None, true, ALL, "printf 'MESSAGE=cut'", "one two three > c … 0"),
            (
                Some("c"),
                true,
                ALL,
                "printf 'MESSAGE=cut'",
                "the journal's export ends within an entry",
            ),
            (
                Some("c"),
                true,
                ALL,
                "echo no permission >&2; exit 1",
                "`journalctl` failed: no permission; grant the group `systemd-journal`",
            ),
        ] {
            assert_eq!(read(cursor, all, most, after), expected, "{cursor:?} {after}");
        }
        let journal = Journal { program: "/none", message: 100, stop: &|| false };
        let error = journal.turn(None, true, 1, &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "`/none` cannot be started; grant it under `exec`");
    }
}
