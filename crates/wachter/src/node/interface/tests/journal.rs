use std::collections::BTreeMap;

use wachter_api::shapes::AuditQuery;
use wachter_api::{ExportJournal, ListCheckpoints, Nothing, ProblemKind, VerifyJournal};
use wachter_bus::{Options, SegmentLimits};
use wachter_model::Digest;

use super::site::{Site, refused};

/// A journal of several segments.
async fn site() -> Site {
    let small = |options: Options| Options {
        segment: SegmentLimits { events: 5, ..options.segment },
        ..options
    };
    let site = Site::open(&[], small).await;
    for number in 0..23 {
        site.tell("a.b", serde_json::json!({ "number": number, "b": 1.50 })).await;
    }
    site.node.bus.look_after().await.unwrap();
    site
}

fn part(from: u64, to: u64) -> AuditQuery {
    AuditQuery { from: Some(from), to: Some(to), checkpoint: None }
}

#[tokio::test]
async fn an_export_can_be_checked_by_anybody() {
    let site = site().await;
    let checkpoints = site.node.bus.checkpoints().await.unwrap();
    assert!(checkpoints.len() > 1);
    let verified = site.call::<VerifyJournal>(&AuditQuery::default(), &Nothing {}).await.unwrap();
    assert!(verified.valid, "{verified:?}");
    assert_eq!((verified.first, verified.last, verified.events), (1, 23, 23));
    assert_eq!(verified.journal, site.node.bus.journal());

    let export = async |query: AuditQuery| {
        let mut lines = site.client.stream::<ExportJournal>(&query).await.unwrap();
        let mut records = BTreeMap::new();
        while let Some(record) = lines.next().await.unwrap() {
            records.insert(record.sequence, record);
        }
        records
    };
    let all = export(AuditQuery::default()).await;
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), (1..=23).collect::<Vec<_>>());
    assert_eq!(all[&23].chain, verified.chain, "worked out alike by two");
    for record in all.values() {
        let digest = Digest::of(record.event.get().as_bytes());
        assert_eq!(record.digest, Some(digest), "{} to the byte", record.sequence);
    }
    let listed = site.call::<ListCheckpoints>(&Nothing {}, &Nothing {}).await.unwrap();
    assert_eq!(listed.len(), checkpoints.len());
    for (checkpoint, listed) in checkpoints.iter().zip(listed) {
        assert_eq!((listed.text, listed.dropped), (checkpoint.text(), false));
        assert_eq!((listed.last, listed.events), (checkpoint.last.get(), checkpoint.count));
        let chain = all[&checkpoint.last.get()].chain.unwrap();
        assert_eq!(chain.to_string(), checkpoint.chain.to_string());
    }
    // A part of it has the same values, begun at the checkpoint before.
    let some = export(part(12, 14)).await;
    assert_eq!(some.keys().copied().collect::<Vec<_>>(), [12, 13, 14]);
    for (sequence, record) in some {
        assert_eq!(record.chain, all[&sequence].chain);
    }
}

#[tokio::test]
async fn a_checkpoint_that_was_kept_is_compared() {
    let site = site().await;
    let checkpoint = site.node.bus.checkpoints().await.unwrap().remove(0);
    let verify = async |checkpoint: String| {
        let query = AuditQuery { checkpoint: Some(checkpoint), ..AuditQuery::default() };
        site.call::<VerifyJournal>(&query, &Nothing {}).await
    };
    assert!(verify(checkpoint.text()).await.unwrap().valid);
    let mut other = checkpoint.clone();
    other.chain = other.previous;
    let report = verify(other.text()).await.unwrap();
    assert!(!report.valid);
    assert!(report.corruptions[0].what.contains("handed in"), "{report:?}");
    refused(verify("nothing".to_owned()).await, ProblemKind::Invalid, "line 1");
    let query = AuditQuery { checkpoint: Some(checkpoint.text()), ..AuditQuery::default() };
    let error = site.client.stream::<ExportJournal>(&query).await.unwrap_err();
    assert!(error.to_string().contains("/v1/audit/verify"), "{error}");
}
