use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use wachter_model::{ByteSize, Finding, chain};

use super::input::{Input, Source, Start};
use super::problems::Kind;
use super::state::{State, Totals};
use crate::record::{Calendar, Cut, Entry, Raw};
use crate::source::{Begin, Expanded, FollowError, Follower, Journal, Loss, OpenError, expand};

/// One run's reading of every source, each in turns, so that a log that grows fast does not keep the
/// others waiting.
pub(super) struct Reading<'a> {
    input: &'a Input,
    folders: &'a [PathBuf],
    state: &'a mut State,
    now: Timestamp,
    stop: &'a dyn Fn() -> bool,
    calendar: Calendar,
    told: Told,
    left: u64,
}

/// What one run's reading came to.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) findings: Vec<Finding>,
    pub(super) warnings: Vec<String>,
    /// Why which source was not read: a sentence each.
    pub(super) missing: Vec<String>,
    pub(super) totals: Totals,
    /// Bytes that are known to be there and were not read.
    pub(super) behind: u64,
    /// Logs of which nothing is known, since there was no time to look or they were being moved.
    pub(super) unseen: usize,
    /// The files that were asked for.
    pub(super) paths: BTreeSet<PathBuf>,
    pub(super) logs: usize,
}

/// A log in the queue.
struct Log<'s> {
    path: PathBuf,
    program: Option<&'s str>,
    begin: Begin,
    /// It was named as it is, and not by `*`.
    named: bool,
}

/// Bytes of one turn.
const TURN: u64 = 4 << 20;
/// Bytes of a record.
const MAX_RECORD: usize = 256 << 10;
/// For how many runs' worth of time a file that is gone is looked for: a week.
const REMEMBERED: i64 = 7 * 24 * 3_600 * 1_000;
/// Sentences of one kind that are told.
const MAX_TOLD: usize = 50;

impl<'a> Reading<'a> {
    pub(super) fn new(
        input: &'a Input,
        folders: &'a [PathBuf],
        state: &'a mut State,
        now: Timestamp,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let calendar = Calendar::new(Calendar::host_zone(), now);
        let left = input.limits.read.as_bytes();
        Self { input, folders, state, now, stop, calendar, told: Told::default(), left }
    }

    /// Reads what is new in all of them.
    pub(super) fn read(
        &mut self,
        sources: &[Source],
        journalctl: &str,
        records: &mut dyn FnMut(&Entry<'_>),
    ) {
        let mut queue = self.logs(sources);
        self.told.logs = queue.len();
        let paths: BTreeSet<PathBuf> = queue.iter().map(|log| log.path.clone()).collect();
        let journal = sources.iter().any(|source| source.journal);
        let over = self
            .state
            .problems
            .only(|subject| paths.contains(Path::new(subject)) || (journal && subject == JOURNAL));
        self.told.findings.extend(over);
        if journal {
            self.told.logs += 1;
            self.journal(journalctl, records);
        }
        while !(self.stop)()
            && let Some(log) = queue.pop_front()
        {
            let again = self.turn(&log, records);
            if again {
                queue.push_back(log);
            }
        }
        if !queue.is_empty() {
            self.told.unseen += queue.len();
            let logs =
                if queue.len() == 1 { "1 log was" } else { &format!("{} logs were", queue.len()) };
            self.told.missing.push(format!(
                "{logs} not looked at, there was no time left: the next run looks again"
            ));
        }
        let now = self.now.as_millisecond();
        self.state.files.retain(|path, cursor| {
            paths.contains(path) || now.saturating_sub(cursor.modified) < REMEMBERED
        });
        self.told.paths = paths;
    }

    pub(super) fn conclude(self) -> Told {
        let Self { state, mut told, .. } = self;
        for (sum, new) in [
            (&mut state.totals.records, told.totals.records),
            (&mut state.totals.lines, told.totals.lines),
            (&mut state.totals.bytes, told.totals.bytes),
            (&mut state.totals.cut, told.totals.cut),
            (&mut state.totals.lost, told.totals.lost),
        ] {
            *sum = sum.saturating_add(new);
        }
        for list in [&mut told.warnings, &mut told.missing] {
            if list.len() > MAX_TOLD {
                let more = list.len() - MAX_TOLD;
                list.truncate(MAX_TOLD);
                list.push(format!("and {more} more"));
            }
        }
        told
    }

    /// The files of all sources, each once.
    fn logs<'s>(&mut self, sources: &'s [Source]) -> VecDeque<Log<'s>> {
        let mut logs: VecDeque<Log<'s>> = VecDeque::new();
        let most = usize::try_from(self.input.limits.files).unwrap_or(usize::MAX);
        let mut beyond = 0;
        let mut asked = BTreeSet::new();
        for source in sources {
            let Some(pattern) = &source.path else { continue };
            let known = self.state.sources.contains(pattern);
            asked.insert(pattern.clone());
            let Expanded { paths, beyond: left, unnamed } = expand(pattern, most);
            beyond += left;
            self.told.missing.extend(unnamed.iter().map(|path| {
                format!("{path:?}: its name is no text in UTF-8, and is not followed; rename it")
            }));
            for path in paths {
                if logs.iter().any(|log| log.path == path) {
                    continue;
                }
                if logs.len() == most {
                    beyond += 1;
                    continue;
                }
                let begin = match (known, self.input.start) {
                    (true, _) => Begin::Since(self.state.ran),
                    (false, Start::Beginning) => Begin::File,
                    (false, Start::End) => Begin::End,
                };
                let named = path == *pattern;
                logs.push_back(Log { path, program: source.program.as_deref(), begin, named });
            }
        }
        if beyond > 0 {
            let told =
                format!("{beyond} files are beyond the limit of {most}: raise `limits.files`");
            self.told.warnings.push(told.clone());
            self.told.missing.push(told);
        }
        self.state.sources = asked;
        logs
    }

    /// One turn of one log; whether there is to be another.
    fn turn(&mut self, log: &Log<'_>, records: &mut dyn FnMut(&Entry<'_>)) -> bool {
        let Log { path, program, begin, named } = log;
        let subject = path.to_string_lossy().into_owned();
        let line = usize::try_from(self.input.limits.line.as_bytes()).unwrap_or(usize::MAX);
        let lines = usize::try_from(self.input.limits.lines).unwrap_or(usize::MAX);
        let follower = Follower {
            folders: self.folders,
            cut: Cut { line, lines, record: MAX_RECORD.max(line) },
            now: self.now.as_millisecond(),
            hold: i64::try_from(self.input.hold.as_millis()).unwrap_or(i64::MAX),
            decompressed: self.input.limits.decompressed.as_bytes(),
            stop: self.stop,
        };
        let mut counted = Totals::default();
        let mut year: Option<(i64, Calendar)> = None;
        let calendar = &self.calendar;
        let now = self.now;
        let mut visit = |raw: &Raw<'_>, modified: i64| {
            counted.records += 1;
            counted.lines += raw.lines as u64;
            if year.as_ref().is_none_or(|(known, _)| *known != modified) {
                let latest = Timestamp::from_millisecond(modified).unwrap_or(now);
                year = Some((modified, calendar.until(latest)));
            }
            if let Some((_, calendar)) = &year {
                records(&Entry::read(&subject, raw.offset, raw.text, *program, calendar));
            }
        };
        let cursor = self.state.files.get(path).cloned();
        let turn = follower.turn(path, cursor, *begin, TURN.min(self.left), &mut visit);
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => {
                self.unread(path, &subject, *named, &error);
                return false;
            }
        };
        self.left = self.left.saturating_sub(turn.read.max(1));
        counted.bytes = turn.read;
        counted.cut = turn.cut;
        self.losses(&subject, &turn.losses, &mut counted);
        self.told.totals.add(&counted);
        match turn.cursor {
            Some(cursor) => self.state.files.insert(path.clone(), cursor),
            None => self.state.files.remove(path),
        };
        let seconds = self.now.as_second();
        let readable = self.state.problems.is_not(Kind::Unreadable, &subject, seconds);
        self.told.findings.extend(readable);
        if !turn.finished && self.left > 0 && turn.read > 0 && !(self.stop)() {
            return true;
        }
        let behind = if turn.finished { 0 } else { turn.behind };
        self.behind(&subject, behind);
        false
    }

    /// Says that a log is behind, or no longer.
    fn behind(&mut self, subject: &str, behind: u64) {
        self.told.behind += behind;
        let now = self.now.as_second();
        let bounds = self.input.behind;
        let finding = if behind >= bounds.raise.as_bytes() {
            let size = whole(behind);
            let message =
                format!("{subject}: {size} were not read yet; it grows faster than it is read");
            let evidence = json!({ "bytes": behind, "read_per_run": self.input.limits.read });
            self.state.problems.is(Kind::Behind, subject, now, message, evidence)
        } else if behind < bounds.resolve.as_bytes() {
            self.state.problems.is_not(Kind::Behind, subject, now)
        } else {
            None
        };
        self.told.findings.extend(finding);
    }

    fn losses(&mut self, subject: &str, losses: &[Loss], counted: &mut Totals) {
        let now = self.now.as_second();
        for Loss { bytes, why } in losses {
            counted.lost = counted.lost.saturating_add(bytes.unwrap_or(0));
            let size = bytes
                .map_or("an unknown part".to_owned(), |bytes| format!("at least {}", whole(bytes)));
            let message = format!("{subject}: {size} was not read and is lost: {why}");
            self.told.warnings.push(message.clone());
            let evidence = json!({ "bytes": bytes, "why": why });
            let finding = self.state.problems.is(Kind::Lost, subject, now, message, evidence);
            self.told.findings.extend(finding);
        }
        if losses.is_empty() {
            let over = self.state.problems.is_not(Kind::Lost, subject, now);
            self.told.findings.extend(over);
        }
    }

    fn unread(&mut self, path: &Path, subject: &str, named: bool, error: &FollowError) {
        let absent = matches!(error, FollowError::Open(OpenError::Absent));
        // Of the usual logs, no host has all.
        if absent && (!named || self.input.sources.is_none()) {
            return;
        }
        let sentence = format!("{}: {}", path.display(), chain(error));
        self.told.missing.push(sentence.clone());
        if matches!(error, FollowError::Moving | FollowError::Late) {
            self.told.unseen += 1;
        } else if !absent {
            self.unreadable(subject, sentence);
        }
    }

    fn unreadable(&mut self, subject: &str, sentence: String) {
        if !self.state.problems.has(Kind::Unreadable, subject) {
            self.told.warnings.push(sentence.clone());
        }
        let now = self.now.as_second();
        let finding = self.state.problems.is(Kind::Unreadable, subject, now, sentence, json!(null));
        self.told.findings.extend(finding);
    }

    fn journal(&mut self, journalctl: &str, records: &mut dyn FnMut(&Entry<'_>)) {
        let message = usize::try_from(self.input.limits.line.as_bytes()).unwrap_or(usize::MAX);
        let journal = Journal { program: journalctl, message, stop: self.stop };
        let cursor = self.state.journal.clone();
        let all = self.input.start == Start::Beginning;
        // Half of what a run may read, so that files get their turn.
        let most = (self.left / 2).max(1);
        let mut counted = Totals::default();
        let turn = journal.turn(cursor.as_ref(), all, most, &mut |entry| {
            counted.records += 1;
            counted.lines += entry.text.split(|byte| *byte == b'\n').count() as u64;
            records(entry);
        });
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => {
                let sentence = format!("{JOURNAL}: {}", chain(&error));
                self.told.missing.push(sentence.clone());
                self.unreadable(JOURNAL, sentence);
                return;
            }
        };
        let seconds = self.now.as_second();
        let readable = self.state.problems.is_not(Kind::Unreadable, JOURNAL, seconds);
        self.told.findings.extend(readable);
        if !turn.said.is_empty() {
            let said = crate::pattern::shown(turn.said.as_bytes(), 300);
            self.told.warnings.push(format!("{JOURNAL}: {said}"));
        }
        self.left = self.left.saturating_sub(turn.read);
        counted.bytes = turn.read;
        counted.cut = turn.cut;
        self.losses(JOURNAL, &turn.losses, &mut counted);
        self.told.totals.add(&counted);
        self.state.journal = turn.cursor;
        // The journal does not tell its size: it is behind by time.
        let late = turn.last.map_or(0, |last| seconds.saturating_sub(last.as_second()));
        let finding = if !turn.finished && late >= MAX_LATE {
            let message =
                format!("{JOURNAL}: is read {late} seconds late; it grows faster than it is read");
            let evidence = json!({ "seconds": late });
            self.state.problems.is(Kind::Behind, JOURNAL, seconds, message, evidence)
        } else if turn.finished {
            self.state.problems.is_not(Kind::Behind, JOURNAL, seconds)
        } else {
            None
        };
        self.told.findings.extend(finding);
    }
}

/// What the journal is called as a subject.
const JOURNAL: &str = "journal";
/// How many seconds behind the journal is a problem.
const MAX_LATE: i64 = 600;

impl Totals {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.cut += other.cut;
        self.lost += other.lost;
    }
}

/// A size in whole mebibytes or kibibytes where it has any.
fn whole(bytes: u64) -> ByteSize {
    let unit = [1 << 20, 1 << 10].into_iter().find(|unit| bytes >= *unit).unwrap_or(1);
    ByteSize::from_bytes(bytes / unit * unit)
}
