//! Remembers runs, in files.
//!
//! Layout: `runs/<day>/<run>.json`, one record each; `agents/<agent>.json`, the agent's last record
//! together with the state that its module keeps. The latter is the one that counts: it is written
//! first and whole, so a run's outcome and the module's state cannot part. Records older than
//! [`KEPT_DAYS`] days are removed when a new day begins.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wachter_file::{Readers, replace_durably};
use wachter_model::AgentName;

use crate::{Cause, RunRecord};

/// Days for which records are kept.
const KEPT_DAYS: usize = 30;

/// Why a record was not kept or not found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not written.
    #[error("cannot write {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The store, below the node's data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunStore {
    data: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct AgentFile {
    record: RunRecord,
    state: Value,
}

impl RunStore {
    /// Below `data`, which exists.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Keeps a record; with `state`, what the module of a scheduled run is to remember. Waits for the
    /// disk: not for an asynchronous thread.
    ///
    /// # Errors
    /// The disk is full or read-only; then neither the record nor the state was changed, or only the
    /// copy for the history is missing.
    pub fn keep(&self, record: &RunRecord, state: Option<&Value>) -> Result<(), StoreError> {
        if let Cause::Schedule { agent } = &record.cause {
            let state = state.cloned().unwrap_or_else(|| self.state(agent));
            let file = AgentFile { record: record.clone(), state };
            write(&self.data.join("agents"), &format!("{agent}.json"), &file)?;
        }
        self.remember(record)
    }

    /// Writes a record into the history.
    fn remember(&self, record: &RunRecord) -> Result<(), StoreError> {
        let path = self.path(record);
        let folder = path.parent().unwrap_or(&self.data);
        let new_day = !folder.is_dir();
        write(folder, &format!("{}.json", record.run), record)?;
        if new_day {
            self.prune();
        }
        Ok(())
    }

    /// Where a record stands in the history.
    fn path(&self, record: &RunRecord) -> PathBuf {
        let day = record.started.to_string().chars().take(10).collect::<String>();
        self.data.join("runs").join(day).join(format!("{}.json", record.run))
    }

    /// Completes the history by what the last process kept and had no time to copy to it. For who starts
    /// to keep runs, before the first.
    ///
    /// # Errors
    /// The disk is full or read-only.
    pub fn complete(&self) -> Result<(), StoreError> {
        let folder = self.data.join("agents");
        for name in names(&folder)?.into_iter().filter(|name| !name.starts_with('.')) {
            let file = fs::read(folder.join(name)).ok();
            let file = file.and_then(|text| serde_json::from_slice::<AgentFile>(&text).ok());
            if let Some(AgentFile { record, .. }) = file
                && !self.path(&record).exists()
            {
                self.remember(&record)?;
            }
        }
        Ok(())
    }

    /// What an agent's module remembers; null for an agent that has not run, or whose file is damaged.
    #[must_use]
    pub fn state(&self, agent: &AgentName) -> Value {
        let path = self.data.join("agents").join(format!("{agent}.json"));
        let file = fs::read(path).ok();
        file.and_then(|text| serde_json::from_slice::<AgentFile>(&text).ok())
            .map_or(Value::Null, |file| file.state)
    }

    /// When an agent was last started.
    #[must_use]
    pub fn last_started(&self, agent: &AgentName) -> Option<Timestamp> {
        let path = self.data.join("agents").join(format!("{agent}.json"));
        let file: AgentFile = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some(file.record.started)
    }

    /// The latest records, newest first.
    ///
    /// # Errors
    /// A folder or a file cannot be read. A damaged record is passed over.
    pub fn latest(&self, most: usize) -> Result<Vec<RunRecord>, StoreError> {
        let mut records = Vec::new();
        let mut days = names(&self.data.join("runs"))?;
        days.sort_by(|a, b| b.cmp(a));
        for day in days {
            let folder = self.data.join("runs").join(day);
            // Identifiers begin with their time, so names sort as runs were begun.
            let mut runs = names(&folder)?;
            runs.sort_by(|a, b| b.cmp(a));
            for run in runs.into_iter().filter(|name| name.ends_with(".json")) {
                if records.len() == most {
                    return Ok(records);
                }
                let path = folder.join(run);
                let text = fs::read(&path).map_err(|source| StoreError::Read { path, source })?;
                records.extend(serde_json::from_slice::<RunRecord>(&text).ok());
            }
        }
        Ok(records)
    }

    fn prune(&self) {
        let runs = self.data.join("runs");
        let Ok(mut days) = names(&runs) else { return };
        days.sort_by(|a, b| b.cmp(a));
        for old in days.into_iter().skip(KEPT_DAYS) {
            // What cannot be removed today can be tomorrow.
            let _ = fs::remove_dir_all(runs.join(old));
        }
    }
}

fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let path = folder.join(name);
    let failed = |source| StoreError::Write { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let json = serde_json::to_vec(value).map_err(|error| failed(error.into()))?;
    replace_durably(&path, &json, Readers::Owner).map_err(failed)
}

fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StoreError::Read { path: folder.to_owned(), source }),
    }
}
