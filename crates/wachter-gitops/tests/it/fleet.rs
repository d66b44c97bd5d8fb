//! A managed repository with people who sign, and the node that follows it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use wachter_gitops::{Job, Policy, Refusal, Repository, Source, Verdict, Verify};
use wachter_model::Digest;
use wachter_testkit::{GitRepository, SshKey};
use wachter_trust::{
    ReleaseStatement, RepositoryId, Revocation, Ring, Roots, SignerName, TrustDraft,
};

use crate::support::{World, fetch};

pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) origin: GitRepository,
    pub(crate) root: SshKey,
    pub(crate) alice: SshKey,
    pub(crate) bob: SshKey,
    pub(crate) mallory: SshKey,
    pub(crate) draft: TrustDraft,
    pub(crate) node: Repository,
    pub(crate) policy: Policy,
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    time("2026-06-01T00:00:00Z")
}

pub(crate) fn repository_id() -> RepositoryId {
    RepositoryId::from_random([7; 16])
}

impl Fleet {
    /// A repository with a trust file, and nothing released: alice may sign, bob is known.
    pub(crate) fn new() -> Self {
        let world = World::new();
        let origin = GitRepository::init(world.path("fleet")).unwrap();
        let key = |name| SshKey::generate(world.folder.path(), name).unwrap();
        let (root, alice, bob, mallory) = (key("root"), key("alice"), key("bob"), key("mallory"));
        let mut draft = TrustDraft::of_one(
            repository_id(),
            name("alice"),
            alice.public().parse().unwrap(),
            time("2027-01-01T00:00:00Z"),
        );
        draft.signers.insert(name("bob"), vec![bob.public().parse().unwrap()]);
        let node = Repository::open(world.path("data")).unwrap();
        let roots = Roots::new(1, [root.public().parse().unwrap()]).unwrap();
        let policy = Policy::new(roots, repository_id(), time("2026-01-01T00:00:00Z"));
        let fleet = Self { world, origin, root, alice, bob, mallory, draft, node, policy };
        fleet.write_trust();
        fleet.origin.write("config/wachter.yaml", "interval: 30s\n").unwrap();
        fleet.origin.write("modules/demo/main.sh", "#!/bin/sh\n").unwrap();
        fleet
    }

    pub(crate) fn write_trust(&self) {
        let text = self.draft.render().unwrap();
        let signature = self.root.sign("wachter-trust", text.as_bytes()).unwrap();
        self.origin.write("trust/trust.yaml", text).unwrap();
        self.origin.write("trust/trust.yaml.sig", signature).unwrap();
    }

    /// Commits what changed and releases it, signed by alice.
    pub(crate) fn release(&self, sequence: u64) -> String {
        let commit = self.origin.commit(&format!("release {sequence}")).unwrap();
        self.tag(sequence, &self.statement(sequence, &commit), &self.alice);
        commit
    }

    pub(crate) fn statement(&self, sequence: u64, commit: &str) -> ReleaseStatement {
        ReleaseStatement {
            repository: repository_id(),
            sequence: sequence.to_string().parse().unwrap(),
            commit: commit.parse().unwrap(),
            tree: tree_digest(&self.origin, commit),
            not_after: time("2026-12-31T00:00:00Z"),
            ring: Ring::default(),
            previous: None,
        }
    }

    pub(crate) fn tag(&self, sequence: u64, statement: &ReleaseStatement, key: &SshKey) {
        self.tag_as(&format!("wachter/{sequence}"), statement, key);
    }

    pub(crate) fn tag_as(&self, tag: &str, statement: &ReleaseStatement, key: &SshKey) {
        self.origin.tag_signed(tag, statement.commit.as_str(), &statement.render(), key).unwrap();
    }

    pub(crate) fn job(&self) -> Job {
        let mut job = self.world.job(self.origin.path().to_str().unwrap());
        job.repository = Repository::git_folder(&self.world.path("data"));
        if let Verify::Commits(branch) = &self.policy.verify {
            job.branch = Some(branch.clone());
        }
        assert!(matches!(job.source, Source::Remote(_)));
        job
    }

    /// What the node does at every poll.
    pub(crate) fn sync(&mut self) -> Verdict {
        self.sync_at(now())
    }

    pub(crate) fn sync_at(&mut self, now: Timestamp) -> Verdict {
        fetch(&self.job()).unwrap();
        self.node.refresh().unwrap();
        self.node.accept(&self.policy, now).unwrap()
    }

    /// Syncs, and expects that this is accepted and nothing is refused.
    pub(crate) fn accepts(&mut self, sequence: u64) {
        let verdict = self.sync();
        assert_eq!(verdict.refused, []);
        assert_eq!(verdict.accepted.map(|release| release.sequence), Some(sequence));
    }

    /// Syncs, and expects that nothing new is accepted and exactly one thing is refused.
    pub(crate) fn refuses(&mut self) -> Refusal {
        let before = self.node.state().in_force(now()).cloned();
        let mut verdict = self.sync();
        assert_eq!(verdict.accepted, None);
        assert_eq!(verdict.refused.len(), 1, "{:?}", verdict.refused);
        assert_eq!(self.node.state().in_force(now()).cloned(), before);
        verdict.refused.remove(0).reason
    }

    /// The content of a file of the release in force.
    pub(crate) fn content(&mut self, path: &str) -> String {
        let snapshot = self.node.snapshot(now()).unwrap().unwrap();
        String::from_utf8(snapshot.read(path).unwrap()).unwrap()
    }

    pub(crate) fn revoke(&mut self, key: &SshKey) {
        let key: wachter_trust::PublicKey = key.public().parse().unwrap();
        self.draft.serial += 1;
        let since = time("2026-05-01T00:00:00Z");
        let revocation =
            Revocation { fingerprint: key.fingerprint(), reason: "lost".into(), since };
        self.draft.revocations.push(revocation);
    }
}

pub(crate) fn name(text: &str) -> SignerName {
    text.parse().unwrap()
}

pub(crate) fn names(texts: &[&str]) -> BTreeSet<SignerName> {
    texts.iter().map(|text| name(text)).collect()
}

/// The digest of a tree by its definition, computed with `git` and nothing of the crate under test.
pub(crate) fn tree_digest(origin: &GitRepository, commit: &str) -> Digest {
    let listing = origin.git_with_input(&["ls-tree", "-r", "-z", commit], b"").unwrap();
    let mut text = b"wachter-tree v1\0".to_vec();
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).unwrap();
        let (head, path) = line.split_once('\t').unwrap();
        let words: Vec<&str> = head.split(' ').collect();
        let content = origin.git_with_input(&["cat-file", "blob", words[2]], b"").unwrap();
        text.extend(format!("{} {} {path}\0", words[0], Digest::of(&content)).into_bytes());
    }
    Digest::of(&text)
}
