use wachter_trust::{KeyError, PublicKey, Signature, SignatureError, VerifyError};

use wachter_testkit::fixture;

use crate::support::namespace;

enum Expected {
    Good,
    UnsupportedKey(&'static str),
    UnsupportedSignature(&'static str),
}

/// OpenSSH's own regression vectors (regress/unittests/sshsig/testdata).
#[test]
fn openssh_vectors_have_the_right_outcome() {
    use Expected::{Good, UnsupportedKey, UnsupportedSignature};
    let Some(folder) = fixture("ssh-signatures") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let message = read("signed-data");
    let space = String::from_utf8(read("namespace")).unwrap();
    for (name, expected) in [
        ("ed25519", Good),
        ("ecdsa", Good),
        ("rsa", Good),
        ("ed25519_sk", Good),
        ("ecdsa_sk", Good),
        ("ecdsa_sk_webauthn", UnsupportedSignature("webauthn-sk-ecdsa-sha2-nistp256@openssh.com")),
        ("mldsa44-ed25519", UnsupportedKey("ssh-mldsa44-ed25519@openssh.com")),
    ] {
        let public = String::from_utf8(read(&format!("{name}.pub"))).unwrap();
        let public = public.trim_end().parse::<PublicKey>();
        let signature = Signature::parse(&read(&format!("{name}.sig")));
        match expected {
            Good => {
                let signature = signature.unwrap();
                assert_eq!(Ok(signature.key()), public.as_ref(), "{name}");
                assert_eq!(signature.verify(namespace(&space), &message), Ok(()), "{name}");
                let other = signature.verify(namespace("file"), &message);
                assert!(matches!(other, Err(VerifyError::Namespace { .. })), "{name}: {other:?}");
                let other = signature.verify(namespace(&space), b"something else");
                assert_eq!(other, Err(VerifyError::Mismatch), "{name}");
                assert_eq!(
                    Signature::parse(signature.to_armor().as_bytes()),
                    Ok(signature),
                    "{name}"
                );
            }
            UnsupportedKey(algorithm) => {
                let unsupported = KeyError::Unsupported(algorithm.to_owned());
                assert_eq!(public, Err(unsupported.clone()), "{name}");
                assert_eq!(signature, Err(SignatureError::Key(unsupported)), "{name}");
            }
            UnsupportedSignature(algorithm) => {
                assert_eq!(
                    signature,
                    Err(SignatureError::Unsupported(algorithm.to_owned())),
                    "{name}"
                );
            }
        }
    }
}

/// The vectors were made with user presence and without a PIN.
#[test]
fn security_keys_tell_presence_from_verification() {
    let Some(folder) = fixture("ssh-signatures") else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    for name in ["ed25519_sk", "ecdsa_sk"] {
        let signature = Signature::parse(&read(&format!("{name}.sig"))).unwrap();
        let outcome =
            signature.verify_with_user_verification(namespace("unittest"), &read("signed-data"));
        assert_eq!(outcome, Err(VerifyError::NoUserVerification), "{name}");
    }
    let plain = Signature::parse(&read("ed25519.sig")).unwrap();
    let outcome = plain.verify_with_user_verification(namespace("unittest"), &read("signed-data"));
    assert_eq!(outcome, Err(VerifyError::NoUserVerification));
}
