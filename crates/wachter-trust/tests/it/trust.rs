use wachter_trust::{
    Namespace, PreviousTrust, Roots, RootsError, Signer as _, TrustError, TrustFile,
    TrustFileProblem,
};

use crate::support::{Bench, at, file_key, repository, revoke, roots, sign_all, trust_text};

/// One decision; the defaults are a good file at a good time.
struct Case<'a> {
    roots: Roots,
    previous: PreviousTrust<'a>,
    text: String,
    signers: &'a [u8],
    now: &'a str,
}

impl Case<'_> {
    fn new() -> Self {
        Self {
            roots: roots(1, &[9]),
            previous: PreviousTrust::None,
            text: trust_text(2, &[]),
            signers: &[9],
            now: "2026-06-01T00:00:00Z",
        }
    }

    fn decide(&self) -> Result<TrustFile, TrustError> {
        let signatures = sign_all(self.signers, Namespace::TRUST, self.text.as_bytes());
        TrustFile::accept(
            &self.roots,
            self.previous,
            self.text.as_bytes(),
            &signatures,
            at(self.now),
        )
    }

    fn check(&self, expected: Option<fn(&TrustError) -> bool>) {
        match (self.decide(), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(expected(&error), "{error:?}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
}

#[test]
fn roots_decide() {
    let few: fn(&TrustError) -> bool = |error| matches!(error, TrustError::TooFewRoots { .. });
    Case::new().check(None);
    Case { signers: &[8], ..Case::new() }.check(Some(few));
    Case { signers: &[1, 2, 9], ..Case::new() }.check(None);
    let two = || Case { roots: roots(2, &[7, 8, 9]), ..Case::new() };
    two().check(Some(few));
    Case { signers: &[9, 9], ..two() }.check(Some(few));
    Case { signers: &[9, 7], ..two() }.check(None);
    // A root that the file itself revokes does not count, and neither does one revoked before.
    let text = trust_text(3, &[("revoked: []\n", &revoke(9))]);
    Case { text: text.clone(), ..Case::new() }.check(Some(few));
    Case { text: text.clone(), signers: &[7, 9], ..two() }.check(Some(few));
    Case { text: text.clone(), signers: &[7, 8], ..two() }.check(None);
    let previous = TrustFile::parse(text.as_bytes()).unwrap();
    Case {
        previous: PreviousTrust::File(&previous),
        text: trust_text(4, &[]),
        signers: &[7, 9],
        ..two()
    }
    .check(Some(few));
}

/// Nothing inside a file is looked at before enough roots have signed it.
#[test]
fn signatures_come_before_content() {
    let garbage = || Case { text: "version: [".into(), ..Case::new() };
    Case { signers: &[8], ..garbage() }
        .check(Some(|error| matches!(error, TrustError::TooFewRoots { .. })));
    garbage().check(Some(|error| matches!(error, TrustError::File(_))));
}

#[test]
fn only_for_its_namespace() {
    let text = trust_text(1, &[]);
    for (namespace, good) in
        [(Namespace::TRUST, true), (Namespace::MODULE, false), (Namespace::GIT, false)]
    {
        let signatures = sign_all(&[9], namespace, text.as_bytes());
        let now = at("2026-06-01T00:00:00Z");
        let outcome = TrustFile::accept(
            &roots(1, &[9]),
            PreviousTrust::None,
            text.as_bytes(),
            &signatures,
            now,
        );
        assert_eq!(outcome.is_ok(), good, "{namespace}");
    }
}

#[test]
fn only_upward() {
    let first = TrustFile::parse(trust_text(2, &[]).as_bytes()).unwrap();
    let after = |text: String| Case { previous: PreviousTrust::File(&first), text, ..Case::new() };
    after(trust_text(2, &[])).check(None);
    after(trust_text(3, &[])).check(None);
    after(trust_text(1, &[]))
        .check(Some(|error| matches!(error, TrustError::SerialBelowFloor { found: 1, floor: 2 })));
    let other = trust_text(2, &[("web-*", "db-*")]);
    after(other.clone()).check(Some(|error| matches!(error, TrustError::SameSerial { serial: 2 })));
    let floor = PreviousTrust::Floor { serial: 2, digest: first.digest() };
    Case { previous: floor, ..Case::new() }.check(None);
    Case { previous: floor, text: other, ..Case::new() }
        .check(Some(|error| matches!(error, TrustError::SameSerial { .. })));
}

#[test]
fn revocations_only_grow() {
    let first =
        TrustFile::parse(trust_text(2, &[("revoked: []\n", &revoke(3))]).as_bytes()).unwrap();
    let after = |text: String| Case { previous: PreviousTrust::File(&first), text, ..Case::new() };
    after(trust_text(3, &[]))
        .check(Some(|error| matches!(error, TrustError::RevocationRemoved(_))));
    after(trust_text(3, &[("revoked: []\n", &revoke(4))]))
        .check(Some(|error| matches!(error, TrustError::RevocationRemoved(_))));
    let both = revoke(3) + revoke(4).strip_prefix("revoked:\n").unwrap();
    after(trust_text(3, &[("revoked: []\n", &both)])).check(None);
}

#[test]
fn time_counts_at_first_acceptance() {
    let late = "2027-01-01T00:00:01Z";
    Case { now: "2027-01-01T00:00:00Z", ..Case::new() }.check(None);
    Case { now: late, ..Case::new() }
        .check(Some(|error| matches!(error, TrustError::Expired { .. })));
    let known = TrustFile::parse(trust_text(2, &[]).as_bytes()).unwrap();
    Case { now: late, previous: PreviousTrust::File(&known), ..Case::new() }.check(None);
    Case {
        now: late,
        previous: PreviousTrust::File(&known),
        text: trust_text(3, &[]),
        ..Case::new()
    }
    .check(Some(|error| matches!(error, TrustError::Expired { .. })));
}

#[test]
fn repository_stays() {
    let elsewhere = ("6f6b1a0e", "00000001");
    let wrong: fn(&TrustError) -> bool =
        |error| matches!(error, TrustError::WrongRepository { .. });
    let known = TrustFile::parse(trust_text(2, &[]).as_bytes()).unwrap();
    Case {
        previous: PreviousTrust::File(&known),
        text: trust_text(3, &[elsewhere]),
        ..Case::new()
    }
    .check(Some(wrong));
    Case { roots: roots(1, &[9]).for_repository(repository()), ..Case::new() }.check(None);
    Case {
        roots: roots(1, &[9]).for_repository(repository()),
        text: trust_text(3, &[elsewhere]),
        ..Case::new()
    }
    .check(Some(wrong));
}

#[test]
fn roots_must_be_reachable() {
    let key = |seed| file_key(seed).public_key().clone();
    assert_eq!(Roots::new(0, [key(1)]), Err(RootsError::Threshold { threshold: 0, keys: 1 }));
    assert_eq!(Roots::new(2, [key(1)]), Err(RootsError::Threshold { threshold: 2, keys: 1 }));
    assert_eq!(Roots::new(1, [key(1), key(1)]), Err(RootsError::Repeated(key(1).fingerprint())));
}

/// What the launcher does not verify is refused by everybody alike, and by name.
#[test]
fn roots_and_publishers_have_keys_that_the_launcher_verifies() {
    let bench = Bench::new();
    for (index, (kind, good)) in
        [("ed25519", true), ("ecdsa -b 256", true), ("ecdsa -b 384", false), ("rsa -b 2048", false)]
            .into_iter()
            .enumerate()
    {
        let key = bench.keygen(&format!("key{index}"), kind);
        let (fingerprint, algorithm) = (key.fingerprint(), key.algorithm());
        assert_eq!(key.is_for_modules(), good, "{kind}");
        let roots = Roots::new(1, [key.clone()]);
        let texts = [format!("{key} a comment")];
        let of_local_file = Roots::of_local_file(1, &texts, repository());
        if good {
            assert_eq!(of_local_file, Ok(roots.unwrap().for_repository(repository())), "{kind}");
        } else {
            assert_eq!(roots, Err(RootsError::Algorithm { fingerprint, algorithm }), "{kind}");
            assert_eq!(of_local_file, roots, "{kind}");
        }
        let key = key.to_string();
        for (seed, name, publishes) in [(1, "a", true), (2, "b", false), (3, "c", true)] {
            let own = file_key(seed).public_key().to_string();
            let refused = publishes && !good;
            let text = trust_text(1, &[(&own, &key)]);
            let found = TrustFile::parse(text.as_bytes()).map_err(|error| error.problem);
            let expected = TrustFileProblem::PublisherKey {
                signer: name.parse().unwrap(),
                fingerprint,
                algorithm,
            };
            assert_eq!(found.err(), refused.then_some(expected), "{kind} of {name}");
            // Beside a good key it is refused as well; once it is revoked it may stay.
            let both = format!("[{own}, {key}]");
            let text = trust_text(1, &[(&own, &both)]);
            assert_eq!(TrustFile::parse(text.as_bytes()).is_err(), refused, "{kind} of {name}");
            let revoked = format!(
                "revoked:\n  - {{ fingerprint: \"{fingerprint}\", reason: lost, since: 2026-05-01T00:00:00Z }}\n"
            );
            let text = trust_text(1, &[(&own, &both), ("revoked: []\n", &revoked)]);
            assert!(TrustFile::parse(text.as_bytes()).is_ok(), "{kind} of {name}");
        }
    }
}

#[test]
fn roots_of_a_local_file() {
    let key = |seed| file_key(seed).public_key().to_string();
    let check = |threshold, keys: &[String], expected: fn(&RootsError) -> bool| {
        let error = Roots::of_local_file(threshold, keys, repository()).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    check(0, &[key(1)], |error| matches!(error, RootsError::Threshold { threshold: 0, keys: 1 }));
    check(u32::MAX, &[key(1)], |error| matches!(error, RootsError::Threshold { .. }));
    check(1, &[], |error| matches!(error, RootsError::Threshold { keys: 0, .. }));
    check(1, &[key(1), key(1)], |error| matches!(error, RootsError::Repeated(_)));
    check(
        1,
        &[key(1), "ssh-ed25519".into()],
        |error| matches!(error, RootsError::Key { text, .. } if text == "ssh-ed25519"),
    );
}

/// Two people sign the file with plain `ssh-keygen`, and one appends to the other's signature.
#[test]
fn signed_with_plain_ssh_keygen() {
    let bench = Bench::new();
    let keys = [bench.keygen("one", "ed25519"), bench.keygen("two", "ecdsa")];
    let text = trust_text(1, &[]);
    let mut signatures = bench.keygen_sign("one", "wachter-trust", text.as_bytes());
    signatures.extend(bench.keygen_sign("two", "wachter-trust", text.as_bytes()));
    let now = at("2026-06-01T00:00:00Z");
    let roots = Roots::new(2, keys).unwrap();
    TrustFile::accept(&roots, PreviousTrust::None, text.as_bytes(), &signatures, now).unwrap();
}
