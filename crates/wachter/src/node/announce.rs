//! What the node itself does, as events in the journal: the audit trail of releases, configuration
//! and calls.

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_bus::{Bus, Expect, KeyChange};
use wachter_model::{Event, Topic, chain};
use wachter_runtime::Deployment;
use wachter_runtime::dispatch::Sources;

use super::followed::Followed;

/// The node begins its work.
pub(crate) const NODE_STARTED: &str = "node.started";
/// The node ends its work by its own will.
pub(crate) const NODE_STOPPED: &str = "node.stopped";
/// A release came into force.
pub(crate) const RELEASE_ACCEPTED: &str = "release.accepted";
/// A release was refused.
pub(crate) const RELEASE_REFUSED: &str = "release.refused";
/// Another configuration counts.
pub(crate) const CONFIGURATION_CHANGED: &str = "configuration.changed";
/// A configuration was refused, and the one before stays.
pub(crate) const CONFIGURATION_REFUSED: &str = "configuration.refused";
/// Somebody asked the node to change something.
pub(crate) const API_CALLED: &str = "api.called";
/// The environment of a Python module was built.
pub(crate) const ENVIRONMENT_BUILT: &str = "environment.built";
/// The environment of a Python module could not be built.
pub(crate) const ENVIRONMENT_FAILED: &str = "environment.failed";
/// Effects were stopped.
pub(crate) const EFFECTS_FROZEN: &str = "effects.frozen";
/// Effects are let happen again.
pub(crate) const EFFECTS_THAWED: &str = "effects.thawed";

/// The first words of topics that the node alone speaks of.
const OWN: [&str; 10] = [
    "agent",
    "api",
    "bus",
    "configuration",
    "effects",
    "environment",
    "finding",
    "node",
    "release",
    "run",
];

/// Whether the node alone speaks of a topic.
pub(crate) fn is_own(topic: &Topic) -> bool {
    topic.as_str().split('.').next().is_some_and(|first| OWN.contains(&first))
}

/// The bucket of what the node remembers of itself.
const BUCKET: &str = "node";
/// Which deployment was told of last.
const ANNOUNCED: &str = "announced";

/// Puts what the node does into the journal.
#[derive(Clone)]
pub(crate) struct Announcer {
    bus: Bus,
    sources: Sources,
}

impl Announcer {
    pub(crate) const fn new(bus: Bus, sources: Sources) -> Self {
        Self { bus, sources }
    }

    /// Tells of something. That it could not be kept is said in the log: what the node did is done.
    pub(crate) async fn tell(&self, topic: &str, subject: &str, data: &Value) {
        self.publish(topic, subject, data, None).await;
    }

    /// Tells of something that has a name, once, however often it is told.
    pub(crate) async fn tell_once(&self, topic: &str, subject: &str, data: &Value, name: &str) {
        self.publish(topic, subject, data, Some(name)).await;
    }

    /// Tells of a deployment, where the last one that was told of is another: also one of an earlier
    /// life of the node.
    pub(crate) async fn deployed(
        &self,
        followed: &Followed,
        deployment: &Deployment,
        changed: &[String],
    ) {
        let digest = deployment.catalogue.digest();
        let now = json!({ "release": deployment.sequence, "configuration": digest });
        let before = self.bus.key(BUCKET, ANNOUNCED).await.ok().flatten();
        let before: Value =
            before.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
        if before == now {
            return;
        }
        if before["release"] != now["release"] {
            let release = followed.release.as_ref();
            let data = json!({
                "release": deployment.sequence,
                "before": before["release"],
                "commit": release.map(|release| release.commit.to_string()),
                "signers": release.map(|release| &release.signers),
                "held": super::followed::held(deployment),
            });
            self.tell(RELEASE_ACCEPTED, &deployment.sequence.to_string(), &data).await;
        }
        if before["configuration"] != now["configuration"] {
            let data = json!({
                "release": deployment.sequence,
                "digest": digest,
                "before": before["configuration"],
                "changed": changed,
            });
            self.tell(CONFIGURATION_CHANGED, "", &data).await;
        }
        // After the events: who dies in between tells them twice rather than never.
        let change = KeyChange {
            bucket: BUCKET.to_owned(),
            key: ANNOUNCED.to_owned(),
            value: Some(now.to_string().into_bytes()),
            expect: Expect::Anything,
            lasts: None,
        };
        if let Err(error) = self.bus.change_keys(vec![change]).await {
            tracing::error!(target: "journal", "not kept in the journal: {}", chain(&error));
        }
    }

    async fn publish(&self, topic: &str, subject: &str, data: &Value, name: Option<&str>) {
        let kind: Topic = topic.parse().expect("the topics of the node are topics");
        let mut builder =
            Event::builder(self.sources.node(), &kind).time(Timestamp::now()).json(data);
        if !subject.is_empty() {
            builder = builder.subject(subject);
        }
        if let Some(id) = name.and_then(|name| format!("{topic}:{name}").parse().ok()) {
            builder = builder.id(id);
        }
        match builder.build() {
            Ok(event) => {
                if let Err(error) = self.bus.publish(vec![event]).await {
                    tracing::error!(target: "journal", topic, "not kept in the journal: {}", chain(&error));
                }
            }
            Err(error) => {
                tracing::error!(target: "journal", topic, "cannot be an event: {}", chain(&error));
            }
        }
    }
}
