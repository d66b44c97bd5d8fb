use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use wachter_model::{EmittedEvent, Finding, Level, RunId, Topic};
use wachter_protocol::module::host::{View, ViewError};
use wachter_protocol::module::{
    IdempotencyKey, LogLine, Message, Metric, ModuleIdentity, Progress, Request,
};

use crate::output::{Output, shortened};

/// The bytes of a log message beyond which it is cut.
const MAX_LOG: usize = 64 << 10;

/// What a module knows about its run, and how it speaks.
///
/// What cannot be sent, because it is too long or because the node is gone, turns the result into a
/// failure that says so: no message is lost in silence.
pub struct Context<S> {
    /// What this module knew at the end of its last accepted run; what stands here at the end of
    /// this one is kept, if it succeeds and is no dry run.
    pub state: S,
    request: Request,
    deadline: SystemTime,
    output: Output,
}

impl<S> Context<S> {
    pub(crate) const fn new(
        state: S,
        request: Request,
        deadline: SystemTime,
        output: Output,
    ) -> Self {
        Self { state, request, deadline, output }
    }

    /// This execution.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.request.run
    }

    /// What the run is for: the same again when a run is repeated because the one before it failed or
    /// was cut off, after the module's effects or before. Hand it to whoever must do nothing twice, or
    /// keep it beside what was done.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        let key = self.request.idempotency_key;
        key.unwrap_or_else(|| IdempotencyKey::of_run(self.request.run))
    }

    /// The module's name and version, as the node knows it.
    #[must_use]
    pub const fn module(&self) -> &ModuleIdentity {
        &self.request.module
    }

    /// Whether nothing may be changed. Write, network and secret grants are withheld then.
    #[must_use]
    pub const fn dry_run(&self) -> bool {
        self.request.dry_run
    }

    /// The event that caused the run, as CloudEvents JSON. It comes from outside: a hint to look,
    /// not a fact to act on.
    #[must_use]
    pub const fn event(&self) -> Option<&Value> {
        self.request.event.as_ref()
    }

    /// When the node stops the run.
    #[must_use]
    pub const fn deadline(&self) -> SystemTime {
        self.deadline
    }

    /// The time until the deadline; zero when it has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Whether there is no point in going on: the deadline has passed, or the node is gone.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.remaining().is_zero() || self.output.broken()
    }

    /// A snapshot of the host, taken just before the run.
    ///
    /// # Errors
    /// A view that was not asked for or not granted, and one of another shape.
    pub fn host<T: View>(&self) -> Result<T, ViewError> {
        self.request.host.get()
    }

    /// What the node could not see of the host, and why: one sentence each.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.request.host.missing
    }

    /// Writes to the log; a message of more than 64 KiB is cut.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.log_with(level, message, []);
    }

    /// Writes to the log, with values that belong to the message.
    pub fn log_with<const N: usize>(
        &self,
        level: Level,
        message: impl Into<String>,
        fields: [(&str, Value); N],
    ) {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let message = shortened(message.into(), MAX_LOG);
        self.output.say(&Message::Log(LogLine { level, message, fields }));
    }

    /// Logs what helps to find a fault.
    pub fn debug(&self, message: impl Into<String>) {
        self.log(Level::Debug, message);
    }

    /// Logs what a person would want to know afterwards.
    pub fn info(&self, message: impl Into<String>) {
        self.log(Level::Info, message);
    }

    /// Logs that something went wrong and was recovered.
    pub fn warn(&self, message: impl Into<String>) {
        self.log(Level::Warn, message);
    }

    /// Logs that something went wrong and someone must act.
    pub fn error(&self, message: impl Into<String>) {
        self.log(Level::Error, message);
    }

    /// Says how far the run is, 0 to 1, and what is being done.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        let fraction = fraction.is_finite().then(|| fraction.clamp(0.0, 1.0));
        let message = Some(shortened(message.into(), MAX_LOG));
        self.output.say(&Message::Progress(Progress { fraction, message }));
    }

    /// Emits an event; its topic must be one that the manifest names under `emits`.
    pub fn emit(&self, kind: Topic, subject: Option<String>, data: Value) {
        self.output.say(&Message::Event(EmittedEvent { kind, subject, data }));
    }

    /// Reports a problem, or that one has gone; its topic must be one that the manifest names under
    /// `emits`.
    pub fn finding(&self, finding: Finding) {
        self.output.say(&Message::Finding(finding));
    }

    /// Reports a measurement, its unit in its name: `memory_available_bytes`. A value that is no
    /// number is left out, and the log says so.
    pub fn metric<const N: usize>(&self, name: &str, value: f64, labels: [(&str, &str); N]) {
        if !value.is_finite() {
            self.warn(format!("the metric `{name}` is left out: its value is {value}"));
            return;
        }
        let labels: BTreeMap<_, _> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.output.say(&Message::Metric(Metric { name: name.to_owned(), value, labels }));
    }
}
