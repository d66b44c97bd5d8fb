use std::path::Path;

use wachter_protocol::AgeCredential;
use wachter_secret::{Identity, KeyError, OpenError};
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
    let identities = identities(identity)?;
    let content = secret_file::read(file, "token")?;
    let opened = wachter_secret::open(&content, &identities).map_err(|error| {
        let file = file.display();
        CommandError::failed(match error {
            OpenError::Recipient => format!(
                "{file} is not encrypted to the identity in {}; encrypt the token again with \
                 `age -r`, to the recipient that `age-keygen -y {0}` prints",
                identity.display()
            ),
            OpenError::Damaged | OpenError::Large => format!(
                "{file} is not a whole file of age; encrypt the token again with `age -r RECIPIENT -o {file}`"
            ),
        })
    })?;
    if opened.len() > MAX_BYTES {
        return Err(CommandError::failed(format!(
            "{} holds more than {MAX_BYTES} bytes, which is no token",
            file.display()
        )));
    }
    Ok(opened)
}

/// The identities of a file as `age-keygen` makes it, which nobody else may read.
///
/// # Errors
/// A file that cannot be read, that others can read, or with anything else in it.
pub(crate) fn identities(path: &Path) -> Result<Vec<Identity>, CommandError> {
    parse(&secret_file::read_private(path, "identity")?, path)
}

fn parse(text: &[u8], path: &Path) -> Result<Vec<Identity>, CommandError> {
    let path = path.display();
    if ENCRYPTED.iter().any(|head| text.starts_with(head)) {
        return Err(CommandError::failed(format!(
            "the identity in {path} is encrypted itself, and a node has nobody to ask for a passphrase; \
             give one that `age-keygen -o FILE` makes"
        )));
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| CommandError::failed(format!("the identity in {path} is not UTF-8")))?;
    wachter_secret::identities(text).map_err(|error| {
        CommandError::failed(match error {
            KeyError::Line(line) => format!(
                "line {line} of {path} is not an identity (`AGE-SECRET-KEY-1…`); passphrases, SSH keys and \
                 plugins are not read: make an identity with `wachter secret identity FILE` or `age-keygen -o FILE`"
            ),
            _ => format!(
                "there is no identity in {path}; make one with `wachter secret identity FILE` or `age-keygen -o FILE`"
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use wachter_secret::seal;

    use super::*;

    const TOKEN: &[u8] = b"ghp_hunter2\n";

    fn encrypt(to: &Identity, plain: &[u8]) -> Vec<u8> {
        seal(plain, &[to.recipient()]).unwrap().into_bytes()
    }

    fn new() -> Identity {
        Identity::generate().unwrap()
    }

    #[test]
    fn identity_files() {
        let secret = &*new().secret_text();
        let check = |text: &str, expected: Result<usize, &str>| match (
            parse(text.as_bytes(), Path::new("id")),
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
        check("-----BEGIN OPENSSH PRIVATE KEY-----\n", Err("plugins are not read"));
        check("AGE-PLUGIN-YUBIKEY-1XYZ", Err("plugins are not read"));
        check("age-encryption.org/v1\n-> scrypt", Err("is encrypted itself"));
    }

    #[test]
    fn errors_say_what_to_do_and_hold_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let absolute = |name: &str| path(name).display().to_string().parse().unwrap();
        let source = AgeCredential { file: absolute("token.age"), identity: absolute("identity") };
        let identity = new();
        fs::write(path("identity"), identity.secret_text().as_bytes()).unwrap();
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
        fs::write(path("token.age"), encrypt(&new(), TOKEN)).unwrap();
        check("age-keygen -y");
        fs::write(path("token.age"), encrypt(&identity, TOKEN)).unwrap();
        assert_eq!(*decrypt(&source).unwrap(), TOKEN);
        fs::write(path("token.age"), encrypt(&identity, &vec![b'x'; MAX_BYTES - 20_000])).unwrap();
        assert!(decrypt(&source).is_ok());
        fs::write(path("token.age"), encrypt(&identity, &vec![b'x'; MAX_BYTES + 1])).unwrap();
        check("has more than 65536 bytes");
    }

    proptest! {
        #[test]
        fn any_identity_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300), text: String) {
            for text in [bytes.as_slice(), text.as_bytes()] {
                prop_assert!(parse(text, Path::new("id")).is_err());
            }
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
        let ours = identities(&path).unwrap();
        let recipient = ours[0].recipient().to_string();
        let identity = path.display().to_string();
        // What it makes, armored and not, with a second recipient beside ours.
        let other = new().recipient().to_string();
        for arguments in
            [&["-r", &recipient][..], &["-a", "-r", &recipient], &["-r", &other, "-r", &recipient]]
        {
            let made = run("age", &[&["-e"], arguments].concat(), TOKEN);
            let open = |identities: &[Identity]| wachter_secret::open(&made, identities);
            assert_eq!(*open(&ours).unwrap(), TOKEN, "{arguments:?}");
            assert_eq!(open(&[new()]).unwrap_err(), OpenError::Recipient);
        }
        // And what ours makes.
        assert_eq!(run("age", &["-d", "-i", &identity], &encrypt(&ours[0], TOKEN)), TOKEN);
    }
}
