//! `verify: commits`: every commit of the branch is signed.

use wachter_gitops::{Refusal, Verify};
use wachter_trust::{CommitTrustError, PathRule};

use crate::fleet::{Fleet, names};

fn following_main() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.policy.verify = Verify::Commits("main".parse().unwrap());
    fleet
}

#[test]
fn every_commit_counts() {
    let mut fleet = following_main();
    fleet.origin.commit("unsigned beginnings").unwrap();
    assert!(matches!(fleet.refuses(), Refusal::Unsigned { .. }));
    fleet.origin.commit_signed("first", &fleet.alice).unwrap();
    fleet.accepts(1);
    for text in ["a", "b"] {
        fleet.origin.write("config/wachter.yaml", text).unwrap();
        fleet.origin.commit_signed(text, &fleet.alice).unwrap();
    }
    fleet.accepts(2);
    assert_eq!(fleet.content("config/wachter.yaml"), "b");
    // One that is not signed stays in the way, whoever signs on top of it.
    let unsigned = fleet.origin.commit("by a bot").unwrap();
    fleet.origin.commit_signed("on top", &fleet.alice).unwrap();
    let refusal = fleet.refuses();
    assert!(
        matches!(&refusal, Refusal::Unsigned { id, .. } if id.to_string() == unsigned),
        "{refusal:?}"
    );
    fleet.origin.git(&["reset", "-q", "--hard", "HEAD~2"]).unwrap();
    fleet.origin.commit_signed("by mallory", &fleet.mallory).unwrap();
    let refusal = fleet.refuses();
    let unknown =
        matches!(&refusal, Refusal::Untrusted { source: CommitTrustError::UnknownSigner(_), .. });
    assert!(unknown, "{refusal:?}");
    // History does not go back.
    fleet.origin.git(&["reset", "-q", "--hard", "HEAD~2"]).unwrap();
    assert!(matches!(fleet.refuses(), Refusal::NotDescended { .. }));
    fleet.origin.commit_signed("beside", &fleet.alice).unwrap();
    assert!(matches!(fleet.refuses(), Refusal::NotDescended { .. }));
}

#[test]
fn a_merge_is_vouched_for_by_who_merges() {
    let mut fleet = following_main();
    fleet.origin.commit_signed("first", &fleet.alice).unwrap();
    fleet.accepts(1);
    fleet.origin.git(&["checkout", "-q", "-b", "side"]).unwrap();
    fleet.origin.write("config/side.yaml", "x\n").unwrap();
    fleet.origin.commit("unsigned, on the side").unwrap();
    fleet.origin.git(&["checkout", "-q", "main"]).unwrap();
    fleet.origin.git(&["merge", "-q", "--no-ff", "--no-commit", "side"]).unwrap();
    fleet.origin.commit_signed("merge", &fleet.alice).unwrap();
    fleet.accepts(2);
}

#[test]
fn rules_that_commits_cannot_meet() {
    let mut fleet = following_main();
    fleet.draft.releases.signers = names(&["alice", "bob"]);
    let rule = PathRule { path: "modules".into(), threshold: 1, signers: names(&["bob"]) };
    fleet.draft.releases.paths = vec![rule];
    fleet.write_trust();
    fleet.origin.commit_signed("first", &fleet.alice).unwrap();
    assert_eq!(fleet.refuses(), Refusal::PathRule { path: "modules/demo/main.sh".into() });
    fleet.origin.git(&["commit", "-q", "--amend", "--no-gpg-sign", "-m", "x"]).unwrap();
    fleet.origin.commit_signed("first", &fleet.bob).unwrap();
    fleet.accepts(1);
    fleet.origin.write("modules/demo/main.sh", "#!/bin/bash\n").unwrap();
    fleet.origin.commit_signed("second", &fleet.alice).unwrap();
    assert!(matches!(fleet.refuses(), Refusal::PathRule { .. }));
}
