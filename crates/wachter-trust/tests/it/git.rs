use wachter_trust::{
    CommitObject, CommitTrustError, Purpose, ReleaseStatement, ReleaseTag, Signer as _, SignerName,
    TagObject, TreeListing, verify_release,
};

use crate::support::{
    Bench, KEY_KINDS, at, file_key, repository, sequence_of, statement, tagger, trust,
};

/// A repository with one commit, and Git set up to sign with SSH.
fn repository_with_commit(object_format: &str) -> (Bench, String) {
    let bench = Bench::new();
    bench.run(&format!("git init -q --object-format={object_format} ."), b"");
    for (key, value) in [
        ("user.name", "A"),
        ("user.email", "a@example.com"),
        ("gpg.format", "ssh"),
        ("gpg.ssh.allowedSignersFile", "allowed"),
    ] {
        bench.run(&format!("git config {key} {value}"), b"");
    }
    bench.write("file", "content\n");
    bench.run("git add file", b"");
    bench.run("git commit -q -m first", b"");
    let commit = String::from_utf8(bench.run("git rev-parse HEAD", b"")).unwrap();
    (bench, commit.trim_end().to_owned())
}

fn of_commit(commit: &str) -> ReleaseStatement {
    ReleaseStatement { commit: commit.parse().unwrap(), ..statement(1) }
}

#[test]
fn takes_what_git_tag_signs() {
    for object_format in ["sha1", "sha256"] {
        let (bench, commit) = repository_with_commit(object_format);
        let statement = of_commit(&commit);
        bench.write("message", statement.render());
        for (index, kind) in KEY_KINDS.into_iter().enumerate() {
            let name = format!("key{index}");
            let public = bench.keygen(&name, kind);
            bench.run(&format!("git config user.signingKey {name}"), b"");
            bench.run("git tag -f -s -F message wachter/1 HEAD", b"");
            let tag = TagObject::parse(&bench.run("git cat-file tag wachter/1", b"")).unwrap();
            assert_eq!(tag.message(), statement.render(), "{kind}");
            // Of a signer who publishes nothing, and whose key may thus be of any kind.
            let own = file_key(2).public_key().to_string();
            let trust = trust(&[(own.as_str(), public.to_string().as_str())]);
            let now = at("2026-06-01T00:00:00Z");
            let release =
                verify_release(&trust, &[tag], ["file"], now, None, repository()).unwrap();
            assert_eq!(release.statement(), &statement, "{kind}");
            // Git agrees, with the file that is rendered for it.
            bench.write("allowed", trust.allowed_signers(Purpose::Release));
            bench.run("git verify-tag wachter/1", b"");
        }
    }
}

#[test]
fn git_takes_what_is_signed_here() {
    for object_format in ["sha1", "sha256"] {
        let (bench, commit) = repository_with_commit(object_format);
        bench.write("allowed", trust(&[]).allowed_signers(Purpose::Release));
        let tag = ReleaseTag::first(sequence_of(1));
        for (seed, good) in [(1, true), (2, true), (3, false)] {
            let signed =
                TagObject::sign(&of_commit(&commit), tag, &tagger(), &mut file_key(seed)).unwrap();
            let id = bench.run("git hash-object -t tag -w --stdin", signed.as_bytes());
            let id = String::from_utf8(id).unwrap();
            bench.run(&format!("git update-ref refs/tags/wachter/1 {}", id.trim_end()), b"");
            bench.run("git fsck --strict", b"");
            let verified = bench.try_run("git verify-tag wachter/1", b"");
            let told = String::from_utf8_lossy(&verified.stderr).into_owned();
            assert_eq!(verified.status.success(), good, "{seed}: {told}");
            if good {
                let fingerprint = file_key(seed).public_key().fingerprint().to_string();
                assert!(told.contains(&fingerprint), "{told}");
            }
        }
    }
}

/// Signed commits, for those who follow every commit.
#[test]
fn takes_what_git_commit_signs() {
    for object_format in ["sha1", "sha256"] {
        let (bench, first) = repository_with_commit(object_format);
        let trust = trust(&[]);
        bench.write("allowed", trust.allowed_signers(Purpose::Release));
        for (seed, expected) in [(1, Some("a")), (3, None), (8, None)] {
            bench.run("rm -f key", b"");
            bench.write("key", file_key(seed).to_openssh().unwrap().as_bytes());
            bench.run("chmod 600 key", b"");
            bench.run("git config user.signingKey key", b"");
            bench.run(&format!("git reset -q --hard {first}"), b"");
            bench.run("git commit -q -S --allow-empty -m signed", b"");
            let raw = bench.run("git cat-file commit HEAD", b"");
            let commit = CommitObject::parse(&raw).unwrap();
            assert_eq!(commit.parents()[0].as_str(), first);
            let signer = commit.signer(&trust).ok().map(SignerName::as_str);
            assert_eq!(signer, expected, "{object_format} {seed}");
            let theirs = bench.try_run("git verify-commit HEAD", b"");
            assert_eq!(theirs.status.success(), expected.is_some(), "{object_format} {seed}");
            let text = String::from_utf8(raw).unwrap();
            let tampered =
                CommitObject::parse(text.replace("\nsigned", "\nSigned").as_bytes()).unwrap();
            match (tampered.signer(&trust), expected) {
                (Err(CommitTrustError::BadSignature(_)), Some(_)) | (Err(_), None) => {}
                (outcome, _) => panic!("{outcome:?}"),
            }
        }
    }
}

/// A walk by Git itself meets the files in the order that a tree listing wants.
#[test]
fn git_lists_trees_in_listing_order() {
    let (bench, _) = repository_with_commit("sha1");
    for path in ["a-b", "a/b", "a.b", "a0", "a/b0/c", "a/b.c", "é", "Z"] {
        let path = bench.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    bench.run("git add .", b"");
    bench.run("git commit -q -m more", b"");
    let listed = String::from_utf8(bench.run("git ls-tree -r -z --name-only HEAD", b"")).unwrap();
    let mut listing = TreeListing::new();
    for path in listed.split_terminator('\0') {
        listing
            .push(wachter_trust::FileMode::Regular, wachter_model::Digest::of(b"x"), path)
            .unwrap();
    }
    assert_eq!(listed.matches('\0').count(), 9);
}
