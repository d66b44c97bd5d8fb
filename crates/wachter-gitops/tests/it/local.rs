//! A repository of this machine is judged as a node judges what it fetched.

use wachter_gitops::{ChangeKind, LocalRepository, Refusal, TreeLimits};

use crate::fleet::{Fleet, tree_digest};

fn open(fleet: &Fleet) -> LocalRepository {
    LocalRepository::open(&fleet.origin.path().join(".git/objects"), TreeLimits::default()).unwrap()
}

#[test]
fn the_same_digest_and_the_same_files() {
    let mut fleet = Fleet::new();
    let commit = fleet.release(1);
    fleet.accepts(1);
    let mut local = open(&fleet);
    let snapshot = local.snapshot(commit.parse().unwrap()).unwrap();
    let taken = fleet.node.snapshot(crate::fleet::now()).unwrap().unwrap();
    assert_eq!(snapshot.digest(), taken.digest());
    assert_eq!(snapshot.digest(), tree_digest(&fleet.origin, &commit));
    assert!(snapshot.list("").eq(taken.list("")));
    assert_eq!(snapshot.get("config/wachter.yaml").unwrap().size, 14);
    assert_eq!(snapshot.get("config"), None);
    let file = |path: &str, limit| local.file(commit.parse().unwrap(), path, limit);
    assert_eq!(file("config/wachter.yaml", 14).unwrap().unwrap(), b"interval: 30s\n");
    assert_eq!(file("config/none", 14).unwrap(), None);
    assert!(matches!(file("config/wachter.yaml", 13), Err(Refusal::Tree(_))));
}

#[test]
fn the_same_refusals() {
    type Spoil = fn(&Fleet);
    let cases: [Spoil; 5] = [
        |fleet| std::os::unix::fs::symlink("/etc/passwd", fleet.origin.path().join("l")).unwrap(),
        |fleet| std::os::unix::fs::symlink("x", fleet.origin.path().join("config/l")).unwrap(),
        |fleet| {
            fleet.origin.write("A/x", "").unwrap();
            fleet.origin.write("a/x", "").unwrap();
        },
        |fleet| fleet.origin.write(&format!("{}file", "d/".repeat(40)), "").unwrap(),
        |fleet| fleet.origin.write("back\\slash", "").unwrap(),
    ];
    for (at, spoil) in cases.into_iter().enumerate() {
        let mut fleet = Fleet::new();
        spoil(&fleet);
        let commit = fleet.release(1);
        let local = open(&fleet).snapshot(commit.parse().unwrap()).unwrap_err();
        assert_eq!(local, fleet.refuses(), "case {at}");
        assert!(matches!(local, Refusal::Tree(_)), "case {at}: {local:?}");
    }
}

#[test]
fn descent_tags_and_changes() {
    let fleet = Fleet::new();
    let first = fleet.release(1);
    fleet.origin.write("config/wachter.yaml", "interval: 60s\n").unwrap();
    fleet.origin.write("new", "").unwrap();
    std::fs::remove_file(fleet.origin.path().join("modules/demo/main.sh")).unwrap();
    let second = fleet.release(2);
    let mut local = open(&fleet);
    let (first, second) = (first.parse().unwrap(), second.parse().unwrap());
    assert_eq!(local.check_descent(second, first, 10), Ok(()));
    assert_eq!(
        local.check_descent(first, second, 10),
        Err(Refusal::NotDescended { new: first, old: second })
    );
    let (old, new) = (local.snapshot(first).unwrap(), local.snapshot(second).unwrap());
    let expected = [
        ("config/wachter.yaml".to_owned(), ChangeKind::Changed),
        ("modules/demo/main.sh".to_owned(), ChangeKind::Removed),
        ("new".to_owned(), ChangeKind::Added),
    ];
    assert_eq!(new.changes_since(Some(&old)), expected);
    assert!(new.changes_since(None).iter().all(|(_, kind)| *kind == ChangeKind::Added));
    assert_eq!(new.changes_since(Some(&new)), []);
    let tag = fleet.origin.git(&["rev-parse", "wachter/2"]).unwrap().parse().unwrap();
    assert_eq!(local.tag("wachter/2", tag).unwrap().name(), "wachter/2");
    assert!(matches!(local.tag("wachter/3", tag), Err(Refusal::Renamed { .. })));
    assert!(matches!(local.tag("wachter/2", second), Err(Refusal::Object { .. })));
}

#[test]
fn replacements_change_nothing() {
    let fleet = Fleet::new();
    let commit = fleet.release(1);
    let before = open(&fleet).snapshot(commit.parse().unwrap()).unwrap().digest();
    fleet.origin.write("config/wachter.yaml", "interval: 1s\n").unwrap();
    let other = fleet.origin.commit("other").unwrap();
    fleet.origin.git(&["replace", &commit, &other]).unwrap();
    assert_eq!(open(&fleet).snapshot(commit.parse().unwrap()).unwrap().digest(), before);
}
