use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use serde_json::Map;
use tracing_subscriber::layer::SubscriberExt as _;
use wachter_model::Level;

use crate::files::Files;
use crate::layer::{LineLayer, Shared};
use crate::{FileLimits, Format, Line};

/// Lines that may wait to be written.
const QUEUE: usize = 8_192;

/// What is logged, how and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The least level that is taken.
    pub level: Level,
    /// How lines are written, everywhere.
    pub format: Format,
    /// Where the files go; none writes none.
    pub folder: Option<PathBuf>,
    /// The limits of the files.
    pub files: FileLimits,
    /// Writes to standard error too.
    pub standard_error: bool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be written.
    #[error("cannot write logs to {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start the thread that writes logs")]
    Thread(#[source] io::Error),
    /// This process logs already.
    #[error("this process has a log already")]
    Twice,
}

pub(crate) enum Message {
    Line(Line),
    Configure(Format, FileLimits),
    End,
}

/// Changes the log while it goes on. When it is dropped, what waits is written and the log ends.
#[derive(Debug)]
pub struct Control {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Takes lines of this level and above from now on.
    pub fn level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// Writes what comes from now on this way.
    pub fn configure(&self, format: Format, files: FileLimits) {
        // The thread ends after this does.
        let _ = self.queue.send(Message::Configure(format, files));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.queue.send(Message::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the log of this process, for all its threads.
///
/// # Errors
/// See [`StartError`]. Nothing is logged then.
pub fn start(options: Options) -> Result<Control, StartError> {
    let (subscriber, control) = prepare(options)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Twice)?;
    Ok(control)
}

fn prepare(
    options: Options,
) -> Result<(impl tracing::Subscriber + Send + Sync, Control), StartError> {
    let files = options.folder.map(|folder| {
        Files::open(&folder, options.files).map_err(|source| StartError::Folder { folder, source })
    });
    let files = files.transpose()?;
    let (queue, messages) = sync_channel(QUEUE);
    let level = AtomicU8::new(options.level as u8);
    let shared = Arc::new(Shared { level, dropped: AtomicU64::new(0) });
    let writer = Writer {
        files,
        format: options.format,
        standard_error: options.standard_error,
        shared: Arc::clone(&shared),
        unwritten: 0,
    };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.work(&messages))
        .map_err(StartError::Thread)?;
    let layer = LineLayer { shared: Arc::clone(&shared), queue: queue.clone() };
    let subscriber = tracing_subscriber::registry().with(layer);
    Ok((subscriber, Control { shared, queue, thread: Some(thread) }))
}

struct Writer {
    files: Option<Files>,
    format: Format,
    standard_error: bool,
    shared: Arc<Shared>,
    /// Lines that the disk did not take.
    unwritten: u64,
}

impl Writer {
    fn work(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Line(line) => {
                    let lost = self.shared.dropped.swap(0, Ordering::Relaxed) + self.unwritten;
                    if lost > 0 {
                        self.unwritten = 0;
                        self.write(&lost_line(lost));
                        // That the loss could not be told is no loss more.
                        self.unwritten = if self.unwritten > 0 { lost } else { 0 };
                    }
                    self.write(&line);
                }
                Message::Configure(format, limits) => {
                    self.format = format;
                    if let Some(files) = &mut self.files {
                        files.limit(limits);
                    }
                }
                Message::End => return,
            }
        }
    }

    fn write(&mut self, line: &Line) {
        let text = self.format.write(line);
        if self.standard_error {
            // There is nowhere to say that this cannot be said.
            let _ = io::stderr().write_all(text.as_bytes());
        }
        if let Some(files) = &mut self.files
            && files.write(&text, line.time).is_err()
        {
            self.unwritten += 1;
        }
    }
}

fn lost_line(lost: u64) -> Line {
    let mut fields = Map::new();
    fields.insert("lines".to_owned(), lost.into());
    Line {
        time: Timestamp::now(),
        level: Level::Warn,
        target: "wachter_log".to_owned(),
        message: "lines of the log were lost: too many came at once, or the disk did not take them"
            .to_owned(),
        fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    #[test]
    fn what_is_said_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            level: Level::Info,
            format: Format::Human,
            folder: Some(folder.path().to_owned()),
            files: FileLimits::default(),
            standard_error: false,
        };
        let (subscriber, control) = prepare(options).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("not taken");
            tracing::info!(count = 3, path = "/a b", "first");
            control.configure(Format::Json, FileLimits::default());
            control.level(Level::Debug);
            tracing::debug!(target: "part", well = true, "second\nline");
            control.configure(Format::Logfmt, FileLimits::default());
            crate::critical!("third {}", 3);
        });
        drop(control);
        let lines = Reader::open(folder.path()).unwrap().collect_new().unwrap();
        let seen: Vec<(Level, &str, String)> = lines
            .iter()
            .map(|line| {
                let fields = serde_json::to_string(&line.fields).unwrap();
                (line.level, line.message.as_str(), fields)
            })
            .collect();
        let expected = [
            (Level::Info, "first", r#"{"count":3,"path":"/a b"}"#.to_owned()),
            (Level::Debug, "second\nline", r#"{"well":true}"#.to_owned()),
            (Level::Critical, "third 3", "{}".to_owned()),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_of_when_it_does_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), FileLimits::default()).unwrap();
        files.write("x\n", Timestamp::now()).unwrap();
        let shared = Arc::new(Shared { level: AtomicU8::new(0), dropped: AtomicU64::new(2) });
        let (queue, messages) = sync_channel(4);
        for _ in 0..2 {
            queue.send(Message::Line(lost_line(0))).unwrap();
        }
        queue.send(Message::End).unwrap();
        let format = Format::Json;
        Writer { files: Some(files), format, standard_error: false, shared, unwritten: 5 }
            .work(&messages);
        let lines = Reader::open(folder.path()).unwrap().collect_new().unwrap();
        let counts: Vec<_> = lines.iter().map(|line| line.fields.get("lines").cloned()).collect();
        // The first line is in no format of ours and is handed on as it is.
        assert_eq!(counts, [None, Some(7.into()), Some(0.into()), Some(0.into())]);
    }
}
