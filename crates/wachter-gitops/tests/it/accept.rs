//! What a node accepts, and every reason for which it does not.

use wachter_gitops::{
    AncestryError, LayoutError, OpenError, Refusal, Repository, SnapshotOpenError, StateError,
};
use wachter_model::Digest;
use wachter_trust::{PathRule, ReleaseError, RepositoryId, TrustError};

use crate::fleet::{Fleet, name, names, now, time};

#[test]
fn the_first_release_and_the_next_ones() {
    let mut fleet = Fleet::new();
    let first = fleet.release(1);
    fleet.accepts(1);
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 30s\n");
    let again = fleet.sync();
    assert!(again.accepted.is_none() && again.refused.is_empty(), "{again:?}");

    fleet.origin.write("config/wachter.yaml", "interval: 60s\n").unwrap();
    // Unsigned commits, squash merges and bots on the branch are harmless.
    fleet.origin.commit("by a bot").unwrap();
    assert!(fleet.sync().accepted.is_none());
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 30s\n");
    fleet.release(7);
    fleet.accepts(7);
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 60s\n");

    // A restart knows all of it.
    fleet.node = Repository::open(fleet.world.path("data")).unwrap();
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 60s\n");
    let state = fleet.node.state();
    assert_eq!(state.history.iter().map(|release| release.sequence).collect::<Vec<_>>(), [1, 7]);
    assert_eq!(state.history[0].commit.to_string(), first);
    assert_eq!(state.history[0].signers, ["alice"]);
    assert_eq!(state.trust.unwrap().serial, 1);
}

#[test]
fn a_snapshot_lists_and_reads() {
    let mut fleet = Fleet::new();
    std::os::unix::fs::symlink("config/wachter.yaml", fleet.origin.path().join("link")).unwrap();
    fleet.release(1);
    fleet.accepts(1);
    let snapshot = fleet.node.snapshot(now()).unwrap().unwrap();
    let paths: Vec<&str> = snapshot.list("").map(|file| file.path).collect();
    assert_eq!(
        paths,
        [
            "config/wachter.yaml",
            "link",
            "modules/demo/main.sh",
            "trust/trust.yaml",
            "trust/trust.yaml.sig"
        ]
    );
    assert_eq!(snapshot.list("modules/").map(|file| file.size).collect::<Vec<_>>(), [10]);
    assert_eq!(snapshot.list("x").count(), 0);
    assert!(
        snapshot.read("link").is_err()
            && snapshot.read("config").is_err()
            && snapshot.read("none").is_err()
    );
    let commit = snapshot.commit().to_string();
    assert_eq!(snapshot.digest(), crate::fleet::tree_digest(&fleet.origin, &commit));
    // It is of use in other threads, and after later releases.
    fleet.origin.write("config/wachter.yaml", "changed\n").unwrap();
    fleet.release(2);
    fleet.accepts(2);
    let content =
        std::thread::spawn(move || snapshot.read("config/wachter.yaml")).join().unwrap().unwrap();
    assert_eq!(content, b"interval: 30s\n");
}

#[test]
fn statements_that_do_not_hold() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    fleet.origin.write("config/wachter.yaml", "interval: 60s\n").unwrap();
    let commit = fleet.origin.commit("second").unwrap();
    let good = fleet.statement(2, &commit);
    type Check = fn(&ReleaseError) -> bool;
    let cases: Vec<(_, Check)> = vec![
        (
            wachter_trust::ReleaseStatement {
                repository: RepositoryId::from_random([8; 16]),
                ..good.clone()
            },
            |error| matches!(error, ReleaseError::WrongRepository { .. }),
        ),
        (
            wachter_trust::ReleaseStatement {
                not_after: time("2026-05-31T00:00:00Z"),
                ..good.clone()
            },
            |error| matches!(error, ReleaseError::Expired { .. }),
        ),
        (wachter_trust::ReleaseStatement { tree: Digest::of(b"other"), ..good.clone() }, |error| {
            matches!(error, ReleaseError::TreeMismatch { .. })
        }),
        (
            wachter_trust::ReleaseStatement { ring: "canary".parse().unwrap(), ..good.clone() },
            |error| matches!(error, ReleaseError::UnknownRing { .. }),
        ),
        (
            wachter_trust::ReleaseStatement { sequence: "3".parse().unwrap(), ..good.clone() },
            |error| matches!(error, ReleaseError::TagName { .. }),
        ),
    ];
    for (statement, expected) in cases {
        fleet.tag(2, &statement, &fleet.alice);
        let refusal = fleet.refuses();
        assert!(matches!(&refusal, Refusal::Release(error) if expected(error)), "{refusal:?}");
        fleet.origin.git(&["tag", "-d", "wachter/2"]).unwrap();
    }
    fleet.tag(2, &good, &fleet.alice);
    fleet.accepts(2);
}

#[test]
fn signers_who_do_not_count() {
    let mut fleet = Fleet::new();
    let commit = fleet.origin.commit("first").unwrap();
    let statement = fleet.statement(1, &commit);
    type Check = fn(&Refusal) -> bool;
    let cases: [(&str, Check); 2] = [
        ("mallory", |refusal| {
            matches!(refusal, Refusal::Release(ReleaseError::UnknownSigner { .. }))
        }),
        ("bob", |refusal| {
            matches!(refusal, Refusal::Release(ReleaseError::NotReleaseSigner { .. }))
        }),
    ];
    for (signer, expected) in cases {
        let key = if signer == "bob" { &fleet.bob } else { &fleet.mallory };
        fleet.tag(1, &statement, key);
        let refusal = fleet.refuses();
        assert!(expected(&refusal), "{signer}: {refusal:?}");
        fleet.origin.git(&["tag", "-d", "wachter/1"]).unwrap();
    }
    // A tag without a signature, and one that was signed and then changed.
    fleet.origin.git(&["tag", "-a", "-m", &statement.render(), "wachter/1", &commit]).unwrap();
    assert!(matches!(fleet.refuses(), Refusal::Tag { .. }));
    fleet.origin.git(&["tag", "-d", "wachter/1"]).unwrap();
    fleet.tag(1, &statement, &fleet.alice);
    let tag = fleet.origin.git(&["cat-file", "tag", "wachter/1"]).unwrap() + "\n";
    let forged = tag.replace("2026-12-31", "2036-12-31");
    assert_ne!(tag, forged);
    let id = fleet.origin.store("tag", forged.as_bytes()).unwrap();
    fleet.origin.git(&["update-ref", "refs/tags/wachter/1", &id]).unwrap();
    assert!(matches!(fleet.refuses(), Refusal::Release(ReleaseError::BadSignature { .. })));
}

#[test]
fn a_revoked_key_signs_nothing_any_more() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    fleet.draft.releases.signers = names(&["alice", "bob"]);
    let alice = fleet.alice.clone();
    fleet.revoke(&alice);
    fleet.write_trust();
    fleet.release(2);
    let refusal = fleet.refuses();
    assert!(matches!(refusal, Refusal::Release(ReleaseError::RevokedSigner { .. })), "{refusal:?}");
    // The revocation is remembered although nothing was accepted: an older trust file, in a commit
    // that alice still could sign, does not undo it.
    assert_eq!(fleet.node.state().trust.unwrap().serial, 2);
    fleet.origin.git(&["tag", "-d", "wachter/2"]).unwrap();
    fleet.draft.serial = 1;
    fleet.draft.revocations.clear();
    fleet.draft.releases.signers = names(&["alice"]);
    fleet.write_trust();
    fleet.release(3);
    let refusal = fleet.refuses();
    assert!(matches!(refusal, Refusal::Release(ReleaseError::RevokedSigner { .. })), "{refusal:?}");
    let commit = fleet.origin.git(&["rev-parse", "HEAD"]).unwrap();
    fleet.tag(4, &fleet.statement(4, &commit), &fleet.bob);
    assert_eq!(fleet.sync().accepted.unwrap().trust_serial, 2);
}

#[test]
fn paths_that_take_more_signers() {
    let mut fleet = Fleet::new();
    fleet.draft.releases.signers = names(&["alice", "bob"]);
    let rule = PathRule { path: "modules".into(), threshold: 2, signers: names(&["alice", "bob"]) };
    fleet.draft.releases.paths = vec![rule];
    fleet.write_trust();
    let commit = fleet.release(1);
    let refusal = fleet.refuses();
    let Refusal::Release(ReleaseError::TooFewSigners { path, have: 1, need: 2, .. }) = &refusal
    else {
        panic!("{refusal:?}")
    };
    assert_eq!(path.as_deref(), Some("modules/demo/main.sh"));
    // The same statement, signed by bob too. That mallory signs it as well changes nothing.
    fleet.tag_as("wachter/1.2", &fleet.statement(1, &commit), &fleet.mallory);
    assert!(matches!(fleet.refuses(), Refusal::Release(ReleaseError::TooFewSigners { .. })));
    fleet.tag_as("wachter/1.3", &fleet.statement(1, &commit), &fleet.bob);
    let accepted = fleet.sync().accepted.unwrap();
    assert_eq!(accepted.signers, ["alice", "bob"]);
    // A change elsewhere takes one signer again.
    fleet.origin.write("config/wachter.yaml", "interval: 1h\n").unwrap();
    fleet.release(2);
    fleet.accepts(2);
    // Removing a file is a change.
    std::fs::remove_file(fleet.origin.path().join("modules/demo/main.sh")).unwrap();
    fleet.release(3);
    assert!(matches!(fleet.refuses(), Refusal::Release(ReleaseError::TooFewSigners { .. })));
}

#[test]
fn the_next_lower_release_is_tried() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.release(2);
    let commit = fleet.origin.commit("third").unwrap();
    fleet.tag(3, &fleet.statement(3, &commit), &fleet.mallory);
    let verdict = fleet.sync();
    assert_eq!(verdict.accepted.unwrap().sequence, 2);
    assert_eq!(verdict.refused.len(), 1);
    assert_eq!(verdict.refused[0].sequence, Some(3));
    assert_eq!(
        fleet.node.candidates().iter().map(|candidate| candidate.sequence).collect::<Vec<_>>(),
        [3, 2, 1]
    );
}

#[test]
fn replays_are_noticed() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.origin.write("config/wachter.yaml", "interval: 60s\n").unwrap();
    fleet.release(2);
    fleet.accepts(2);
    // The server goes back to an old state.
    fleet.origin.git(&["tag", "-d", "wachter/2"]).unwrap();
    assert_eq!(fleet.refuses(), Refusal::ServerBehind { highest: 1, floor: 2 });
    // The old release under a new name.
    let old = fleet.origin.git(&["rev-parse", "wachter/1"]).unwrap();
    fleet.origin.git(&["update-ref", "refs/tags/wachter/3", &old]).unwrap();
    let renamed = Refusal::Renamed { reference: "wachter/3".into(), tag: "wachter/1".into() };
    assert_eq!(fleet.refuses(), renamed);
    fleet.origin.git(&["tag", "-d", "wachter/3"]).unwrap();
    // The accepted release's tag on another commit.
    let commit = fleet.origin.git(&["rev-parse", "HEAD~1"]).unwrap();
    fleet.tag(2, &fleet.statement(2, &commit), &fleet.alice);
    assert_eq!(fleet.refuses(), Refusal::Moved { sequence: 2 });
    assert_eq!(fleet.content("config/wachter.yaml"), "interval: 60s\n");
}

#[test]
fn rewritten_history_is_refused() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    fleet.origin.git(&["checkout", "-q", "--orphan", "other"]).unwrap();
    fleet.release(2);
    let refusal = fleet.refuses();
    assert!(matches!(refusal, Refusal::NotDescended { .. }), "{refusal:?}");
    // A merge descends, whichever parent is the first.
    fleet
        .origin
        .git(&["merge", "-q", "-s", "ours", "--allow-unrelated-histories", "-m", "m", "main"])
        .unwrap();
    fleet.release(3);
    let verdict = fleet.sync();
    assert_eq!(verdict.accepted.unwrap().sequence, 3);
}

#[test]
fn the_trust_file_only_goes_up_and_takes_the_roots() {
    let mut fleet = Fleet::new();
    // Signed by someone who is not a root.
    let text = fleet.draft.render().unwrap();
    fleet
        .origin
        .write("trust/trust.yaml.sig", fleet.alice.sign("wachter-trust", text.as_bytes()).unwrap())
        .unwrap();
    fleet.release(1);
    assert!(matches!(fleet.refuses(), Refusal::Trust(TrustError::TooFewRoots { .. })));
    // In the wrong namespace.
    fleet
        .origin
        .write("trust/trust.yaml.sig", fleet.root.sign("git", text.as_bytes()).unwrap())
        .unwrap();
    fleet.release(2);
    assert!(matches!(
        fleet.sync().refused[0].reason,
        Refusal::Trust(TrustError::TooFewRoots { .. })
    ));
    // Missing.
    std::fs::remove_file(fleet.origin.path().join("trust/trust.yaml.sig")).unwrap();
    fleet.release(3);
    assert!(matches!(fleet.sync().refused[0].reason, Refusal::NoTrustFile { .. }));
    fleet.write_trust();
    fleet.release(4);
    assert_eq!(fleet.sync().accepted.unwrap().sequence, 4);
    // The same serial with another content.
    fleet.draft.approvers.insert(name("bob"));
    fleet.write_trust();
    fleet.release(5);
    let refused = fleet.sync().refused;
    assert!(
        matches!(refused[0].reason, Refusal::Trust(TrustError::SameSerial { serial: 1 })),
        "{refused:?}"
    );
    // Expired when it is first seen.
    fleet.draft.serial = 2;
    fleet.draft.not_after = time("2026-05-01T00:00:00Z");
    fleet.write_trust();
    fleet.release(6);
    assert!(matches!(fleet.sync().refused[0].reason, Refusal::Trust(TrustError::Expired { .. })));
    assert_eq!(fleet.node.state().trust.unwrap().serial, 1);
}

#[test]
fn time_does_not_go_back() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    let commit = fleet.origin.commit("second").unwrap();
    let mut statement = fleet.statement(2, &commit);
    statement.not_after = time("2026-03-01T00:00:00Z");
    fleet.tag(2, &statement, &fleet.alice);
    // The node's clock is before the date, but the node has seen June.
    let verdict = fleet.sync_at(time("2026-02-01T00:00:00Z"));
    assert!(
        matches!(verdict.refused[0].reason, Refusal::Release(ReleaseError::Expired { .. })),
        "{verdict:?}"
    );
    // And no clock is before the program was built.
    let mut fresh = Fleet::new();
    let commit = fresh.origin.commit("first").unwrap();
    let mut statement = fresh.statement(1, &commit);
    statement.not_after = time("2025-12-01T00:00:00Z");
    fresh.tag(1, &statement, &fresh.alice);
    let verdict = fresh.sync_at(time("1970-01-02T00:00:00Z"));
    assert!(
        matches!(verdict.refused[0].reason, Refusal::Release(ReleaseError::Expired { .. })),
        "{verdict:?}"
    );
}

#[test]
fn replaced_grafted_and_borrowed_objects_are_refused() {
    for (file, content) in [
        ("refs/replace/0123456789012345678901234567890123456789", "0\n"),
        ("info/grafts", "0\n"),
        ("objects/info/alternates", "/tmp\n"),
        ("shallow", "0\n"),
    ] {
        let mut fleet = Fleet::new();
        fleet.release(1);
        fleet.accepts(1);
        let path = Repository::git_folder(&fleet.world.path("data")).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        assert!(matches!(fleet.node.refresh(), Err(LayoutError::Foreign { .. })), "{file}");
        let opened = Repository::open(fleet.world.path("data"));
        assert!(matches!(opened, Err(OpenError::Layout(LayoutError::Foreign { .. }))), "{file}");
    }
}

#[test]
fn an_object_that_is_damaged_on_disk_is_noticed() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    // A blob under the name of another, as a loose object, which Git would not hash again.
    let folder = Repository::git_folder(&fleet.world.path("data"));
    let evil = fleet.origin.store("blob", b"interval: 1ms!\n").unwrap();
    let good = fleet.origin.git(&["rev-parse", "HEAD:config/wachter.yaml"]).unwrap();
    let loose = fleet.origin.path().join(".git/objects").join(&evil[..2]).join(&evil[2..]);
    let target = folder.join("objects").join(&good[..2]).join(&good[2..]);
    for pack in std::fs::read_dir(folder.join("objects/pack")).unwrap() {
        std::fs::remove_file(pack.unwrap().path()).unwrap();
    }
    // Everything else, as it was.
    for line in fleet.origin.git(&["rev-list", "--objects", "--all"]).unwrap().lines() {
        let id = &line[..40];
        let from = fleet.origin.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
        let to = folder.join("objects").join(&id[..2]).join(&id[2..]);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        if id != good && from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
    // Missing: what is known of its content does not stand in for it.
    let mut node = Repository::open(fleet.world.path("data")).unwrap();
    assert!(matches!(node.snapshot(now()), Err(SnapshotOpenError::Tree(_))));
    // Another blob under its name.
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    std::fs::copy(loose, &target).unwrap();
    let mut node = Repository::open(fleet.world.path("data")).unwrap();
    let snapshot = node.snapshot(now()).unwrap().unwrap();
    let error = snapshot.read("config/wachter.yaml").unwrap_err();
    assert!(matches!(error, wachter_gitops::SnapshotError::Object { .. }), "{error:?}");
    // Without the digests of before, opening it finds out.
    std::fs::remove_file(fleet.world.path("data/contents.sha256")).unwrap();
    let mut node = Repository::open(fleet.world.path("data")).unwrap();
    assert!(node.snapshot(now()).is_err());
}

#[test]
fn a_state_that_is_damaged_is_never_an_empty_one() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    let path = fleet.world.path("data/state.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for (text, damaged) in [
        (String::new(), true),
        (good[..good.len() / 2].to_owned(), true),
        ("{}".to_owned(), true),
        (good.replace("\"version\": 1", "\"version\": 2"), false),
        (
            good.replace(
                "\"pin\": null",
                "\"pin\": {\"sequence\": 9, \"until\": \"2030-01-01T00:00:00Z\"}",
            ),
            true,
        ),
        (good.replace("\"pin\"", "\"pins\""), true),
    ] {
        assert_ne!(text, good);
        std::fs::write(&path, &text).unwrap();
        match Repository::open(fleet.world.path("data")) {
            Err(OpenError::State(StateError::Damaged { .. })) if damaged => {}
            Err(OpenError::State(StateError::Version { found: 2, .. })) if !damaged => {}
            other => panic!("{text}: {other:?}"),
        }
    }
    std::fs::write(&path, &good).unwrap();
    Repository::open(fleet.world.path("data")).unwrap();
    fleet.policy.repository = RepositoryId::from_random([9; 16]);
    let refused = fleet.node.accept(&fleet.policy, now());
    assert!(matches!(refused, Err(StateError::OtherRepository { .. })), "{refused:?}");
}

#[test]
fn rings_that_a_node_does_not_follow() {
    let mut fleet = Fleet::new();
    fleet.draft.releases.rings.insert("canary".parse().unwrap());
    fleet.write_trust();
    let commit = fleet.origin.commit("first").unwrap();
    let mut statement = fleet.statement(1, &commit);
    statement.ring = "canary".parse().unwrap();
    fleet.tag(1, &statement, &fleet.alice);
    fleet.policy.rings = Some(std::iter::once("stable".parse().unwrap()).collect());
    assert_eq!(fleet.refuses(), Refusal::OtherRing("canary".parse().unwrap()));
    fleet.policy.rings = None;
    fleet.accepts(1);
}

#[test]
fn history_is_followed_only_so_far() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    fleet.accepts(1);
    for commit in 0..10 {
        fleet.origin.commit(&format!("{commit}")).unwrap();
    }
    fleet.release(2);
    fleet.policy.history = 5;
    let refusal = fleet.refuses();
    assert!(matches!(refusal, Refusal::Ancestry(AncestryError::TooLong(5))), "{refusal:?}");
    fleet.policy.history = 20;
    fleet.accepts(2);
}

/// More bogus releases than are looked at cost little, and the server can do no worse.
#[test]
fn a_flood_of_bogus_releases_ends() {
    let mut fleet = Fleet::new();
    fleet.release(1);
    let tag = fleet.origin.git(&["rev-parse", "wachter/1"]).unwrap();
    let updates: String =
        (2..1500).map(|sequence| format!("create refs/tags/wachter/{sequence} {tag}\n")).collect();
    fleet.origin.git_with_input(&["update-ref", "--stdin"], updates.as_bytes()).unwrap();
    let verdict = fleet.sync();
    assert!(verdict.accepted.is_none());
    assert_eq!(verdict.refused.len(), 1000);
    assert!(
        verdict.refused.iter().all(|refused| matches!(refused.reason, Refusal::Renamed { .. }))
    );
}
