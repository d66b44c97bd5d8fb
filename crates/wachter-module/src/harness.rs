use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use wachter_model::{EmittedEvent, Finding, RunId};
use wachter_protocol::MODULE_PROTOCOL;
use wachter_protocol::module::host::View;
use wachter_protocol::module::{
    HostViews, IdempotencyKey, Message, Metric, ModuleIdentity, ModuleResult, Request, parse_line,
};

use crate::Module;
use crate::output::Output;
use crate::run::serve;

/// Runs a module inside a test, by the same code as [`run`](crate::run): the request goes through
/// JSON, and every line is read back as a node reads it.
#[derive(Clone, Debug)]
pub struct Harness {
    request: Request,
}

/// A run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// What the module said, the result left out.
    pub messages: Vec<Message>,
    /// How it ended.
    pub result: ModuleResult,
    state: Value,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// A first run: no input, no state, no host views, and a deadline that does not matter.
    #[must_use]
    pub fn new() -> Self {
        let name = "under-test".parse().expect("lower-case letters and a hyphen are a name");
        let run = RunId::new();
        Self {
            request: Request {
                protocol: MODULE_PROTOCOL,
                run,
                idempotency_key: Some(IdempotencyKey::of_run(run)),
                module: ModuleIdentity { name, version: "0.0.0".to_owned() },
                input: Value::Null,
                event: None,
                host: HostViews::default(),
                state: Value::Null,
                dry_run: false,
                deadline: "9999-01-01T00:00:00Z".to_owned(),
            },
        }
    }

    /// Hands in an input.
    #[must_use]
    pub fn input(mut self, input: Value) -> Self {
        self.request.input = input;
        self
    }

    /// Hands in the event that caused the run.
    #[must_use]
    pub fn event(mut self, event: Value) -> Self {
        self.request.event = Some(event);
        self
    }

    /// Makes it another try at what `earlier` was for.
    #[must_use]
    pub const fn again(mut self, earlier: &Self) -> Self {
        self.request.idempotency_key = earlier.request.idempotency_key;
        self
    }

    /// Hands in a snapshot of the host.
    #[must_use]
    pub fn host<T: View>(mut self, view: &T) -> Self {
        self.request.host.insert(view);
        self
    }

    /// Says what the node could not see.
    #[must_use]
    pub fn missing(mut self, sentence: &str) -> Self {
        self.request.host.missing.push(sentence.to_owned());
        self
    }

    /// Hands in a state.
    #[must_use]
    pub fn state(mut self, state: Value) -> Self {
        self.request.state = state;
        self
    }

    /// Hands in the state that a node would hold after `earlier`.
    #[must_use]
    pub fn after(self, earlier: &Finished) -> Self {
        self.state(earlier.state.clone())
    }

    /// Forbids every change.
    #[must_use]
    pub const fn dry_run(mut self) -> Self {
        self.request.dry_run = true;
        self
    }

    /// Sets the deadline, a time of RFC 3339.
    #[must_use]
    pub fn deadline(mut self, time: &str) -> Self {
        time.clone_into(&mut self.request.deadline);
        self
    }

    /// Runs the module to its end.
    ///
    /// # Panics
    /// When what the module wrote is not the module protocol, which the SDK rules out.
    #[must_use]
    pub fn run<M: Module>(&self, module: &M) -> Finished {
        self.run_request(module, &self.request_text())
    }

    /// The request as a node writes it, to start the module's executable with.
    ///
    /// # Panics
    /// Never: a request is plain data.
    #[must_use]
    pub fn request_text(&self) -> String {
        json!(self.request).to_string()
    }

    /// Runs the module on any text in the place of a request.
    pub(crate) fn run_request<M: Module>(&self, module: &M, request: &str) -> Finished {
        let written = Written::default();
        serve(module, request.as_bytes(), &Output::new(Box::new(written.clone())));
        let written = written.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut messages: Vec<Message> = written
            .split(|byte| *byte == b'\n')
            .filter_map(|line| parse_line(line).expect("the SDK writes what a node reads"))
            .collect();
        let Some(Message::Result(result)) = messages.pop() else {
            unreachable!("the run loop always ends with a result")
        };
        let state = result.state.clone().unwrap_or_else(|| self.request.state.clone());
        Finished { messages, result, state }
    }
}

impl Finished {
    /// The problems that were reported, in order.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.messages.iter().filter_map(|message| match message {
            Message::Finding(finding) => Some(finding),
            _ => None,
        })
    }

    /// The events that were emitted, in order.
    pub fn events(&self) -> impl Iterator<Item = &EmittedEvent> {
        self.messages.iter().filter_map(|message| match message {
            Message::Event(event) => Some(event),
            _ => None,
        })
    }

    /// The measurements, in order.
    pub fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.messages.iter().filter_map(|message| match message {
            Message::Metric(metric) => Some(metric),
            _ => None,
        })
    }
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
