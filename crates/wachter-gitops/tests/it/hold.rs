//! Rolling back, pinning, and bundles.

use wachter_gitops::{HoldError, Repository, Source};

use crate::fleet::{Fleet, now, time};
use crate::support::fetch;

fn three_releases() -> Fleet {
    let mut fleet = Fleet::new();
    for sequence in 1..=3 {
        fleet.origin.write("config/wachter.yaml", format!("release: {sequence}\n")).unwrap();
        fleet.release(sequence);
        fleet.accepts(sequence);
    }
    fleet
}

#[test]
fn a_rollback_holds_until_something_newer_is_released() {
    let mut fleet = three_releases();
    assert_eq!(fleet.node.rollback(None, now()).unwrap(), 2);
    assert_eq!(fleet.content("config/wachter.yaml"), "release: 2\n");
    let again = fleet.sync();
    assert!(again.accepted.is_none() && again.refused.is_empty(), "{again:?}");
    assert_eq!(fleet.node.rollback(None, now()).unwrap(), 1);
    assert!(matches!(fleet.node.rollback(None, now()), Err(HoldError::NothingEarlier)));
    assert!(matches!(fleet.node.rollback(Some(9), now()), Err(HoldError::Unknown { sequence: 9 })));
    fleet.node = Repository::open(fleet.world.path("data")).unwrap();
    assert_eq!(fleet.content("config/wachter.yaml"), "release: 1\n");
    // The floor stayed where it was.
    assert_eq!(fleet.node.state().newest().unwrap().sequence, 3);
    fleet.origin.write("config/wachter.yaml", "release: 4\n").unwrap();
    fleet.release(4);
    fleet.accepts(4);
    assert_eq!(fleet.content("config/wachter.yaml"), "release: 4\n");
    assert!(matches!(fleet.node.unpin(), Err(HoldError::NotHeld)));
}

#[test]
fn a_pin_holds_until_its_date() {
    let mut fleet = three_releases();
    let until = time("2026-06-08T00:00:00Z");
    assert!(matches!(fleet.node.pin(2, now(), now()), Err(HoldError::EndsInPast { .. })));
    fleet.node.pin(2, until, now()).unwrap();
    fleet.origin.write("config/wachter.yaml", "release: 4\n").unwrap();
    fleet.release(4);
    fleet.accepts(4);
    assert_eq!(fleet.content("config/wachter.yaml"), "release: 2\n");
    assert_eq!(fleet.node.state().in_force(until).unwrap().sequence, 4);
    fleet.node.unpin().unwrap();
    assert_eq!(fleet.content("config/wachter.yaml"), "release: 4\n");
}

#[test]
fn a_bundle_goes_through_the_same_checks() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    let bundle = fleet.world.path("fleet.bundle");
    let path = bundle.to_str().unwrap().to_owned();
    let mut job = fleet.job();
    job.source = Source::Bundle(bundle);
    fleet.origin.git(&["bundle", "create", "-q", &path, "wachter/1"]).unwrap();
    fetch(&job).unwrap();
    fleet.node.refresh().unwrap();
    let verdict = fleet.node.accept(&fleet.policy, now()).unwrap();
    assert_eq!(verdict.accepted.unwrap().sequence, 1);
    let commit = fleet.origin.commit("second").unwrap();
    fleet.tag(2, &fleet.statement(2, &commit), &fleet.mallory);
    fleet.origin.git(&["bundle", "create", "-q", &path, "wachter/2", "^wachter/1"]).unwrap();
    fetch(&job).unwrap();
    fleet.node.refresh().unwrap();
    let verdict = fleet.node.accept(&fleet.policy, now()).unwrap();
    assert!(verdict.accepted.is_none() && verdict.refused.len() == 1, "{verdict:?}");
}
