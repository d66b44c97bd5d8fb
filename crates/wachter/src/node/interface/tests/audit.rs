use std::path::Path;

use serde_json::json;
use wachter_api::shapes::{
    AuditQuery, Change, ChangesQuery, FinishedRun, Freeze, Request, RunsQuery,
};
use wachter_api::{
    FreezeEffects, GetStatus, ListChanges, ListRuns, Nothing, PinRelease, ProblemKind, RecordRun,
    RunAgent, Synchronize, VerifyJournal,
};
use wachter_model::{Event, RunId};
use wachter_trust::{FileKey, Namespace, Signer as _};

use super::site::{Site, record_of, refused};
use crate::node::announce::{CONFIGURATION_CHANGED, RELEASE_ACCEPTED};

#[tokio::test]
async fn who_asked_the_node_to_change_something_is_in_the_journal() {
    let site = Site::with(&[]).await;
    site.get::<GetStatus>().await;
    site.get::<Synchronize>().await;
    let pin = wachter_api::shapes::Pin { sequence: None, until: jiff::Timestamp::UNIX_EPOCH };
    site.call::<PinRelease>(&Nothing {}, &pin).await.unwrap_err();
    let told = site.until_events("api.called", 2).await;
    let told: Vec<_> = told.iter().map(|event| &event.event).collect();
    assert_eq!(told.len(), 2, "what only looks is not told");
    assert_eq!(told[0]["source"], "/nodes/one/node");
    assert_eq!(
        (&told[0]["subject"], &told[0]["data"]["status"]),
        (&json!("Synchronize"), &json!(200))
    );
    assert_eq!(
        (&told[1]["subject"], &told[1]["data"]["status"]),
        (&json!("PinRelease"), &json!(400))
    );
    assert_eq!(told[1]["data"]["path"], "/v1/release/pin");
    assert_eq!(told[1]["data"]["user"], json!(rustix::process::geteuid().as_raw()));
}

#[tokio::test]
async fn a_checkpoint_that_is_handed_in_has_to_be_signed_by_the_node() {
    let site = Site::with(&[]).await;
    let other = tempfile::tempdir().unwrap();
    let text = format!(
        "wachter-journal-checkpoint v1\njournal 0192f3a1-5b7e-4c11-8d2a-0f6d7e1c9b55\nfirst 1\nlast 1\ncount 1\ntime 2026-11-22T10:00:00Z\nprevious {0}\nchain {0}\n",
        "00".repeat(32)
    );
    let signed = |folder: &Path| {
        let path = folder.join("node-key");
        crate::keys::generate(&path, "a node").unwrap();
        let mut key = FileKey::from_openssh(&std::fs::read(&path).unwrap()).unwrap();
        let namespace = Namespace::new("wachter-journal").unwrap();
        text.clone() + &key.sign(namespace, text.as_bytes()).unwrap().to_armor()
    };
    let verify = async |checkpoint: String| {
        let query = AuditQuery { checkpoint: Some(checkpoint), ..AuditQuery::default() };
        site.call::<VerifyJournal>(&query, &Nothing {}).await
    };
    let (own, foreign) = (signed(&site.node.data), signed(other.path()));
    refused(verify(foreign).await, ProblemKind::Refused, "is not this node's");
    let changed = own.replace("last 1", "last 2");
    refused(verify(changed).await, ProblemKind::Refused, "does not hold");
    // It is the node's, or nobody's, and of another journal than this one.
    for genuine in [own, text.clone()] {
        let report = verify(genuine).await.unwrap();
        assert!(report.corruptions[0].what.contains("says otherwise"), "{report:?}");
    }
}

#[tokio::test]
async fn what_was_changed_on_this_host_is_listed() {
    let site = Site::with(&[("worker", "role: monitoring")]).await;
    for act in ["change", "nothing"] {
        let body = Request { input: json!({ "do": act }), dry_run: false };
        site.call_at::<RunAgent>("worker", &Nothing {}, &body).await.unwrap();
    }
    site.until_events("run.finished", 2).await;
    let mut record = record_of(RunId::new(), &json!("ad-hoc"), "succeeded");
    record["changed"] = json!(true);
    site.call::<RecordRun>(&Nothing {}, &FinishedRun { record }).await.unwrap();
    let announcer = &site.node.announcer;
    announcer.tell(RELEASE_ACCEPTED, "7", &json!({ "release": 7, "signers": ["ann"] })).await;
    announcer.tell(CONFIGURATION_CHANGED, "", &json!({ "changed": ["log.level"] })).await;
    let body = Freeze { reason: "an incident".to_owned() };
    site.call::<FreezeEffects>(&Nothing {}, &body).await.unwrap();
    // Somebody else says so: a module may emit what it was granted, under its own name.
    let forged = Event::builder(
        "/nodes/one/agents/evil".parse().unwrap(),
        &"effects.thawed".parse().unwrap(),
    );
    site.node.bus.publish(vec![forged.build().unwrap()]).await.unwrap();
    site.until_events("effects.frozen", 1).await;
    site.until_events("api.called", 4).await;

    let changes =
        async |since| site.call::<ListChanges>(&ChangesQuery { since }, &Nothing {}).await.unwrap();
    let all = changes(None).await;
    let has = |kind: &str, by: &str, what: &str| {
        let found = |change: &&Change| {
            change.kind == kind && change.by.contains(by) && change.what.contains(what)
        };
        assert_eq!(all.iter().filter(found).count(), 1, "{kind} {by} {what}: {all:#?}");
    };
    has("run", "worker, asked by", "probe changed something: it succeeded");
    has("release", "ann", "release 7 came into force");
    has("configuration", "the node", "counts: log.level");
    has("effects", "", "effects were stopped: an incident");
    let runs = site.call::<ListRuns>(&RunsQuery::default(), &Nothing {}).await.unwrap();
    assert_eq!(runs.len(), 3);
    let kinds = |kind: &str| all.iter().filter(|change| change.kind == kind).count();
    assert_eq!((kinds("run"), kinds("command"), kinds("effects")), (2, 2, 1), "{all:#?}");
    assert!(all.is_sorted_by_key(|change| change.sequence));
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    assert!(changes(Some(later)).await.is_empty());
}
