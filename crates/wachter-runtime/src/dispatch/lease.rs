//! Which node's schedule counts, for agents with `scope: fleet`: whoever holds the agent's lease, a key
//! with a time to live.
//!
//! A node takes the leases that are free, renews its own three times in their life, and gives them back
//! when it stops. It goes on from where the times of the agent stand in the journal, not from where it
//! thinks they do. Should two nodes hold a lease at one time, since a clock jumped, their ticks still
//! have the same names, and are the same events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wachter_bus::{Expect, KeyChange, KeyError};
use wachter_config::{Agent, Scope};
use wachter_model::{AgentName, NodeName};

use super::Dispatcher;
use super::outbox::TIMES_BUCKET;

/// The bucket of leases, by agent.
const BUCKET: &str = "agent-leases";
/// How long a lease lasts.
const LASTS: Duration = Duration::from_secs(60);
/// How often leases are renewed, and asked for.
const RENEW: Duration = Duration::from_secs(20);

/// The leases that this node has.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<AgentName, Lease>);

#[derive(Clone, Copy, Debug)]
struct Lease {
    revision: u64,
    /// Until when it is ours for certain.
    until: Duration,
}

/// What others read.
#[derive(Serialize, Deserialize)]
struct Holder {
    node: NodeName,
}

impl Leases {
    /// Whether the agent's schedule is this node's to keep.
    pub(super) fn has(&self, agent: &Agent) -> bool {
        agent.scope == Scope::Node || self.0.contains_key(&agent.name)
    }
}

impl Dispatcher {
    /// Renews the leases that it has, and takes those that are free.
    pub(super) async fn hold_leases(&mut self) {
        self.beats.lease = self.options.clock.elapsed() + RENEW;
        let needed = |agent: &Agent| agent.scope == Scope::Fleet && agent.on.schedule.is_some();
        let agents = self.workers.iter().filter(|(_, worker)| needed(&worker.agent));
        let names: Vec<AgentName> = agents.map(|(name, _)| name.clone()).collect();
        let (ours, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| self.leases.0.contains_key(name));
        if !ours.is_empty() {
            self.renew(ours).await;
        }
        for name in others {
            self.take_lease(&name).await;
        }
    }

    async fn renew(&mut self, names: Vec<AgentName>) {
        let expect = |name: &AgentName| {
            self.leases.0.get(name).map_or(Expect::Absent, |lease| Expect::Revision(lease.revision))
        };
        let changes: Vec<_> =
            names.iter().map(|name| self.lease_change(name, expect(name), true)).collect();
        let until = self.options.clock.elapsed() + LASTS;
        match self.options.bus.change_keys(changes.clone()).await {
            Ok(revisions) => {
                for (name, revision) in names.into_iter().zip(revisions) {
                    self.leases.0.insert(name, Lease { revision, until });
                }
            }
            // One that ran out, or was taken, keeps all from being renewed together.
            Err(KeyError::Conflict(_)) => {
                for (name, change) in names.into_iter().zip(changes) {
                    match self.options.bus.change_keys(vec![change]).await {
                        Ok(revisions) => {
                            let revision = revisions.first().copied().unwrap_or_default();
                            self.leases.0.insert(name, Lease { revision, until });
                        }
                        Err(KeyError::Conflict(_)) => {
                            self.lose_lease(&name);
                            self.take_lease(&name).await;
                        }
                        Err(KeyError::Write(_)) => {}
                    }
                }
            }
            Err(KeyError::Write(_)) => {
                let now = self.options.clock.elapsed();
                let over = |name: &&AgentName| {
                    self.leases.0.get(*name).is_some_and(|lease| lease.until <= now)
                };
                let over: Vec<AgentName> = names.iter().filter(over).cloned().collect();
                over.iter().for_each(|name| self.lose_lease(name));
            }
        }
    }

    /// Takes a lease that is free, or that an earlier life of this node left.
    async fn take_lease(&mut self, name: &AgentName) {
        let Ok(found) = self.options.bus.key(BUCKET, name.as_str()).await else { return };
        let expect = match found {
            None => Expect::Absent,
            Some(entry) => match serde_json::from_slice::<Holder>(&entry.value) {
                Ok(holder) if holder.node != self.options.node => return,
                _ => Expect::Revision(entry.revision),
            },
        };
        let until = self.options.clock.elapsed() + LASTS;
        let change = self.lease_change(name, expect, true);
        let Ok(revisions) = self.options.bus.change_keys(vec![change]).await else { return };
        let Ok(times) = self.options.bus.key(TIMES_BUCKET, name.as_str()).await else { return };
        let revision = revisions.first().copied().unwrap_or_default();
        self.leases.0.insert(name.clone(), Lease { revision, until });
        // Others may have been at it since this node last was.
        self.timetable.forget(name);
        let times = times.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        self.declare_times(name, times);
        match self.workers.get(name).is_some_and(|worker| worker.pause.is_some()) {
            true => drop(self.timetable.pause(name)),
            false => drop(self.timetable.resume(name, self.options.clock.now())),
        }
        self.outbox.keep_times(name);
    }

    fn lose_lease(&mut self, name: &AgentName) {
        self.leases.0.remove(name);
        self.timetable.forget(name);
    }

    /// Gives a lease back, if it has it.
    pub(super) async fn release_lease(&mut self, name: &AgentName) {
        if let Some(lease) = self.leases.0.remove(name) {
            let change = self.lease_change(name, Expect::Revision(lease.revision), false);
            // What is not given back runs out.
            let _ = self.options.bus.change_keys(vec![change]).await;
        }
    }

    /// Gives all leases back.
    pub(super) async fn release_leases(&mut self) {
        let names: Vec<AgentName> = self.leases.0.keys().cloned().collect();
        for name in names {
            self.release_lease(&name).await;
        }
    }

    fn lease_change(&self, name: &AgentName, expect: Expect, hold: bool) -> KeyChange {
        let holder = Holder { node: self.options.node.clone() };
        KeyChange {
            bucket: BUCKET.to_owned(),
            key: name.to_string(),
            value: if hold { serde_json::to_vec(&holder).ok() } else { None },
            expect,
            lasts: hold.then_some(LASTS),
        }
    }
}
