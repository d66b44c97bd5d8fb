//! Every route of the interface.

use serde_json::Value;

use crate::endpoint::{Nothing, endpoints};
use crate::shapes::{
    self, Agent, ApplyBundle, Ask, AuditQuery, AuditRecord, AuditReport, Change, ChangesQuery,
    Configuration, ConfigurationQuery, DeadLetter, DeadLettersQuery, EventsQuery, ExplainRoutes,
    FindingsQuery, FinishedRun, FollowQuery, Freeze, Frozen, Health, JournalCheckpoint, LogLine,
    LogsQuery, Module, Pause, Pin, ReleaseReport, Reloaded, Replay, ReplayReport, ReportedFinding,
    Request, Retried, Rollback, RouteExplanation, Run, RunsQuery, Send, Sent, Status, StoredEvent,
    Subscription, Trace,
};

endpoints! {
    /// Says what the node is doing
    GetStatus = Get "/v1/status", Viewer, Single { query: Nothing, body: Nothing, answer: Status }
    /// Says whether the node is able to work
    GetHealth = Get "/v1/health", Viewer, Single { query: Nothing, body: Nothing, answer: Health }

    /// Lists the agents and how they do
    ListAgents = Get "/v1/agents", Viewer, Single { query: Nothing, body: Nothing, answer: Vec<Agent> }
    /// Runs an agent now
    RunAgent = Post "/v1/agents/{agent}/run", Operator, Single { query: Nothing, body: Request, answer: Sent }
    /// Makes an agent wait
    PauseAgent = Post "/v1/agents/{agent}/pause", Operator, Single { query: Nothing, body: Pause, answer: Agent }
    /// Lets an agent go on
    ResumeAgent = Post "/v1/agents/{agent}/resume", Operator, Single { query: Nothing, body: Nothing, answer: Agent }
    /// Explains which agents an event reaches, and why
    ExplainEventRoutes = Post "/v1/routes", Viewer, Single { query: Nothing, body: ExplainRoutes, answer: Vec<RouteExplanation> }
    /// Lists the modules of the release in force
    ListModules = Get "/v1/modules", Viewer, Single { query: Nothing, body: Nothing, answer: Vec<Module> }

    /// Lists runs, newest first
    ListRuns = Get "/v1/runs", Viewer, Single { query: RunsQuery, body: Nothing, answer: Vec<Run> }
    /// Shows one run
    GetRun = Get "/v1/runs/{run}", Viewer, Single { query: Nothing, body: Nothing, answer: Run }
    /// Takes the record of a run that a person made by hand
    RecordRun = Post "/v1/runs", Operator, Single { query: Nothing, body: FinishedRun, answer: Sent }

    /// Lists events
    ListEvents = Get "/v1/events", Viewer, Single { query: EventsQuery, body: Nothing, answer: Vec<StoredEvent> }
    /// Tells of events as they come
    FollowEvents = Get "/v1/events/follow", Viewer, Streaming { query: FollowQuery, body: Nothing, answer: StoredEvent }
    /// Takes an event in
    SendEvent = Post "/v1/events", Operator, Single { query: Nothing, body: Send, answer: Sent }
    /// Puts a question and waits for the answer
    AskQuestion = Post "/v1/requests", Operator, Single { query: Nothing, body: Ask, answer: StoredEvent }
    /// Shows what an event was caused by and what it caused
    TraceEvent = Get "/v1/traces/{event}", Viewer, Single { query: Nothing, body: Nothing, answer: Trace }
    /// Lists the durable cursors
    ListSubscriptions = Get "/v1/subscriptions", Viewer, Single { query: Nothing, body: Nothing, answer: Vec<Subscription> }
    /// Delivers events once more
    ReplayEvents = Post "/v1/replays", Operator, Single { query: Nothing, body: Replay, answer: ReplayReport }

    /// Lists events that were given up
    ListDeadLetters = Get "/v1/dead-letters", Viewer, Single { query: DeadLettersQuery, body: Nothing, answer: Vec<DeadLetter> }
    /// Shows an event that was given up
    GetDeadLetter = Get "/v1/dead-letters/{letter}", Viewer, Single { query: Nothing, body: Nothing, answer: DeadLetter }
    /// Delivers an event that was given up once more
    RetryDeadLetter = Post "/v1/dead-letters/{letter}/retry", Operator, Single { query: Nothing, body: Nothing, answer: Retried }
    /// Forgets an event that was given up
    DropDeadLetter = Delete "/v1/dead-letters/{letter}", Operator, Single { query: Nothing, body: Nothing, answer: Nothing }

    /// Lists the problems that there are now, the worst first
    ListFindings = Get "/v1/findings", Viewer, Single { query: FindingsQuery, body: Nothing, answer: Vec<ReportedFinding> }
    /// Shows one of them
    GetFinding = Get "/v1/findings/{finding}", Viewer, Single { query: Nothing, body: Nothing, answer: ReportedFinding }
    /// Says whether a finding is one, and tells its agent
    JudgeFinding = Post "/v1/findings/{finding}/judge", Operator, Single { query: Nothing, body: shapes::JudgeFinding, answer: ReportedFinding }
    /// Takes a finding off the list; it comes back when it is reported again
    DropFinding = Delete "/v1/findings/{finding}", Operator, Single { query: Nothing, body: Nothing, answer: Nothing }

    /// Shows the configuration in force, and where each value came from
    GetConfiguration = Get "/v1/configuration", Viewer, Single { query: ConfigurationQuery, body: Nothing, answer: Configuration }
    /// Reads the local file again
    ReloadConfiguration = Post "/v1/configuration/reload", Operator, Single { query: Nothing, body: Nothing, answer: Reloaded }

    /// Looks for a release now
    Synchronize = Post "/v1/release/sync", Operator, Single { query: Nothing, body: Nothing, answer: ReleaseReport }
    /// Goes back to an earlier accepted release
    RollBack = Post "/v1/release/rollback", Admin, Single { query: Nothing, body: Rollback, answer: ReleaseReport }
    /// Stays on a release for a while
    PinRelease = Post "/v1/release/pin", Admin, Single { query: Nothing, body: Pin, answer: ReleaseReport }
    /// Follows new releases again
    UnpinRelease = Post "/v1/release/unpin", Admin, Single { query: Nothing, body: Nothing, answer: ReleaseReport }
    /// Takes a release from a Git bundle, through the same checks
    ApplyReleaseBundle = Post "/v1/release/apply", Admin, Single { query: Nothing, body: ApplyBundle, answer: ReleaseReport }

    /// Stops effects; detection goes on
    FreezeEffects = Post "/v1/freeze", Operator, Single { query: Nothing, body: Freeze, answer: Frozen }
    /// Lets effects happen again
    ThawEffects = Post "/v1/thaw", Admin, Single { query: Nothing, body: Nothing, answer: Nothing }

    /// Checks the chain of the journal
    VerifyJournal = Get "/v1/audit/verify", Viewer, Single { query: AuditQuery, body: Nothing, answer: AuditReport }
    /// Hands out the checkpoints of the journal, oldest first
    ListCheckpoints = Get "/v1/audit/checkpoints", Viewer, Single { query: Nothing, body: Nothing, answer: Vec<JournalCheckpoint> }
    /// Hands out the journal with its digests
    ExportJournal = Get "/v1/audit/export", Viewer, Streaming { query: AuditQuery, body: Nothing, answer: AuditRecord }
    /// Says what was changed on this host
    ListChanges = Get "/v1/changes", Viewer, Single { query: ChangesQuery, body: Nothing, answer: Vec<Change> }
    /// Hands out lines of the node's log
    ReadLogs = Get "/v1/logs", Viewer, Streaming { query: LogsQuery, body: Nothing, answer: LogLine }

    /// Describes this interface
    GetOpenApi = Get "/v1/openapi.json", Viewer, Single { query: Nothing, body: Nothing, answer: Value }
}
