//! What waits for the writer. Room is counted by a semaphore, so publishers wait in turn; what must
//! never wait (an acknowledgement without outputs, the end of a lease) goes in without counting, and
//! is bounded by what is in flight.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::job::Job;
use crate::{Limits, lock};

/// Something for the writer to do.
pub(crate) enum Message {
    /// To be written, with others in one transaction.
    Job(Box<dyn Job>),
    /// Look after everything that is due now, then answer.
    Upkeep(oneshot::Sender<()>),
    /// Go by these limits from now on, look after what is due by them, then answer.
    Configure(Box<Limits>, oneshot::Sender<()>),
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Message>,
    closed: bool,
    /// Whether the writer waits, and has to be woken.
    idle: bool,
}

/// What the writer got.
pub(crate) enum Taken {
    /// Messages, at least one.
    Messages,
    /// The time is up.
    Nothing,
    /// There is nothing, and there will be nothing.
    Closed,
}

impl Queue {
    /// Puts a message at the end; hands it back if the queue is closed.
    pub(crate) fn push(&self, message: Message) -> Result<(), Message> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(message);
        }
        state.messages.push_back(message);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves all that waits to `into`, after waiting for `patience` at most.
    pub(crate) fn take(&self, into: &mut VecDeque<Message>, patience: Duration) -> Taken {
        let until = Instant::now() + patience;
        let mut state = lock(&self.state);
        loop {
            if !state.messages.is_empty() {
                into.append(&mut state.messages);
                return Taken::Messages;
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            state.idle = true;
            let waited = self.filled.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            state.idle = false;
        }
    }

    /// Takes nothing in any more, and hands over what nobody will write: the writer has ended.
    pub(crate) fn abandon(&self) -> VecDeque<Message> {
        let mut state = lock(&self.state);
        state.closed = true;
        std::mem::take(&mut state.messages)
    }

    /// Takes nothing in any more; what waits is still written.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_one();
    }
}
