use std::sync::Arc;

use super::shared::Shared;
use crate::job::{Job, Transaction};
use crate::{WriteError, lock};

/// Writes a cursor with the deliveries that are about to be made.
pub(super) struct MarkJob(Arc<Shared>);

impl MarkJob {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }
}

impl Job for MarkJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        transaction.touch(&self.0);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        lock(&self.0.state).recorded(outcome.is_ok());
        self.0.wake.notify_one();
    }
}
