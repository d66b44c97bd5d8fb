//! Keeps the agents of a node going: what wakes them, what may run when, and what comes of it.
//!
//! ```text
//!  timetable ── agent.due ──►┐                                   ┌─► run.finished, events, findings,
//!  people ── agent.requested ┼─► journal ─► one subscription ─► admission ─► run ─► ack │   state: one write
//!  anything ── other events ─┘             an agent               └─► skipped, put off
//! ```
//!
//! Everything that makes an agent run is an event in the journal first, and is settled together with
//! what came of it. So nothing is lost when the node dies at any point, and what was under way is
//! delivered again, under the same identity.
//!
//! An agent that is held — paused, frozen, outside of its window, failing over and over, or without
//! what its module needs first — takes nothing out of the journal: there it waits, over restarts too,
//! and takes no memory.
//!
//! # Invariants
//! - One task owns all of this state; what it does not own is asked of it by [`Handle`].
//! - One code path takes up a deployment: at the start, after a change, after a crash of the launcher.
//! - A delivery is held by exactly one of: what waits, what is put off, a run.
//! - No clock is read but the one that was handed in.
//! - What a module remembers is never written over by a run that had not read it.
//!
//! # What is kept
//! | bucket | by agent |
//! |---|---|
//! | `agent-state` | what its module remembers |
//! | `agent-times` | where its schedule stands |
//! | `agent-pauses` | who paused it, when and why |
//! | `agents` | what was told of it: its definition, and what stops it |
//! | `agent-leases` | with `scope: fleet`: which node's schedule counts, for a minute at a time |

mod commands;
mod condition;
mod ended;
mod explain;
mod findings;
mod handle;
mod hold;
mod input;
mod journal;
mod lease;
mod listening;
mod news;
mod offer;
mod options;
mod outbox;
mod outputs;
mod pause;
mod registry;
mod reply;
mod report;
mod review;
mod run;
mod settle;
mod start;
mod take_up;
mod turn;
mod wake;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wachter_bus::Delivery;
use wachter_model::{AgentName, RunId};

pub use condition::filter_of;
pub use explain::{Explanation, Routes, explain};
pub use findings::{FINDINGS_BUCKET, JUDGEMENTS_BUCKET, findings_prefix, key_of_finding};
pub use handle::{Handle, HandleError};
pub use hold::Hold;
pub use input::allow_request;
pub use news::{
    AGENT_DEGRADED, AGENT_HEARTBEAT, AGENT_HELD, AGENT_PAUSED, AGENT_RECOVERED, AGENT_REGISTERED,
    AGENT_REMOVED, AGENT_RESUMED, AGENT_STATE,
};
pub use options::DispatcherOptions;
pub use outputs::{RUN_FINISHED, STATE_BUCKET};
pub use pause::Pause;
pub use reply::{QUERY_FAILED, QueryFailed};
pub use report::{AgentReport, LastRun};
pub use run::{Ran, Runner, RunnerGone, Running};
pub use wake::{AGENT_DUE, AGENT_REQUESTED, RunRequested, Sources, request_event};

use handle::Command;
use journal::Stuck;
use lease::Leases;
use outbox::Outbox;
use registry::Registry;
use run::Ended;
use turn::Beats;
use wake::Wake;
use worker::Worker;

use crate::schedule::{Admission, Timetable};
use crate::{Deployment, NodeEvent};

/// The agents at work. See the [module](self).
pub struct Dispatcher {
    options: DispatcherOptions,
    sources: Sources,
    timetable: Timetable,
    admission: Admission,
    workers: BTreeMap<AgentName, Worker>,
    /// Agents that are no more, until the last of their runs is over.
    leaving: BTreeMap<AgentName, Worker>,
    /// Agents that could not be taken up yet, and why.
    missing: BTreeMap<AgentName, String>,
    deployment: Option<Arc<Deployment>>,
    /// What was told of agents; none until it has been read.
    registry: Option<Registry>,
    leases: Leases,
    /// Deliveries that were admitted and wait for their turn.
    waiting: HashMap<RunId, (Wake, Delivery)>,
    /// Deliveries that could not even wait; offered again when something changes.
    put_off: BTreeMap<AgentName, Vec<(Wake, Delivery)>>,
    running: HashMap<RunId, Underway>,
    runs: JoinSet<Ended>,
    outbox: Outbox,
    /// When something may hold an agent, or let go of it, by the clock alone.
    reviews: BTreeSet<(Timestamp, AgentName)>,
    /// The time at which was last looked, to see that the clock went back.
    seen: Option<Timestamp>,
    beats: Beats,
    stuck: Stuck,
    /// What the caller is to be told.
    notes: Vec<NodeEvent>,
    deliveries: mpsc::Sender<(AgentName, Delivery)>,
    delivered: mpsc::Receiver<(AgentName, Delivery)>,
    commands: mpsc::Receiver<Command>,
    handle: mpsc::Sender<Command>,
    shutdown: CancellationToken,
}

struct Underway {
    cancel: CancellationToken,
    replaced: Arc<AtomicBool>,
}

impl Dispatcher {
    /// Without agents; they come with the first deployment.
    #[must_use]
    pub fn new(options: DispatcherOptions, shutdown: CancellationToken) -> Self {
        let (deliveries, delivered) = mpsc::channel(1);
        let (handle, commands) = mpsc::channel(16);
        let mut admission = Admission::new(options.limits());
        if options.frozen {
            admission.freeze();
        }
        Self {
            sources: Sources::new(options.node.clone()),
            timetable: Timetable::new(options.scheduler.catch_up.get()),
            admission,
            beats: Beats::new(options.clock.elapsed()),
            stuck: Stuck::default(),
            options,
            workers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            missing: BTreeMap::new(),
            deployment: None,
            registry: None,
            leases: Leases::default(),
            waiting: HashMap::new(),
            put_off: BTreeMap::new(),
            running: HashMap::new(),
            runs: JoinSet::new(),
            outbox: Outbox::default(),
            reviews: BTreeSet::new(),
            seen: None,
            notes: Vec::new(),
            deliveries,
            delivered,
            commands,
            handle,
            shutdown,
        }
    }

    /// Asks and tells the dispatcher while it works.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.handle.clone())
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }
}
