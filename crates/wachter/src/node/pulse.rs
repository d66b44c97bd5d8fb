use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};
use wachter_runtime::dispatch::Handle;

/// How often the agents are asked.
const BEAT: Duration = Duration::from_secs(5);

/// How long they may owe an answer: a journal on a slow disk is no stillstand.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether the work of the node goes on: the task of the agents answers, which waits for the journal
/// and, by the tasks of its runs, for the launcher.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When they were asked and have not answered since.
    owed: Mutex<Option<Instant>>,
}

impl Pulse {
    /// Whether the agents answered of late. Without a launcher there are none to ask, which is told
    /// elsewhere and no reason to start the node anew.
    pub(crate) fn beats(&self) -> bool {
        self.owed().is_none_or(|since| since.elapsed() < LONGEST)
    }

    /// Asks the agents, for ever.
    pub(crate) async fn take(&self, agents: watch::Receiver<Option<Handle>>) -> Infallible {
        let mut beats = interval(BEAT);
        loop {
            beats.tick().await;
            let handle = agents.borrow().clone();
            let Some(handle) = handle else {
                self.set(None);
                continue;
            };
            self.set(Some(self.owed().unwrap_or_else(Instant::now)));
            if timeout(LONGEST, handle.report()).await.is_ok() {
                self.set(None);
            }
        }
    }

    fn owed(&self) -> Option<Instant> {
        *self.owed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set(&self, owed: Option<Instant>) {
        *self.owed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = owed;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;
    use wachter_bus::{Bus, Options};
    use wachter_config::{Catalogue, Sources};
    use wachter_runtime::dispatch::{Dispatcher, DispatcherOptions, RunnerGone};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn agents_that_owe_an_answer_for_long_are_no_pulse() {
        let folder = tempfile::tempdir().unwrap();
        let options = DispatcherOptions::new(
            "web-1".parse().unwrap(),
            Bus::open(Options::new(folder.path())).unwrap(),
            Arc::new(|_, _| Box::pin(async { Err(RunnerGone) })),
            Catalogue::load(&Sources::default()).unwrap().settings().scheduler.clone(),
        );
        // It is never run, and so never answers.
        let dispatcher = Dispatcher::new(options, CancellationToken::new());
        let (agents, asked) = watch::channel(None);
        let pulse = Pulse::default();
        let beats_after = async |time| {
            let _ = timeout(time, pulse.take(asked.clone())).await;
            pulse.beats()
        };
        assert!(beats_after(LONGEST * 3).await, "there is nobody to ask");
        agents.send_replace(Some(dispatcher.handle()));
        assert!(beats_after(LONGEST / 2).await, "there is time left");
        assert!(!beats_after(LONGEST).await);
        agents.send_replace(None);
        assert!(beats_after(BEAT).await, "the launcher went away, and the agents with it");
    }
}
