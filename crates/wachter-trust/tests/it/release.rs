use wachter_model::Digest;
use wachter_trust::{
    ReleaseCandidate, ReleaseError, ReleaseStatement, ReleaseTag, TagObject, TagObjectError,
    verify_release,
};

use crate::support::{at, file_key, repository, revoke, sequence_of, statement, tagger, trust};

fn tag(seed: u8, copy: u32, statement: &ReleaseStatement) -> TagObject {
    let first = ReleaseTag::first(statement.sequence);
    let name = (1..copy).fold(first, |name, _| name.next());
    TagObject::sign(statement, name, &tagger(), &mut file_key(seed)).unwrap()
}

type Changes<'a> = &'a [(&'a str, &'a str)];

fn decide(
    tags: &[TagObject],
    paths: &[&str],
    changes: Changes<'_>,
) -> Result<Vec<String>, ReleaseError> {
    let now = at("2026-06-01T00:00:00Z");
    let floor = Some(sequence_of(6));
    let release =
        verify_release(&trust(changes), tags, paths.iter().copied(), now, floor, repository())?;
    Ok(release.signers().iter().map(ToString::to_string).collect())
}

#[test]
fn signers_are_counted_by_path() {
    let seven = statement(7);
    let check = |seeds: &[u8],
                 paths: &[&str],
                 changes: Changes<'_>,
                 expected: Result<&[&str], (Option<&str>, usize, usize)>| {
        let tags: Vec<_> =
            seeds.iter().zip(1..).map(|(seed, copy)| tag(*seed, copy, &seven)).collect();
        match (decide(&tags, paths, changes), expected) {
            (Ok(signers), Ok(expected)) => assert_eq!(signers, expected),
            (Err(ReleaseError::TooFewSigners { path, have, need, .. }), Err(expected)) => {
                assert_eq!((path.as_deref(), have, need), expected, "{seeds:?} {paths:?}");
            }
            (outcome, _) => panic!("{seeds:?} {paths:?}: {outcome:?}"),
        }
    };
    check(&[1], &["config/wachter.yaml"], &[], Ok(&["a"]));
    check(&[1], &["config/x", "modules/a/main.sh"], &[], Err((Some("modules/a/main.sh"), 1, 2)));
    check(&[1], &["modules"], &[], Err((Some("modules"), 1, 2)));
    check(&[1], &["modules-old/x"], &[], Ok(&["a"]));
    check(&[1, 2], &["modules/a/main.sh"], &[], Ok(&["a", "b"]));
    check(&[1, 1], &["modules/a/main.sh"], &[], Err((Some("modules/a/main.sh"), 1, 2)));
    check(&[1, 3], &["modules/a/main.sh"], &[], Err((Some("modules/a/main.sh"), 1, 2)));
    check(&[1, 8], &["modules/a/main.sh"], &[], Err((Some("modules/a/main.sh"), 1, 2)));
    check(&[1], &[], &[("threshold: 1", "threshold: 2")], Err((None, 1, 2)));
    // `c` counts for one folder only.
    let rule =
        ("threshold: 2 }", "threshold: 2 }\n    - { path: data/, threshold: 1, signers: [c] }");
    check(&[1], &["data/x"], &[rule], Err((Some("data/x"), 0, 1)));
    check(&[1, 3], &["data/x"], &[rule], Ok(&["a", "c"]));
    check(&[3], &["data/x"], &[rule], Err((None, 0, 1)));
    // A second key of the same person is not a second person.
    let second_key = format!("a: [{}, {}]", file_key(1).key(), file_key(8).key());
    let first_key = format!("a: {}", file_key(1).key());
    check(&[1, 8], &["modules/x"], &[(&first_key, &second_key)], Err((Some("modules/x"), 1, 2)));
}

trait KeyText {
    fn key(&self) -> String;
}

impl KeyText for wachter_trust::FileKey {
    fn key(&self) -> String {
        wachter_trust::Signer::public_key(self).to_string()
    }
}

#[test]
fn each_refusal_is_its_own() {
    let check = |tags: &[TagObject], changes: Changes<'_>, expected: fn(&ReleaseError) -> bool| {
        let error = decide(tags, &[], changes).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    use ReleaseError as E;
    let seven = statement(7);
    check(&[], &[], |error| matches!(error, E::NoTag));
    check(&[tag(1, 2, &seven)], &[], |error| matches!(error, E::NoTag));
    let other = "00000001-2c8f-4b1d-9d4e-0c7d4f3a2b19".parse().unwrap();
    let elsewhere = ReleaseStatement { repository: other, ..seven.clone() };
    check(&[tag(1, 1, &elsewhere)], &[], |error| matches!(error, E::WrongRepository { .. }));
    check(&[tag(1, 1, &statement(6))], &[], |error| matches!(error, E::NotAboveFloor { .. }));
    let expired = ReleaseStatement { not_after: at("2026-05-31T23:59:59Z"), ..seven.clone() };
    check(&[tag(1, 1, &expired)], &[], |error| matches!(error, E::Expired { .. }));
    let early = ReleaseStatement { ring: "early".parse().unwrap(), ..seven.clone() };
    check(&[tag(1, 1, &early)], &[], |error| matches!(error, E::UnknownRing { .. }));
    let rings = [("threshold: 1", "threshold: 1\n  rings: [stable, early]")];
    assert!(decide(&[tag(1, 1, &early)], &[], &rings).is_ok());
    check(&[tag(8, 1, &seven)], &[], |error| matches!(error, E::UnknownSigner { .. }));
    check(&[tag(3, 1, &seven)], &[], |error| matches!(error, E::NotReleaseSigner { .. }));
    let revoked = revoke(1);
    let changes = [("revoked: []\n", revoked.as_str()), ("threshold: 2", "threshold: 1")];
    check(&[tag(1, 1, &seven)], &changes, |error| matches!(error, E::RevokedSigner { .. }));
    check(&[with(&tag(1, 1, &seven), "A. Lice", "M. Allory")], &[], |error| {
        matches!(error, E::BadSignature { .. })
    });
    let moved = with(&tag(1, 1, &seven), "object 2fd4", "object 0000");
    check(&[moved], &[], |error| matches!(error, E::CommitMismatch { .. }));
    let renamed = with(&tag(1, 1, &seven), "tag wachter/7", "tag wachter/8");
    check(&[renamed], &[], |error| matches!(error, E::TagName { .. }));
    let other = with(&tag(1, 1, &seven), "sequence 7", "sequence 007");
    check(&[other], &[], |error| matches!(error, E::Statement { .. }));
    let (trust, tags) = (trust(&[]), [tag(1, 1, &seven)]);
    let release = ReleaseCandidate::new(&tags).unwrap().who_signed(&trust).unwrap();
    let release = release.enough_for([]).unwrap();
    assert_eq!(release.check_tree(seven.tree), Ok(()));
    assert!(matches!(release.check_tree(Digest::of(b"")), Err(E::TreeMismatch { .. })));
}

fn with(tag: &TagObject, from: &str, to: &str) -> TagObject {
    let text = String::from_utf8(tag.as_bytes().to_vec()).unwrap();
    assert!(text.contains(from));
    TagObject::parse(text.replacen(from, to, 1).as_bytes()).unwrap()
}

/// Whoever can push tags can add one; that must not take a good release away.
#[test]
fn a_bad_further_tag_does_not_block() {
    let seven = statement(7);
    let (first, second) = (tag(1, 1, &seven), tag(2, 2, &seven));
    let other = ReleaseStatement { tree: Digest::of(b"other"), ..seven.clone() };
    for bad in [
        tag(8, 3, &seven),
        tag(2, 3, &other),
        with(&tag(2, 3, &seven), "A. Lice", "M. Allory"),
        with(&tag(2, 3, &seven), "tag wachter/7.3", "tag other"),
    ] {
        let tags = [bad, second.clone(), first.clone()];
        assert_eq!(decide(&tags, &["modules/x"], &[]).unwrap(), ["a", "b"]);
        match decide(&[first.clone(), tags[0].clone()], &["modules/x"], &[]) {
            Err(ReleaseError::TooFewSigners { have: 1, need: 2, not_counted, .. }) => {
                assert_eq!(not_counted.len(), 1);
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn tags_have_one_form() {
    let good = String::from_utf8(tag(1, 1, &statement(7)).as_bytes().to_vec()).unwrap();
    let check = |from: &str, to: &str, expected: TagObjectError| {
        assert!(good.contains(from), "{from}");
        let outcome = TagObject::parse(good.replacen(from, to, 1).as_bytes());
        assert_eq!(outcome.unwrap_err(), expected, "{from} -> {to}");
    };
    use TagObjectError as E;
    check("object 2fd4", "object 2FD4", E::Header("object"));
    check("type commit", "type tree", E::NotOnCommit);
    check("type commit", "type  commit", E::NotOnCommit);
    check("tag wachter/7\n", "", E::Header("tag"));
    check("tagger A", "author A", E::Header("tagger"));
    check("\n\nwachter", "\nextra header\n\nwachter", E::Header("tagger"));
    check("-----BEGIN SSH SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----", E::Unsigned);
    check("A. Lice", "A.\0Lice", E::NotText);
    let twice = format!("{good}{}", &good[good.find("-----BEGIN").unwrap()..]);
    assert!(matches!(TagObject::parse(twice.as_bytes()), Err(E::Signature(_))));
    let mut bad = tagger();
    bad.name = "A\n\ntag x".into();
    let first = ReleaseTag::first(sequence_of(7));
    assert_eq!(TagObject::payload(&statement(7), first, &bad), Err(E::Tagger));
}
