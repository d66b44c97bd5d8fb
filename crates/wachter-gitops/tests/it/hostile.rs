//! Trees that no `git add` would make. Alice signs each of them: it is the tree that is refused.

use wachter_gitops::{HostileTree, NameError, Refusal, TreeError, TreeLimits};
use wachter_model::Digest;
use wachter_testkit::TreeEntry;
use wachter_trust::ReleaseStatement;

use crate::fleet::Fleet;

/// A fleet, and what a hostile tree is made of.
struct Bench {
    fleet: Fleet,
    trust: String,
    blob: String,
    sequence: u64,
}

impl Bench {
    fn new() -> Self {
        let fleet = Fleet::new();
        fleet.origin.commit("first").unwrap();
        let trust = fleet.origin.git(&["rev-parse", "HEAD:trust"]).unwrap();
        let blob = fleet.origin.store("blob", b"x\n").unwrap();
        Self { fleet, trust, blob, sequence: 0 }
    }

    fn tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let entries: Vec<TreeEntry<'_>> =
            entries.iter().map(|(mode, id, name)| TreeEntry { mode, id, name }).collect();
        self.fleet.origin.make_tree(&entries).unwrap()
    }

    /// A tree with the trust file and, before it, one folder of this tree.
    fn below(&self, tree: &str) -> String {
        self.tree(&[("40000", tree, b"dir"), ("40000", &self.trust, b"trust")])
    }

    /// Releases a tree and says why it is refused.
    fn refuse(&mut self, tree: &str) -> Refusal {
        self.sequence += 1;
        let commit = self.fleet.origin.make_commit(tree, &[]).unwrap();
        let statement = ReleaseStatement {
            repository: crate::fleet::repository_id(),
            sequence: self.sequence.to_string().parse().unwrap(),
            commit: commit.parse().unwrap(),
            tree: Digest::of(b""),
            not_after: crate::fleet::time("2026-12-31T00:00:00Z"),
            ring: wachter_trust::Ring::default(),
            previous: None,
        };
        self.fleet.tag(self.sequence, &statement, &self.fleet.alice);
        let verdict = self.fleet.sync();
        assert!(verdict.accepted.is_none());
        verdict.refused[0].reason.clone()
    }

    fn refuse_tree(&mut self, tree: &str) -> HostileTree {
        match self.refuse(tree) {
            Refusal::Tree(hostile) => hostile,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn names() {
    let mut bench = Bench::new();
    for (name, expected) in [
        (&b".."[..], NameError::Dots),
        (b".", NameError::Dots),
        (b".git", NameError::Git),
        (b".GIT", NameError::Git),
        (b"git~1", NameError::Git),
        (b".git ", NameError::Git),
        (".g\u{200c}it".as_bytes(), NameError::Git),
        (b"a/b", NameError::Character),
        (b"a\\b", NameError::Character),
        (b"a\nb", NameError::Character),
        (b"a\xff", NameError::NotText),
        (&[b'a'; 300], NameError::TooLong),
    ] {
        let tree = bench.tree(&[("100644", &bench.blob, name)]);
        let hostile = bench.refuse_tree(&bench.below(&tree));
        assert!(
            matches!(&hostile, HostileTree::Name { source, .. } if *source == expected),
            "{name:?}: {hostile:?}"
        );
    }
}

#[test]
fn order_repetition_and_case() {
    let mut bench = Bench::new();
    let blob = bench.blob.clone();
    let folder = bench.tree(&[("100644", &blob, b"x")]);
    type Entries<'a> = &'a [(&'a str, &'a str, &'a [u8])];
    let malformed: [(Entries<'_>, TreeError); 5] = [
        (&[("100644", &blob, b"b"), ("100644", &blob, b"a")], TreeError::Order),
        (&[("100644", &blob, b"a"), ("100644", &blob, b"a")], TreeError::Repeated),
        (
            &[("100644", &blob, b"a"), ("100644", &blob, b"a-"), ("40000", &folder, b"a")],
            TreeError::Repeated,
        ),
        (&[("100664", &blob, b"a")], TreeError::Mode("100664".into())),
        (&[("040000", &folder, b"a")], TreeError::Mode("040000".into())),
    ];
    for (entries, expected) in malformed {
        let tree = bench.tree(entries);
        let hostile = bench.refuse_tree(&bench.below(&tree));
        assert!(
            matches!(&hostile, HostileTree::Malformed { source, .. } if *source == expected),
            "{hostile:?}"
        );
    }
    let clashes: [Entries<'_>; 3] = [
        &[("100644", &blob, b"README"), ("100644", &blob, b"readme")],
        &[("100644", &blob, "e\u{301}".as_bytes()), ("100644", &blob, "\u{c9}".as_bytes())],
        &[("40000", &folder, b"Lib"), ("100644", &blob, b"lib")],
    ];
    for entries in clashes {
        let tree = bench.tree(entries);
        let hostile = bench.refuse_tree(&bench.below(&tree));
        assert!(matches!(hostile, HostileTree::CaseClash { .. }), "{hostile:?}");
    }
}

#[test]
fn links_and_submodules() {
    let mut bench = Bench::new();
    for target in ["/etc/passwd", "..", "../../x", "a/../../../x", "", ".git/config", "a\\b"] {
        let link = bench.fleet.origin.store("blob", target.as_bytes()).unwrap();
        let trust = ("40000", bench.trust.as_str(), &b"trust"[..]);
        let tree = bench.tree(&[("120000", &link, b"link")]);
        let root = match target {
            // Within a folder this would still be inside.
            ".." => bench.tree(&[("120000", &link, b"link"), trust]),
            _ => bench.below(&tree),
        };
        let hostile = bench.refuse_tree(&root);
        assert!(matches!(hostile, HostileTree::Link { .. }), "{target:?}: {hostile:?}");
    }
    let inner = bench.fleet.origin.store("blob", b"x").unwrap();
    for folder in [&b"config"[..], b"modules", b"Modules"] {
        let tree = bench.tree(&[("120000", &inner, b"link")]);
        let root = bench.tree(&[("40000", &tree, folder), ("40000", &bench.trust, b"trust")]);
        let hostile = bench.refuse_tree(&root);
        assert!(matches!(hostile, HostileTree::Link { .. }), "{folder:?}: {hostile:?}");
    }
    let commit = bench.fleet.origin.git(&["rev-parse", "HEAD"]).unwrap();
    let tree = bench.tree(&[("160000", &commit, b"sub")]);
    let hostile = bench.refuse_tree(&bench.below(&tree));
    assert_eq!(hostile, HostileTree::Submodule { path: "dir/sub".into() });
}

#[test]
fn deep_and_huge() {
    let mut bench = Bench::new();
    let limits =
        TreeLimits { entries: 60, depth: 10, file_bytes: 5000, total_bytes: 8000, path_bytes: 100 };
    bench.fleet.policy.limits = limits;
    let blob = bench.blob.clone();
    let mut deep = bench.tree(&[("100644", &blob, b"x")]);
    for _ in 0..12 {
        deep = bench.tree(&[("40000", &deep, b"d")]);
    }
    let mut long = bench.tree(&[("100644", &blob, b"x")]);
    for _ in 0..2 {
        long = bench.tree(&[("40000", &long, &[b'd'; 60])]);
    }
    let names: Vec<String> = (100..200).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &str, &[u8])> =
        names.iter().map(|name| ("100644", blob.as_str(), name.as_bytes())).collect();
    let many = bench.tree(&many);
    let large = bench.fleet.origin.store("blob", &[b'x'; 5001]).unwrap();
    let large = bench.tree(&[("100644", &large, b"x")]);
    let half = bench.fleet.origin.store("blob", &[b'x'; 4500]).unwrap();
    let heavy = bench.tree(&[("100644", &half, b"a"), ("100644", &half, b"b")]);
    for (tree, expected) in [
        (deep, "folders within folders"),
        (long, "bytes in a path"),
        (many, "entries"),
        (heavy, "bytes in all files"),
    ] {
        let hostile = bench.refuse_tree(&bench.below(&tree));
        assert!(
            matches!(hostile, HostileTree::TooMuch { what, .. } if what == expected),
            "{expected}: {hostile:?}"
        );
    }
    let hostile = bench.refuse_tree(&bench.below(&large));
    assert!(matches!(hostile, HostileTree::Object { .. }), "{hostile:?}");
}

/// A tree that doubles at every level has few objects and very many files.
#[test]
fn trees_that_multiply() {
    let mut bench = Bench::new();
    let blob = bench.blob.clone();
    let mut tree = bench.tree(&[("100644", &blob, b"x")]);
    for _ in 0..30 {
        tree = bench.tree(&[("40000", &tree, b"a"), ("40000", &tree, b"b")]);
    }
    let hostile = bench.refuse_tree(&bench.below(&tree));
    assert!(matches!(hostile, HostileTree::TooMuch { what: "entries", .. }), "{hostile:?}");
}
