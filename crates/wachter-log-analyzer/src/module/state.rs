use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::anomalies::Anomalies;
use super::problems::Problems;
use crate::model::Model;
use crate::pattern;
use crate::source::{Cursor, JournalCursor};

/// What is kept from run to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Of which version of this module the rest is.
    pub(crate) version: u32,
    /// Where each file is read on.
    pub(crate) files: BTreeMap<PathBuf, Cursor>,
    /// The paths that were asked for before: what fits one of them and is new is read from its
    /// beginning.
    pub(crate) sources: BTreeSet<PathBuf>,
    /// Where the journal is read on.
    pub(crate) journal: Option<JournalCursor>,
    /// When the last run was, in milliseconds since 1970.
    pub(crate) ran: i64,
    /// What was counted over all runs.
    pub(crate) totals: Totals,
    pub(crate) alarms: pattern::State,
    pub(crate) problems: Problems,
    /// What was learned.
    pub(crate) model: Option<Model>,
    /// What is out of the ordinary.
    pub(crate) anomalies: Anomalies,
}

/// The version of the state that this module writes.
pub(crate) const VERSION: u32 = 1;

/// What was read over all runs that were accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Bytes of lines that were too long.
    pub(crate) cut: u64,
    /// Bytes that are known to be gone.
    pub(crate) lost: u64,
}
