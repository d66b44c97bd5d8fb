//! From admitted work to a run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use wachter_bus::Delivery;
use wachter_model::{AgentName, RunId};
use wachter_protocol::module::IdempotencyKey;

use super::input;
use super::run::Admitted;
use super::wake::Wake;
use super::worker::{ReadyModule, Worker};
use super::{Dispatcher, Underway};
use crate::schedule::{Change, Work};
use crate::{Cause, RunRequest};

impl Dispatcher {
    /// Starts what has its turn.
    pub(super) async fn start_all(&mut self, started: Vec<Work>) {
        let mut started = VecDeque::from(started);
        while let Some(work) = started.pop_front() {
            match self.waiting.remove(&work.run) {
                // Its window closed while it waited, or what went before it failed.
                Some((wake, delivery)) if self.is_held(&work.agent) => {
                    self.put_off(&work.agent, wake, delivery);
                    started.extend(self.admission.finished(work.run));
                }
                Some((wake, delivery)) => self.start(work.run, &work.agent, wake, delivery).await,
                None => started.extend(self.admission.finished(work.run)),
            }
        }
    }

    pub(super) async fn start(
        &mut self,
        run: RunId,
        name: &AgentName,
        wake: Wake,
        delivery: Delivery,
    ) {
        let module = match (&self.deployment, self.workers.get(name)) {
            (Some(deployment), Some(worker)) => worker.module(deployment),
            _ => Err("its agent is gone".to_owned()),
        };
        let module = match module {
            Ok(module) => module,
            Err(reason) => {
                let started = self.admission.finished(run);
                // A tick comes again by itself; an event waits for a person who grants what is missing.
                match wake {
                    Wake::Due => self.skip(name, delivery, &reason).await,
                    Wake::Requested(_) | Wake::Event => self.give_up(name, delivery, reason).await,
                }
                return Box::pin(self.start_all(started)).await;
            }
        };
        self.apply(name, Change::Began, Some(&Arc::clone(delivery.event())));
        let Some(worker) = self.workers.get(name) else { return };
        let agent = Arc::clone(&worker.agent);
        let request = request(run, worker, module, &wake, &delivery);
        let (cancel, replaced) = (self.shutdown.child_token(), Arc::new(AtomicBool::new(false)));
        let underway = Underway { cancel: cancel.clone(), replaced: Arc::clone(&replaced) };
        self.running.insert(run, underway);
        let admitted = Admitted { agent, wake, delivery, request, cancel, replaced, stuck: None };
        let (options, sources) = (self.options.clone(), self.sources.clone());
        self.runs.spawn(admitted.carry_out(options, sources, self.stuck.clone()));
    }
}

fn request(
    run: RunId,
    worker: &Worker,
    module: ReadyModule,
    wake: &Wake,
    delivery: &Delivery,
) -> RunRequest {
    let (agent, event) = (worker.agent.name.clone(), delivery.event());
    let (source, id) = (event.source().to_string(), event.id().to_string());
    let dry_run = matches!(wake, Wake::Requested(request) if request.dry_run)
        || (delivery.is_replay() && worker.has_effects());
    let handed_in = (*wake == Wake::Event).then(|| serde_json::from_slice(&event.to_json()).ok());
    RunRequest {
        run,
        idempotency_key: IdempotencyKey::of_event(&agent, &source, &id),
        cause: match wake {
            Wake::Due => Cause::Schedule { agent },
            Wake::Requested(request) => Cause::Requested { agent, by: request.by.clone() },
            Wake::Event => Cause::Event { agent, source, id },
        },
        digest: module.digest,
        manifest: module.manifest,
        grant: module.grant,
        input: input::input(&worker.agent, wake),
        event: handed_in.flatten(),
        // Read by the run's own task.
        state: Value::Null,
        dry_run,
    }
}
