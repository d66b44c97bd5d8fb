use std::num::NonZeroU32;
use std::sync::Arc;

use wachter_bus::{Bus, Clock, SystemClock};
use wachter_config::SchedulerSettings;
use wachter_model::NodeName;

use super::Runner;
use crate::schedule::{AdmissionLimits, RestartOptions};

/// What agents need. [`DispatcherOptions::new`] has the defaults, told below.
#[derive(Clone)]
pub struct DispatcherOptions {
    /// The node.
    pub node: NodeName,
    /// Where events are.
    pub bus: Bus,
    /// Who carries runs out.
    pub runner: Runner,
    /// How much at one time, until a deployment says otherwise.
    pub scheduler: SchedulerSettings,
    /// Tells the time. The system's.
    pub clock: Arc<dyn Clock>,
    /// Whether effects are frozen from the very start, before the first run begins. No.
    pub frozen: bool,
}

impl DispatcherOptions {
    /// With the system's clock, and not frozen.
    #[must_use]
    pub fn new(node: NodeName, bus: Bus, runner: Runner, scheduler: SchedulerSettings) -> Self {
        Self { node, bus, runner, scheduler, clock: Arc::new(SystemClock::new()), frozen: false }
    }

    pub(super) fn limits(&self) -> AdmissionLimits {
        let size = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
        let (running, queued) = (size(self.scheduler.concurrency), size(self.scheduler.queue));
        AdmissionLimits { running, running_per_agent: running, queued, queued_per_agent: queued }
    }

    pub(super) fn restarts(&self) -> RestartOptions {
        let crash_loop = &self.scheduler.crash_loop;
        RestartOptions {
            failures: crash_loop.failures,
            within: crash_loop.within,
            pause: crash_loop.pause,
            max: crash_loop.max,
        }
    }
}
