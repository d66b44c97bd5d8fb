use wachter_trust::{FileKey, FileKeyError, KeyError, Signature, SignatureError, Signer as _};

use crate::support::{Bench, KEY_KINDS, file_key, namespace, one};

const MESSAGE: &[u8] = b"a message\nof two lines";

#[test]
fn verifies_what_ssh_keygen_signs() {
    let bench = Bench::new();
    for (index, kind) in KEY_KINDS.into_iter().chain(["rsa -b 4608"]).enumerate() {
        let name = format!("key{index}");
        let public = bench.keygen(&name, kind);
        for hash in ["sha256", "sha512"] {
            let line = format!("ssh-keygen -q -Y sign -O hashalg={hash} -f {name} -n test");
            let signature = one(&bench.run(&line, MESSAGE));
            assert_eq!(signature.key(), &public, "{kind}");
            assert_eq!(signature.verify(namespace("test"), MESSAGE), Ok(()), "{kind} {hash}");
        }
        let listed =
            String::from_utf8(bench.run(&format!("ssh-keygen -lf {name}.pub"), b"")).unwrap();
        assert!(listed.contains(&format!(" {} ", public.fingerprint())), "{listed}");
    }
}

#[test]
fn ssh_keygen_verifies_what_is_signed_here() {
    let bench = Bench::new();
    let mut key = file_key(5);
    bench.write("allowed", format!("me namespaces=\"test\" {}\n", key.public_key()));
    let signature = key.sign(namespace("test"), MESSAGE).unwrap();
    bench.write("sig", signature.to_armor());
    bench.run("ssh-keygen -Y verify -f allowed -I me -n test -s sig", MESSAGE);
    bench.run("ssh-keygen -Y check-novalidate -n test -s sig", MESSAGE);
    let found = bench.run("ssh-keygen -Y find-principals -f allowed -s sig", b"");
    assert_eq!(found, b"me\n");
    let other = bench.try_run("ssh-keygen -Y verify -f allowed -I me -n test -s sig", b"other");
    assert!(!other.status.success());
}

/// Ed25519 is deterministic, so both must write the very same file.
#[test]
fn writes_the_same_bytes_as_ssh_keygen() {
    let bench = Bench::new();
    let mut key = file_key(6);
    bench.write("key", key.to_openssh().unwrap().as_bytes());
    bench.run("chmod 600 key", b"");
    let theirs = bench.keygen_sign("key", "test", MESSAGE);
    let ours = key.sign(namespace("test"), MESSAGE).unwrap().to_armor();
    assert_eq!(String::from_utf8(theirs).unwrap(), ours);
}

#[test]
fn private_keys() {
    let bench = Bench::new();
    let public = bench.keygen("plain", "ed25519");
    assert_eq!(FileKey::from_openssh(&bench.read("plain")).unwrap().public_key(), &public);
    bench.run("ssh-keygen -q -N secret -t ed25519 -f locked", b"");
    let check = |name: &str, expected: FileKeyError| {
        assert_eq!(FileKey::from_openssh(&bench.read(name)).unwrap_err(), expected, "{name}");
    };
    check("locked", FileKeyError::Encrypted);
    check("plain.pub", FileKeyError::Malformed);
    bench.keygen("rsa", "rsa -b 2048");
    check("rsa", FileKeyError::NotEd25519("ssh-rsa".into()));
    bench.keygen("ecdsa", "ecdsa");
    // One key in 256 has a number that is shorter than its curve, which `ssh-key` does not read.
    let refused = FileKey::from_openssh(&bench.read("ecdsa")).unwrap_err();
    let named = FileKeyError::NotEd25519("ecdsa-sha2-nistp256".into());
    assert!(refused == named || refused == FileKeyError::Malformed, "{refused:?}");
}

#[test]
fn refuses_weak_and_unknown_keys() {
    let bench = Bench::new();
    for (name, kind, expected) in [
        ("short", "rsa -b 1024", KeyError::TooShort(1024)),
        ("p521", "ecdsa -b 521", KeyError::Unsupported("ecdsa-sha2-nistp521".into())),
        ("dsa", "dsa", KeyError::Unsupported("ssh-dss".into())),
    ] {
        let made = bench.try_run(&format!("ssh-keygen -q -N '' -t {kind} -f {name}"), b"");
        // Newer OpenSSH makes no DSA keys any more.
        if !made.status.success() && name == "dsa" {
            continue;
        }
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        let text = String::from_utf8(bench.read(&format!("{name}.pub"))).unwrap();
        let outcome = text.trim_end().parse::<wachter_trust::PublicKey>();
        assert_eq!(outcome.unwrap_err(), expected, "{name}");
        let signature = bench.try_run(&format!("ssh-keygen -q -Y sign -f {name} -n test"), MESSAGE);
        if signature.status.success() {
            assert!(Signature::parse(&signature.stdout).is_err(), "{name}");
        }
    }
}

/// The armor is taken exactly where `ssh-keygen` takes it, but for text behind it.
#[test]
fn armor_agrees_with_ssh_keygen() {
    let bench = Bench::new();
    let good = file_key(5).sign(namespace("test"), MESSAGE).unwrap().to_armor();
    let one_line = {
        let (head, tail) = good.split_once('\n').unwrap();
        let (body, foot) = tail.split_once("\n---").unwrap();
        format!("{head}\n{}\n---{foot}", body.replace('\n', ""))
    };
    for (name, text, ours_differs) in [
        ("as written", good.clone(), false),
        ("no last line feed", good.trim_end().to_owned(), false),
        ("one long line", one_line, false),
        ("spaces inside", good.replace("U1NI", "U1 \tNI"), false),
        ("blank line before", format!("\n{good}"), false),
        ("carriage returns", good.replace('\n', "\r\n"), false),
        ("cut short", good[..good.len() - 3].to_owned(), false),
        ("space before the footer", good.replace("\n-----END", "\n -----END"), false),
        ("no padding", good.replace('=', ""), false),
        ("empty", String::new(), false),
        ("a second block", format!("{good}{good}"), true),
        ("text behind", format!("{good}text"), true),
    ] {
        bench.write("sig", &text);
        let theirs = bench.try_run("ssh-keygen -Y check-novalidate -n test -s sig", MESSAGE);
        let ours = Signature::parse(text.as_bytes())
            .is_ok_and(|signature| signature.verify(namespace("test"), MESSAGE).is_ok());
        assert_eq!(ours != theirs.status.success(), ours_differs, "{name}: ours {ours}");
        assert!(!ours || theirs.status.success(), "{name}: never more than ssh-keygen");
    }
}

/// Certificates are refused by name, and do not pass for the key inside them.
#[test]
fn refuses_certificates() {
    let bench = Bench::new();
    bench.keygen("authority", "ed25519");
    bench.keygen("key", "ed25519");
    bench.run("ssh-keygen -q -s authority -I me -n me key.pub", b"");
    let signature = bench.run("ssh-keygen -q -Y sign -f key-cert.pub -n test", MESSAGE);
    let expected = KeyError::Unsupported("ssh-ed25519-cert-v01@openssh.com".into());
    assert_eq!(Signature::parse(&signature), Err(SignatureError::Key(expected)));
}
