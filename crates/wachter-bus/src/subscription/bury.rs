use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::job::{Job, Transaction};
use crate::{Notice, Seq, WriteError, lock};

/// Puts an event to the dead letters that no member has: its attempts are used up.
pub(super) struct BuryJob {
    shared: Arc<Shared>,
    seq: Seq,
    reason: String,
}

/// What is kept of a reason; it may come from a module.
const LONGEST_REASON: usize = 1_024;

/// Cuts a reason to what is kept of it.
pub(super) fn cut_short(reason: &mut String) {
    reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
}

impl BuryJob {
    pub(super) fn new(shared: &Arc<Shared>, seq: Seq, reason: &str) -> Self {
        Self { shared: Arc::clone(shared), seq, reason: reason.to_owned() }
    }
}

impl Job for BuryJob {
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let tried = lock(&self.shared.state).burying(self.seq);
        if let Some(tried) = tried {
            let id = self.shared.id;
            crate::dead_letters::bury(transaction, id, self.seq, tried, &self.reason)?;
            transaction.touch(&self.shared).settled.push(self.seq);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), &WriteError>) {
        let hub = self.shared.hub.upgrade();
        let now = hub.as_ref().map_or(Duration::ZERO, |hub| hub.clock.elapsed());
        let mut state = lock(&self.shared.state);
        let was_there = state.burying(self.seq).is_some();
        state.buried(self.seq, outcome.is_ok(), now);
        drop(state);
        if let (Ok(()), true, Some(hub)) = (outcome, was_there, hub) {
            hub.notice(Notice::DeadLettered {
                subscription: self.shared.name.clone(),
                seq: self.seq,
                reason: self.reason,
            });
        }
        self.shared.wake.notify_one();
    }
}
