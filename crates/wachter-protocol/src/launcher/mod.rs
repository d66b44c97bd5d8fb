//! Launcher protocol, version 2: what a node may ask of the launcher, and what it is told.
//!
//! Packets over a `SOCK_SEQPACKET` unix socket, one JSON value each, at most 64 KiB.
//! The launcher says [`Hello`](ToNode::Hello) first. It takes no path, no command line, no
//! environment and no permission from the node: a run is named by the digest of a module that the
//! launcher verifies itself, and by the grant that it works out itself.
//!
//! Descriptors travel beside [`ToNode::Launched`] (`SCM_RIGHTS`): the write end of stdin, the read
//! ends of stdout and stderr, and then one listening socket for each of `listeners`, in order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wachter_model::{Digest, Duration, ModuleName, RunId};

use crate::{Endpoint, GrantId, Mechanism, Profile};

/// The version of the launcher protocol that this build speaks.
pub const LAUNCHER_PROTOCOL: u32 = 2;

/// What the node asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ToLauncher {
    /// Start a run.
    Launch(Launch),
    /// Build the environment of a Python module.
    Build(Build),
    /// Forget the environments that no module needs any more.
    Retain(Retain),
    /// End a run or a build.
    Stop(Stop),
    /// Read the local file and the trust file again before the next run.
    Reload,
}

/// Start a run of a module that lies in the node's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The run, a name that was not used before.
    pub run: RunId,
    /// The module.
    pub name: ModuleName,
    /// Which of its versions: SHA-256 of its `module.digests`.
    pub module: Digest,
    /// The grant that the node worked out. The launcher works it out as well and refuses if it
    /// comes to another.
    pub grant: GrantId,
    /// Whether effects are withheld.
    pub dry_run: bool,
    /// How long it may take from now on; the grant's own limit applies too.
    pub timeout: Duration,
}

/// Build the environment of a Python module that lies in the node's store, in a run of its own.
///
/// What follows is that of a launch, but that stdin and stdout are nobody's: [`Launched`] with the
/// proxy's socket, [`Exited`]; and before that, where the program ended well, [`Built`]. An environment
/// that is there already is [`Built`] at once, without a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The run, a name that was not used before.
    pub run: RunId,
    /// The module.
    pub name: ModuleName,
    /// Which of its versions: SHA-256 of its `module.digests`.
    pub module: Digest,
}

/// The modules that may still be run: those of all releases that a node may go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retain {
    /// By the SHA-256 of their `module.digests`.
    pub modules: BTreeSet<Digest>,
}

/// End a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Which.
    pub run: RunId,
    /// Without asking it first: SIGKILL at once instead of SIGTERM and a grace of two seconds.
    pub at_once: bool,
    /// What the run is to be remembered for.
    pub reason: StopReason,
}

/// Why a node ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// A person or a shutdown.
    Cancelled,
    /// More output than granted.
    Output,
    /// Output that is no protocol.
    Protocol,
}

/// What the launcher says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ToNode {
    /// The first packet on a connection.
    Hello(Hello),
    /// A run has begun. Its descriptors come along.
    Launched(Launched),
    /// A run was not begun.
    Refused(Refused),
    /// What a build came to.
    Built(Built),
    /// A run is over, with all processes that it had.
    Exited(Exited),
}

/// Who answers, and what can be enforced here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The launcher protocol that it speaks.
    pub protocol: u32,
    /// Its version.
    pub version: String,
    /// The profile in force.
    pub profile: Profile,
    /// For each mechanism whether it is enforced, and if not, why.
    pub mechanisms: BTreeMap<Mechanism, Enforcement>,
}

/// Whether a mechanism is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enforcement {
    /// It is.
    Enforced,
    /// It is not; the text says why.
    Absent(String),
}

/// A run has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launched {
    /// Which.
    pub run: RunId,
    /// For each listening socket that comes along, what the module wants to reach through it: an
    /// endpoint, or nothing for the proxy, which is asked on each connection.
    pub listeners: Vec<Option<Endpoint>>,
}

/// What a build came to whose program ended well, or one that had nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// The run that the build was asked for as.
    pub run: RunId,
    /// The environment.
    pub outcome: BuildOutcome,
}

/// What became of what was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildOutcome {
    /// It was there already: its name.
    Present(Digest),
    /// It is there now: its name.
    Kept(Digest),
    /// It was not taken over: the reason, and what to do.
    Refused(String),
}

/// A run was not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which.
    pub run: RunId,
    /// What kind of refusal.
    pub kind: RefusalKind,
    /// The reason, and what to do.
    pub reason: String,
}

/// Why a run was not begun, for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The trust file is missing, unsigned, expired or older than one seen before.
    Trust,
    /// The module is not there, not signed by a publisher, or not what was signed.
    Module,
    /// The module asks for more than is granted, or the node meant another grant.
    Grant,
    /// The environment of a Python module is not there, and has to be built first.
    Environment,
    /// A mechanism that the module or the owner requires is absent.
    Mechanism,
    /// What is granted cannot be given: a path or a user that does not exist.
    Setup,
    /// Too many runs at one time.
    Busy,
    /// The request made no sense.
    Request,
}

/// A run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exited {
    /// Which.
    pub run: RunId,
    /// How its first process ended.
    pub end: End,
    /// What it used.
    pub usage: Usage,
}

/// How the first process of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal, which nobody sent on purpose.
    Signal(i32),
    /// It took too long.
    Timeout,
    /// It used too much memory.
    Memory,
    /// It wrote too much to disk.
    Disk,
    /// The node asked for it.
    Stopped(StopReason),
    /// The launcher's own processes were killed.
    Lost,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// From launch to end, in microseconds.
    pub wall_microseconds: u64,
    /// Processor time of all its processes, in microseconds.
    pub cpu_microseconds: u64,
    /// The most memory that one process had resident, in bytes; of the whole run where a cgroup
    /// says so.
    pub peak_memory_bytes: u64,
}
