use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wachter_protocol::module::{MAX_LINE, Message, ModuleResult, Outcome};

/// The module's end of its stdout: whole lines, one result, nothing after it.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Sink>>);

struct Sink {
    writer: Box<dyn Write + Send>,
    ended: bool,
    /// The first message that could not be sent. The result must not claim success then: what the
    /// author meant to say is not with the node.
    unsent: Option<String>,
    /// Nobody reads any more.
    broken: bool,
    /// What the panic hook saw, with its place.
    panic: Option<String>,
}

impl Output {
    pub(crate) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Sink {
            writer,
            ended: false,
            unsent: None,
            broken: false,
            panic: None,
        })))
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        // A panic while writing leaves at worst half a line, and `broken` is not needed to see it:
        // the node refuses such a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the node has closed its end.
    pub(crate) fn broken(&self) -> bool {
        self.sink().broken
    }

    /// Sends a message that is not the result.
    pub(crate) fn say(&self, message: &Message) {
        let mut sink = self.sink();
        if sink.ended {
            return;
        }
        match line(message) {
            Ok(line) => sink.write(&line),
            Err(reason) => sink.fail(reason),
        }
    }

    /// Sends the result, once, and says how the run really ended; `None` where nobody was there to
    /// hear it.
    pub(crate) fn end(&self, mut result: ModuleResult) -> Option<Outcome> {
        let mut sink = self.sink();
        sink.end(&mut result)
    }

    /// Remembers a panic for the result; the first one counts.
    pub(crate) fn panicked(&self, description: String) {
        self.sink().panic.get_or_insert(description);
    }

    /// What [`Output::panicked`] was told.
    pub(crate) fn take_panic(&self) -> Option<String> {
        self.sink().panic.take()
    }

    /// Ends with a failure from inside a panic hook, where this very thread may be writing.
    pub(crate) fn end_now(&self, message: String) {
        let mut sink = match self.0.try_lock() {
            Ok(sink) => sink,
            Err(std::sync::TryLockError::Poisoned(sink)) => sink.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return,
        };
        sink.end(&mut failed(message));
    }
}

impl Sink {
    fn end(&mut self, result: &mut ModuleResult) -> Option<Outcome> {
        if self.ended {
            return None;
        }
        if let Some(reason) = self.unsent.take()
            && result.outcome == Outcome::Succeeded
        {
            *result = failed(reason);
        }
        let mut text = line(&Message::Result(result.clone()));
        if let Err(reason) = text {
            *result = failed(reason);
            text = line(&Message::Result(result.clone()));
        }
        self.ended = true;
        if let Ok(text) = text {
            self.write(&text);
        }
        (!self.broken).then_some(result.outcome)
    }

    fn write(&mut self, line: &str) {
        if self.broken {
            return;
        }
        // One call a line: what the node reads while the module dies is whole lines.
        let sent = self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.flush());
        if let Err(error) = sent {
            self.broken = true;
            self.fail(format!("the node does not read any more: {error}"));
        }
    }

    fn fail(&mut self, reason: String) {
        self.unsent.get_or_insert(reason);
    }
}

/// A failed result that says why, in less than a line.
pub(crate) fn failed(message: String) -> ModuleResult {
    ModuleResult {
        outcome: Outcome::Failed,
        message: Some(shortened(message, 4 << 10)),
        ..ModuleResult::default()
    }
}

/// At most `most` bytes of a text, and a mark where something is left out.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

/// The message as one line, with its line feed.
fn line(message: &Message) -> Result<String, String> {
    let name = match message {
        Message::Log(_) => "a log line",
        Message::Progress(_) => "a progress message",
        Message::Event(_) => "an event",
        Message::Finding(_) => "a finding",
        Message::Metric(_) => "a metric",
        Message::Result(_) => "the result",
    };
    let mut line = serde_json::to_string(message).map_err(|error: serde_json::Error| {
        format!("{name} is not JSON: {}", io::Error::from(error))
    })?;
    if line.len() > MAX_LINE {
        let most = format!("{MAX_LINE} is the most: name a file, or say less");
        return Err(format!("{name} has {} bytes; {most}", line.len()));
    }
    line.push('\n');
    Ok(line)
}
