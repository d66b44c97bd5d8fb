use std::io::Read as _;
use std::path::Path;

use age::armor::ArmoredReader;
use age::x25519::Identity;
use age::{DecryptError, Decryptor};
use wachter_protocol::AgeCredential;
use zeroize::Zeroizing;

use super::secret_file::{self, MAX_BYTES};
use crate::failure::CommandError;

/// How a file begins that is encrypted itself, in binary and in ASCII armor.
const ENCRYPTED: [&[u8]; 2] = [b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"];

/// Opens a file encrypted with age (the format v1 of `age-encryption.org`), in binary or ASCII armor,
/// with the X25519 identities of another file.
///
/// # Errors
/// A file that cannot be read or is larger than 64 KiB, an identity that others can read or that is
/// none, and a file that is damaged or meant for somebody else.
pub(super) fn decrypt(source: &AgeCredential) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let (file, identity) = (source.file.as_path(), source.identity.as_path());
    let identities = identities(&secret_file::read_private(identity, "identity")?, identity)?;
    let content = secret_file::read(file, "token")?;
    open(&content, &identities).map_err(|error| {
        let file = file.display();
        CommandError::failed(match error {
            Unopened::Recipient => format!(
                "{file} is not encrypted to the identity in {}; encrypt the token again with \
                 `age -r`, to the recipient that `age-keygen -y {0}` prints",
                identity.display()
            ),
            Unopened::Format => format!(
                "{file} is not a whole file of age; encrypt the token again with `age -r RECIPIENT -o {file}`"
            ),
            Unopened::Large => format!("{file} holds more than {MAX_BYTES} bytes, which is no token"),
        })
    })
}

/// Why a file was not opened.
#[derive(Debug, PartialEq, Eq)]
enum Unopened {
    /// It is for somebody else.
    Recipient,
    /// It is damaged, or never was one.
    Format,
    /// There is more in it than is read.
    Large,
}

fn open(content: &[u8], identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let refused = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys => Unopened::Recipient,
        _ => Unopened::Format,
    };
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(content)).map_err(refused)?;
    let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
    let stream = decryptor.decrypt(identities).map_err(refused)?;
    let mut opened = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    stream.take(MAX_BYTES as u64 + 1).read_to_end(&mut opened).map_err(|_| Unopened::Format)?;
    if opened.len() > MAX_BYTES { Err(Unopened::Large) } else { Ok(opened) }
}

/// The identities of a file as `age-keygen` makes it: one a line, between comments.
fn identities(text: &[u8], path: &Path) -> Result<Vec<Identity>, CommandError> {
    let path = path.display();
    if ENCRYPTED.iter().any(|head| text.starts_with(head)) {
        return Err(CommandError::failed(format!(
            "the identity in {path} is encrypted itself, and a node has nobody to ask for a passphrase; \
             give one that `age-keygen -o FILE` makes"
        )));
    }
    let mut found = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let identity = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
        found.push(identity.ok_or_else(|| {
            CommandError::failed(format!(
                "line {} of {path} is not an identity (`AGE-SECRET-KEY-1…`); SSH keys and plugins do \
                 not open a token: make an identity with `age-keygen -o FILE`",
                number + 1
            ))
        })?);
    }
    if found.is_empty() {
        return Err(CommandError::failed(format!(
            "there is no identity in {path}; make one with `age-keygen -o FILE`"
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use age::armor::Format;
    use age::secrecy::ExposeSecret as _;
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &[u8] = b"ghp_hunter2\n";

    fn encrypt(to: &Identity, plain: &[u8]) -> Vec<u8> {
        age::encrypt(&to.to_public(), plain).unwrap()
    }

    fn armored(to: &Identity, plain: &[u8]) -> Vec<u8> {
        age::encrypt_and_armor(&to.to_public(), plain).unwrap().into_bytes()
    }

    #[test]
    fn both_forms_are_opened_and_others_are_told_apart() {
        let (ours, theirs) = (Identity::generate(), Identity::generate());
        let check = |content: &[u8], expected: Result<&[u8], Unopened>| {
            let found = open(content, std::slice::from_ref(&ours));
            assert_eq!(found.as_ref().map(|opened| opened.as_slice()), expected.as_ref().copied());
        };
        check(&encrypt(&ours, TOKEN), Ok(TOKEN));
        check(&armored(&ours, TOKEN), Ok(TOKEN));
        check(&encrypt(&theirs, TOKEN), Err(Unopened::Recipient));
        check(&armored(&theirs, TOKEN), Err(Unopened::Recipient));
        check(TOKEN, Err(Unopened::Format));
        check(b"", Err(Unopened::Format));
        let whole = encrypt(&ours, TOKEN);
        for length in 0..whole.len() {
            check(&whole[..length], Err(Unopened::Format));
        }
        check(&encrypt(&ours, &vec![b'x'; MAX_BYTES]), Ok(&vec![b'x'; MAX_BYTES]));
        check(&encrypt(&ours, &vec![b'x'; MAX_BYTES + 1]), Err(Unopened::Large));
    }

    #[test]
    fn identity_files() {
        let secret = Identity::generate().to_string();
        let secret = secret.expose_secret();
        let check = |text: &str, expected: Result<usize, &str>| match (
            identities(text.as_bytes(), Path::new("id")),
            expected,
        ) {
            (Ok(found), Ok(expected)) => assert_eq!(found.len(), expected),
            (Err(error), Err(part)) => {
                assert!(error.message.contains(part), "{error}");
                assert!(!error.message.contains(&secret[16..40]), "{error}");
            }
            (found, expected) => panic!("{} instead of {expected:?}", found.is_ok()),
        };
        check(secret, Ok(1));
        check(&format!("# made today\r\n\r\n{secret}\r\n{secret}\n"), Ok(2));
        check("", Err("there is no identity in id"));
        check("# nothing\n", Err("there is no identity in id"));
        check(&format!("# one\n{secret}Q\n"), Err("line 2 of id"));
        check(&secret[..40], Err("line 1 of id"));
        check("-----BEGIN OPENSSH PRIVATE KEY-----\n", Err("SSH keys and plugins do not"));
        check("AGE-PLUGIN-YUBIKEY-1XYZ", Err("SSH keys and plugins do not"));
        check("age-encryption.org/v1\n-> scrypt", Err("is encrypted itself"));
    }

    #[test]
    fn errors_say_what_to_do_and_hold_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let absolute = |name: &str| path(name).display().to_string().parse().unwrap();
        let source = AgeCredential { file: absolute("token.age"), identity: absolute("identity") };
        let identity = Identity::generate();
        let text = identity.to_string();
        fs::write(path("identity"), text.expose_secret()).unwrap();
        let mode = |mode| fs::set_permissions(path("identity"), fs::Permissions::from_mode(mode));
        let check = |part: &str| {
            let message = decrypt(&source).unwrap_err().message;
            assert!(message.contains(part), "{message}");
            for secret in ["AGE-SECRET-KEY-1", "hunter2"] {
                assert!(!message.contains(secret), "{message}");
            }
        };
        mode(0o644).unwrap();
        check("the identity");
        check("can be read by others (mode 0644)");
        mode(0o600).unwrap();
        check("cannot read the token");
        fs::write(path("token.age"), TOKEN).unwrap();
        check("is not a whole file of age");
        fs::write(path("token.age"), encrypt(&Identity::generate(), TOKEN)).unwrap();
        check("age-keygen -y");
        fs::write(path("token.age"), encrypt(&identity, TOKEN)).unwrap();
        assert_eq!(*decrypt(&source).unwrap(), TOKEN);
    }

    proptest! {
        #[test]
        fn any_file_is_judged(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            form in 0..3_u8,
            at in any::<prop::sample::Index>(),
        ) {
            let identity = Identity::generate();
            let content = match form {
                0 => bytes.clone(),
                1 => [b"age-encryption.org/v1\n-> X25519 ", bytes.as_slice()].concat(),
                _ => [b"-----BEGIN AGE ENCRYPTED FILE-----\n", bytes.as_slice()].concat(),
            };
            prop_assert!(open(&content, std::slice::from_ref(&identity)).is_err());
            prop_assert!(identities(&content, Path::new("id")).is_err() || content.is_empty());
            // One bit off anywhere is noticed.
            let mut off = encrypt(&identity, TOKEN);
            let at = at.index(off.len());
            off[at] ^= 1;
            prop_assert!(open(&off, &[identity]).is_err());
        }
    }

    /// `age` and `age-keygen`, where they are installed; a test without them says so, and fails where
    /// everything is expected to be installed.
    fn installed() -> bool {
        let found = Command::new("age").arg("--version").stdout(Stdio::null()).status().is_ok();
        assert!(found || std::env::var("CI").as_deref() != Ok("true"), "`age` is not installed");
        if !found {
            println!("skipped: `age` is not installed");
        }
        found
    }

    fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    }

    #[test]
    fn the_program_age_agrees_both_ways() {
        if !installed() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        run("age-keygen", &["-o", &path.display().to_string()], b"");
        let text = fs::read(&path).unwrap();
        let ours = identities(&text, &path).unwrap();
        let recipient = ours[0].to_public().to_string();
        let identity = path.display().to_string();
        // What it makes, armored and not, with a second recipient beside ours.
        let other = Identity::generate().to_public().to_string();
        for arguments in
            [&["-r", &recipient][..], &["-a", "-r", &recipient], &["-r", &other, "-r", &recipient]]
        {
            let made = run("age", &[&["-e"], arguments].concat(), TOKEN);
            assert_eq!(*open(&made, &ours).unwrap(), TOKEN, "{arguments:?}");
            assert_eq!(open(&made, &[Identity::generate()]), Err(Unopened::Recipient));
        }
        // And what our library makes.
        let recipient = ours[0].to_public();
        for format in [Format::Binary, Format::AsciiArmor] {
            let made = match format {
                Format::Binary => age::encrypt(&recipient, TOKEN).unwrap(),
                Format::AsciiArmor => armored(&ours[0], TOKEN),
            };
            assert_eq!(run("age", &["-d", "-i", &identity], &made), TOKEN);
        }
        let file: PathBuf = folder.path().join("ssh");
        assert!(identities(b"ssh-ed25519 AAAA", &file).is_err());
    }
}
