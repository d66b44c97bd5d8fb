use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::anomalies::Anomalies;
use super::problems::Problems;
use crate::model::Model;
use crate::pattern;
use crate::source::{Cursor, JournalCursor};

/// What is kept from run to run.
///
/// Each part is read for itself: one that cannot be read begins anew and is named in `unread`, the
/// others go on. A state of another version begins anew as a whole: logs are then read on from where
/// they end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Value")]
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
    /// What of the last run's state could not be read: a sentence each.
    #[serde(skip)]
    pub(crate) unread: Vec<String>,
}

/// The version of the state that this module writes.
pub(crate) const VERSION: u32 = 1;

impl From<Value> for State {
    fn from(state: Value) -> Self {
        let Value::Object(fields) = state else {
            return Self::anew("the state of the last run is no object");
        };
        let mut parts = Parts { fields, unread: Vec::new() };
        let version: u32 = parts.take("version", "it begins anew");
        if version != VERSION {
            return Self::anew(&format!(
                "the state of the last run has version {version}, and this reads {VERSION}"
            ));
        }
        let ran = parts.take("ran", "logs are begun anew, by `start`");
        let files = parts.take("files", "logs are begun anew, by `start`");
        // Without the places or the time, what lies in known folders would be taken for new.
        let sources = if parts.unread.is_empty() {
            parts.take("sources", "it begins anew")
        } else {
            BTreeSet::new()
        };
        Self {
            version,
            files,
            sources,
            journal: parts.take("journal", "it begins anew"),
            ran,
            totals: parts.take("totals", "it begins anew"),
            alarms: parts.take("alarms", "it begins anew"),
            problems: parts.take("problems", "it begins anew"),
            model: parts.take("model", "learning begins again"),
            anomalies: parts.take("anomalies", "it begins anew"),
            unread: parts.unread,
        }
    }
}

impl State {
    fn anew(why: &str) -> Self {
        Self { unread: vec![format!("{why}; everything begins anew")], ..Self::default() }
    }
}

/// The parts of a stored state.
struct Parts {
    fields: Map<String, Value>,
    unread: Vec<String>,
}

impl Parts {
    /// One part, its default where it is not there or cannot be read.
    fn take<T: DeserializeOwned + Default>(&mut self, name: &str, consequence: &str) -> T {
        let Some(value) = self.fields.remove(name) else { return T::default() };
        serde_json::from_value(value).unwrap_or_else(|error| {
            self.unread
                .push(format!("what was kept as `{name}` cannot be read: {error}; {consequence}"));
            T::default()
        })
    }
}

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
