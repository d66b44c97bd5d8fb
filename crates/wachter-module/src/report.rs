use serde_json::Value;

/// What a module reports when it did what it was asked to do.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a report is what `execute` returns"]
pub struct Report {
    pub(crate) changed: bool,
    pub(crate) message: Option<String>,
    pub(crate) output: Value,
}

impl Report {
    /// Everything is as it was before.
    pub const fn unchanged() -> Self {
        Self { changed: false, message: None, output: Value::Null }
    }

    /// Something is different from before, or in a dry run would be.
    pub const fn changed() -> Self {
        Self { changed: true, message: None, output: Value::Null }
    }

    /// One sentence for a person.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// What the caller asked to know.
    pub fn output(mut self, output: impl Into<Value>) -> Self {
        self.output = output.into();
        self
    }
}
