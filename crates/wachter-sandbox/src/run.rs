//! One run, from request to report: what goes in, what is made of that which comes out, and the verdict.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;
use wachter_model::{Confidence, Digest, EmittedEvent, Finding, Level, ModuleName, RunId, Topic};
use wachter_protocol::launcher::{End, Launch, RefusalKind, StopReason, ToLauncher, Usage};
use wachter_protocol::module::{
    LogLine, MAX_STATE, Message, Metric, ModuleResult, Outcome, Progress, Request,
};
use wachter_protocol::{Egress, Grant};

use crate::egress::{Broker, Connection};
use crate::jailed::{Course, Jailed};
use crate::launcher::{Launcher, LauncherGone};
use crate::lines::{Lines, read_some};
use crate::output::{OutputError, OutputReader, printable};

/// Everything that says what a run is.
#[derive(Clone, Debug)]
pub struct RunOrder {
    /// The module.
    pub module: ModuleName,
    /// Which of its versions.
    pub digest: Digest,
    /// What it may touch.
    pub grant: Grant,
    /// The types that it may emit.
    pub emits: Vec<Topic>,
    /// What it is told.
    pub request: Request,
    /// What may leave the host.
    pub egress: Egress,
}

/// Something that happened during a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The module wrote a line for the log, or something on stderr.
    Log(LogLine),
    /// The module said how far it is.
    Progress(Progress),
    /// The module connected to something, or tried to.
    Connection(Connection),
}

/// How a run went: all that is kept of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// What came of it.
    pub verdict: Verdict,
    /// What the module said at its end; only where it succeeded, or said that it did not.
    pub result: Option<ModuleResult>,
    /// Events, accepted only with a success.
    pub events: Vec<EmittedEvent>,
    /// Findings, accepted only with a success.
    pub findings: Vec<Finding>,
    /// Measurements, accepted only with a success.
    pub metrics: Vec<Metric>,
    /// Connections that left the host, and those that were not let out.
    pub connections: Vec<Connection>,
    /// What was used.
    pub usage: Usage,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The module did what it was asked to do.
    Succeeded,
    /// It did not.
    Failed(Failure),
    /// The module did not try, and says why.
    Refused(String),
    /// The run was not begun.
    NotBegun {
        /// What kind of refusal.
        kind: RefusalKind,
        /// The reason, and what to do.
        reason: String,
    },
    /// A person or a shutdown ended it.
    Cancelled,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The module says so.
    #[error("the module failed: {0}")]
    Module(String),
    /// It ended by itself, without a result or with an error.
    #[error("the module ended with exit code {0}")]
    Exit(i32),
    /// It ended well, without a word.
    #[error("the module ended without a `result`")]
    NoResult,
    /// It crashed.
    #[error("the module was ended by signal {0}")]
    Signal(i32),
    /// It took too long.
    #[error("the run took longer than its time limit")]
    Timeout,
    /// It took too much memory.
    #[error("the run used more than its memory limit")]
    Memory,
    /// It wrote too much.
    #[error("the run wrote more than its disk limit")]
    Disk,
    /// It said what is no protocol.
    #[error("{}", .0.reason())]
    Output(OutputError),
    /// It emitted what it may not.
    #[error("the module emitted `{0}`, which its manifest does not name under `emits`")]
    NotDeclared(Topic),
    /// It wants to remember too much.
    #[error("the module's state is larger than {MAX_STATE} bytes of JSON")]
    State,
    /// The launcher or its part of the run was killed.
    #[error("the run was lost with the launcher")]
    Lost,
}

impl OutputError {
    fn reason(&self) -> String {
        match self {
            // The reason may quote what the module wrote.
            Self::Message { source, .. } => printable(&format!("{self}: {source}")),
            other => other.to_string(),
        }
    }
}

/// Carries a run out. `observe` is told of what happens meanwhile; `cancel` ends it.
///
/// # Errors
/// The launcher is gone before the run began. Everything else is in the report.
pub async fn carry_out(
    launcher: &Launcher,
    order: RunOrder,
    cancel: &CancellationToken,
    mut observe: impl FnMut(Update),
) -> Result<RunReport, LauncherGone> {
    let RunOrder { module, digest, grant, emits, request, egress } = order;
    let (run, dry_run) = (request.run, request.dry_run);
    // Snapshots of the host are large: from here on there is one text of them, until it is handed in.
    let input = encode(&request);
    drop(request);
    let launch = Launch {
        run,
        name: module,
        module: digest,
        grant: grant.id(),
        dry_run,
        timeout: grant.limits().timeout,
    };
    let mut report = RunReport {
        run,
        verdict: Verdict::Cancelled,
        result: None,
        events: Vec::new(),
        findings: Vec::new(),
        metrics: Vec::new(),
        connections: Vec::new(),
        usage: Usage::default(),
    };
    let broker = Arc::new(Broker::new(&grant, &egress));
    let request = ToLauncher::Launch(launch);
    let jailed = Jailed { run, request, politely: true, input, broker };
    let mut reading = Reading::new(&grant, emits);
    let seen = jailed
        .see_through(launcher, cancel, |stdout, stderr| reading.read(stdout, stderr, &mut observe));
    let over = match seen.await? {
        Course::Over(over) => over,
        Course::Refused(refused) => {
            report.verdict = Verdict::NotBegun { kind: refused.kind, reason: refused.reason };
            return Ok(report);
        }
        Course::Cancelled => return Ok(report),
        // Nobody asked for a build.
        Course::Built(_) => return Err(LauncherGone),
    };
    report.connections = over.connections;
    for connection in &report.connections {
        observe(Update::Connection(connection.clone()));
    }
    let exited = over.ended.map(|ended| ended.exited);
    report.usage = exited.map_or_else(Usage::default, |exited| exited.usage);
    let end = exited.map_or(End::Lost, |exited| exited.end);
    let finished = match over.heard {
        Ok(()) => reading.finish(),
        Err(error) => Err(Failure::Output(error)),
    };
    judge(&mut report, end, finished, reading, dry_run);
    Ok(report)
}

/// A request as a module reads it. Only a map whose keys are no text could have none, and it has no such.
fn encode(request: &Request) -> Vec<u8> {
    serde_json::to_vec(request).unwrap_or_default()
}

/// What a module said so far.
struct Reading {
    output: Option<OutputReader>,
    lines: u64,
    emits: Vec<Topic>,
    confidence: Confidence,
    undeclared: Option<Topic>,
    events: Vec<EmittedEvent>,
    findings: Vec<Finding>,
    metrics: Vec<Metric>,
}

impl Reading {
    fn new(grant: &Grant, emits: Vec<Topic>) -> Self {
        Self {
            output: Some(OutputReader::new(grant.limits().output.as_bytes())),
            lines: 0,
            emits,
            confidence: grant.confidence(),
            undeclared: None,
            events: Vec::new(),
            findings: Vec::new(),
            metrics: Vec::new(),
        }
    }

    async fn read(
        &mut self,
        stdout: OwnedFd,
        stderr: OwnedFd,
        observe: &mut impl FnMut(Update),
    ) -> Result<(), OutputError> {
        let open = |fd| pipe::Receiver::from_owned_fd(fd).ok();
        let (mut stdout, mut stderr) = (open(stdout), open(stderr));
        let (mut out, mut err) = (vec![0; 16 << 10], vec![0; 4 << 10]);
        let mut lines = Lines::default();
        while stdout.is_some() || stderr.is_some() {
            tokio::select! {
                read = read_some(&mut stdout, &mut out) => match read {
                    Some(bytes) => self.take_output(&out[..bytes], observe)?,
                    None => stdout = None,
                },
                read = read_some(&mut stderr, &mut err) => match read {
                    Some(bytes) => self.take_stderr(&err[..bytes], &mut lines, observe)?,
                    None => stderr = None,
                },
            }
        }
        lines.finish(|line| observe(Update::Log(log_of(line))));
        Ok(())
    }

    fn take_output(
        &mut self,
        bytes: &[u8],
        observe: &mut impl FnMut(Update),
    ) -> Result<(), OutputError> {
        let Some(mut reader) = self.output.take() else { return Ok(()) };
        let mut lines = self.lines;
        let outcome = reader.feed(bytes, &mut lines, |message| self.take_message(message, observe));
        self.lines = lines;
        self.output = Some(reader);
        outcome
    }

    fn take_stderr(
        &mut self,
        bytes: &[u8],
        lines: &mut Lines,
        observe: &mut impl FnMut(Update),
    ) -> Result<(), OutputError> {
        if let Some(reader) = &mut self.output {
            reader.spend(bytes.len())?;
        }
        lines.feed(bytes, |line| observe(Update::Log(log_of(line))));
        Ok(())
    }

    fn take_message(&mut self, message: Message, observe: &mut impl FnMut(Update)) {
        match message {
            Message::Log(line) => {
                observe(Update::Log(LogLine { message: printable(&line.message), ..line }));
            }
            Message::Progress(progress) => {
                let message = progress.message.as_deref().map(printable);
                observe(Update::Progress(Progress { message, ..progress }));
            }
            Message::Metric(metric) => self.metrics.push(metric),
            Message::Event(event) => {
                self.declared(&event.kind);
                self.events.push(event);
            }
            Message::Finding(finding) => {
                self.declared(&finding.kind);
                let confidence = finding.confidence.at_most(self.confidence);
                self.findings.push(Finding { confidence, ..finding });
            }
            Message::Result(_) => {}
        }
    }

    fn declared(&mut self, kind: &Topic) {
        if !self.emits.contains(kind) {
            self.undeclared.get_or_insert_with(|| kind.clone());
        }
    }

    fn finish(&mut self) -> Result<Option<ModuleResult>, Failure> {
        let Some(reader) = self.output.take() else { return Ok(None) };
        let mut lines = self.lines;
        let result = reader
            .finish(&mut lines, |message| self.take_message(message, &mut |_| {}))
            .map_err(Failure::Output)?;
        let state = result.as_ref().and_then(|result| result.state.as_ref());
        if state.is_some_and(|state| state.to_string().len() > MAX_STATE) {
            return Err(Failure::State);
        }
        Ok(result)
    }
}

fn log_of(message: String) -> LogLine {
    LogLine { level: Level::Info, message, fields: [("stream".to_owned(), "stderr".into())].into() }
}

/// Decides what came of a run. Nothing that it emitted is accepted unless it succeeded.
fn judge(
    report: &mut RunReport,
    end: End,
    finished: Result<Option<ModuleResult>, Failure>,
    reading: Reading,
    dry_run: bool,
) {
    let failed = |failure| Verdict::Failed(failure);
    let said = |result: &ModuleResult| {
        result.message.as_deref().map_or_else(|| "without a reason".to_owned(), printable)
    };
    report.verdict = match (end, finished) {
        (End::Timeout, _) => failed(Failure::Timeout),
        (End::Memory, _) => failed(Failure::Memory),
        (End::Disk, _) => failed(Failure::Disk),
        (End::Lost, _) => failed(Failure::Lost),
        (_, Err(failure)) => failed(failure),
        (End::Stopped(StopReason::Cancelled), _) => Verdict::Cancelled,
        (End::Stopped(_), _) => failed(Failure::Lost),
        (End::Signal(signal), _) => failed(Failure::Signal(signal)),
        (End::Code(0), Ok(None)) => failed(Failure::NoResult),
        (End::Code(code), Ok(None)) => failed(Failure::Exit(code)),
        (End::Code(code), Ok(Some(result))) => {
            let verdict = match result.outcome {
                Outcome::Refused => Verdict::Refused(said(&result)),
                Outcome::Failed => failed(Failure::Module(said(&result))),
                Outcome::Succeeded if code != 0 => failed(Failure::Exit(code)),
                Outcome::Succeeded => match reading.undeclared.clone() {
                    Some(kind) => failed(Failure::NotDeclared(kind)),
                    None => Verdict::Succeeded,
                },
            };
            report.result = Some(result);
            verdict
        }
    };
    if report.verdict == Verdict::Succeeded {
        report.events = reading.events;
        report.findings = reading.findings;
        report.metrics = reading.metrics;
        if dry_run && let Some(result) = &mut report.result {
            // Nothing happened, so there is nothing to remember.
            result.state = None;
        }
    }
}
