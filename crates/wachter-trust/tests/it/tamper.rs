use wachter_trust::{
    Namespace, PreviousTrust, ReleaseTag, Signature, Signer as _, TagObject, TrustFile,
    verify_module, verify_release,
};

use crate::support::{
    at, file_key, repository, roots, sequence_of, sign_all, statement, tagger, trust, trust_text,
};

/// Every text that differs from `bytes` in one bit.
fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

/// Every bit counts, in what was signed and in the signature, armor included.
#[test]
fn no_bit_of_a_signature_can_change() {
    let message = b"signed";
    let good = file_key(1).sign(Namespace::GIT, message).unwrap();
    for flipped in bit_flips(message) {
        assert!(good.verify(Namespace::GIT, &flipped).is_err(), "{flipped:?}");
    }
    for flipped in bit_flips(good.to_armor().as_bytes()) {
        if let Ok(signature) = Signature::parse(&flipped)
            && signature.key() == good.key()
        {
            let text = String::from_utf8_lossy(&flipped).into_owned();
            assert!(signature.verify(Namespace::GIT, message).is_err(), "{text}");
        }
    }
}

#[test]
fn no_bit_of_a_trust_file_can_change() {
    let text = trust_text(1, &[]).into_bytes();
    let signatures = sign_all(&[9], Namespace::TRUST, &text);
    let roots = roots(1, &[9]);
    let accepts = |text: &[u8], signatures: &[u8]| {
        let now = at("2026-06-01T00:00:00Z");
        TrustFile::accept(&roots, PreviousTrust::None, text, signatures, now).is_ok()
    };
    assert!(accepts(&text, &signatures));
    assert!(bit_flips(&text).all(|flipped| !accepts(&flipped, &signatures)));
    assert!(bit_flips(&signatures).all(|flipped| !accepts(&text, &flipped)));
}

#[test]
fn no_bit_of_a_release_can_change() {
    let first = ReleaseTag::first(sequence_of(7));
    let tag = TagObject::sign(&statement(7), first, &tagger(), &mut file_key(1)).unwrap();
    let trust = trust(&[]);
    let accepts = |bytes: &[u8]| {
        let now = at("2026-06-01T00:00:00Z");
        TagObject::parse(bytes)
            .is_ok_and(|tag| verify_release(&trust, &[tag], [], now, None, repository()).is_ok())
    };
    assert!(accepts(tag.as_bytes()));
    assert!(bit_flips(tag.as_bytes()).all(|flipped| !accepts(&flipped)));
}

#[test]
fn no_bit_of_a_module_can_change() {
    let text =
        format!("wachter-module v1 m 1\n# mode 100755\n{}  a\n", "0".repeat(64)).into_bytes();
    let signature = sign_all(&[1], Namespace::MODULE, &text);
    let (trust, module) = (trust(&[]), "m".parse().unwrap());
    let accepts =
        |text: &[u8], signature: &[u8]| verify_module(&trust, text, signature, &module).is_ok();
    assert!(accepts(&text, &signature));
    assert!(bit_flips(&text).all(|flipped| !accepts(&flipped, &signature)));
    assert!(bit_flips(&signature).all(|flipped| !accepts(&text, &flipped)));
}
