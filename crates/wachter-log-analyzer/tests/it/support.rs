use std::path::PathBuf;

use serde_json::{Value, json};
use wachter_log_analyzer::LogAnalyzer;
use wachter_module::{Finished, Harness};

/// A folder with logs, and the module that reads them.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    input: Value,
    last: Option<Finished>,
}

impl Host {
    /// `input` is completed with the folder, with logs begun at their beginning, and with records
    /// that are complete at once.
    pub(crate) fn new(input: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = json!({
            "folders": [folder.path()],
            "start": "beginning",
            "hold": "0s",
            "sources": [{ "path": folder.path().join("app.log") }],
        });
        for (key, value) in input.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        Self { folder, input: whole, last: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn input(&mut self) -> &mut Value {
        &mut self.input
    }

    pub(crate) fn input_value(&self) -> Value {
        self.input.clone()
    }

    /// One run after the one before.
    pub(crate) fn run(&mut self) -> &Finished {
        self.run_with(Harness::new())
    }

    /// One run that an event woke.
    pub(crate) fn run_for(&mut self, event: Value) -> &Finished {
        self.run_with(Harness::new().event(event))
    }

    fn run_with(&mut self, harness: Harness) -> &Finished {
        let harness = harness.input(self.input.clone());
        let harness = match &self.last {
            Some(last) => harness.after(last),
            None => harness,
        };
        let finished = harness.run(&LogAnalyzer);
        self.last.insert(finished)
    }
}
