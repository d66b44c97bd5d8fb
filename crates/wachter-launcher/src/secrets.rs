//! Opens the secrets that a run was granted.
//!
//! The node carries the files and cannot open them; the identity is named by the owner of the host.
//! Whoever carries a file can exchange it, so what is opened has to say that it is the secret that was
//! granted, and is not used before all of it was authenticated.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wachter_model::SecretName;
use wachter_secret::{
    Identity, KeyError, MAX_BYTES, MAX_VALUE_BYTES, Named, NamedError, OpenError,
};
use zeroize::Zeroizing;

/// The most bytes of all values of one run: what redaction needs of memory grows with them.
const MAX_TOGETHER: usize = 2 * MAX_VALUE_BYTES;

/// The most bytes of the file with the identities.
const MAX_IDENTITY: u64 = 64 << 10;

/// A secret, opened. Its value is wiped when it is dropped.
pub(crate) struct Secret {
    pub(crate) name: SecretName,
    pub(crate) value: Zeroizing<Vec<u8>>,
}

/// Why a run was not given its secrets. No error holds a part of a value or of an identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(
        "`{0}` is unsigned code, which is given no secrets; sign and release it, or run it with --dry-run, \
         which withholds them"
    )]
    Development(String),
    #[error(
        "this host has no identity that opens the secret `{0}`; make one with `wachter secret identity`, \
         and name its file under `secrets.identity` in the local file"
    )]
    NoIdentity(SecretName),
    #[error("cannot read the identity in {}; check `secrets.identity` in the local file", path.display())]
    Identity { path: PathBuf, source: io::Error },
    #[error(
        "the identity in {0} belongs to user {1}, and wachter-launcher runs as user {2}; `chown {2} {0}`",
        path.display(), owner, own
    )]
    Owner { path: PathBuf, owner: u32, own: u32 },
    #[error(
        "the identity in {0} can be read or changed by others (mode {1:04o}); `chmod 600 {0}`, and replace it \
         if somebody may have read it",
        path.display(), mode
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("the identity in {} is none", path.display())]
    Key { path: PathBuf, source: KeyError },
    #[error(
        "the release has no secret `{0}`; make it with `wachter secret set {0}`, and release again"
    )]
    Missing(SecretName),
    #[error("cannot read the secret `{name}`; run `wachter sync`")]
    Read { name: SecretName, source: io::Error },
    #[error("the secret `{name}` cannot be opened here")]
    Open { name: SecretName, source: OpenError },
    #[error("the file of the secret `{name}` is another's")]
    Other { name: SecretName, source: NamedError },
    #[error("the secret `{0}` has more than {most} bytes; give the module a smaller one", most = MAX_VALUE_BYTES)]
    Large(SecretName),
    #[error("the secrets of the run have more than {most} bytes together; give the module fewer", most = MAX_TOGETHER)]
    Together,
}

/// Opens the secrets `granted`, of the files in `folder`, with the identities in `identity`.
///
/// # Errors
/// The first thing that is missing or wrong, and what to do about it.
pub(crate) fn open(
    granted: &BTreeSet<SecretName>,
    folder: &Path,
    identity: Option<&Path>,
) -> Result<Vec<Secret>, SecretError> {
    let Some(first) = granted.first() else { return Ok(Vec::new()) };
    let identities = identities(identity.ok_or_else(|| SecretError::NoIdentity(first.clone()))?)?;
    let mut secrets = Vec::new();
    let mut together = 0;
    for name in granted {
        let secret = open_one(name, folder, &identities)?;
        together += secret.value.len();
        if together > MAX_TOGETHER {
            return Err(SecretError::Together);
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

fn open_one(
    name: &SecretName,
    folder: &Path,
    identities: &[Identity],
) -> Result<Secret, SecretError> {
    // A link of the node's would have root open something else.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let path = folder.join(format!("{name}.age"));
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SecretError::Missing(name.clone()));
        }
        file => file.and_then(|file| read(&file, MAX_BYTES as u64 * 3 / 2)),
    };
    let name = || name.clone();
    let (file, _) = file.map_err(|source| SecretError::Read { name: name(), source })?;
    let opened = wachter_secret::open(&file, identities)
        .map_err(|source| SecretError::Open { name: name(), source })?;
    let Named { value } = Named::of(&opened, name().as_str())
        .map_err(|source| SecretError::Other { name: name(), source })?;
    if value.len() > MAX_VALUE_BYTES {
        return Err(SecretError::Large(name()));
    }
    Ok(Secret { name: name(), value })
}

/// The identities in a file that is this process's user's own, and closed to all others.
fn identities(path: &Path) -> Result<Vec<Identity>, SecretError> {
    let failed = |source| SecretError::Identity { path: path.to_owned(), source };
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let (text, status) = file.and_then(|file| read(&file, MAX_IDENTITY)).map_err(failed)?;
    let (owner, mode) = (status.uid(), status.mode() & 0o7777);
    let own = rustix::process::geteuid().as_raw();
    if owner != own {
        return Err(SecretError::Owner { path: path.to_owned(), owner, own });
    }
    if mode & 0o077 != 0 {
        return Err(SecretError::Mode { path: path.to_owned(), mode });
    }
    let text =
        std::str::from_utf8(&text).map_err(|_| failed(io::Error::other("it is not UTF-8")))?;
    wachter_secret::identities(text)
        .map_err(|source| SecretError::Key { path: path.to_owned(), source })
}

fn read(file: &fs::File, most: u64) -> io::Result<(Zeroizing<Vec<u8>>, fs::Metadata)> {
    let status = file.metadata()?;
    if !status.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    // Room at once: growing would leave copies behind that nobody wipes.
    let room = usize::try_from(status.len().min(most)).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok((bytes, status))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const VALUE: &[u8] = b"hunter2-and-more";

    struct Folder {
        folder: tempfile::TempDir,
        identity: Identity,
    }

    impl Folder {
        fn new() -> Self {
            let (folder, identity) = (tempfile::tempdir().unwrap(), Identity::generate().unwrap());
            let made = Self { folder, identity };
            fs::create_dir(made.path("secrets")).unwrap();
            made.identity(&format!("# made today\n{}\n", *made.identity.secret_text()), 0o600);
            made
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn identity(&self, text: &str, mode: u32) {
            fs::write(self.path("identity"), text).unwrap();
            fs::set_permissions(self.path("identity"), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn seal(&self, file: &str, name: &str, value: &[u8]) {
            let recipients = [self.identity.recipient()];
            let sealed = wachter_secret::seal(&Named::text(name, value), &recipients).unwrap();
            fs::write(self.path("secrets").join(file), sealed).unwrap();
        }

        fn open(&self, names: &[&str]) -> Result<Vec<Secret>, String> {
            let granted = names.iter().map(|name| name.parse().unwrap()).collect();
            open(&granted, &self.path("secrets"), Some(&self.path("identity")))
                .map_err(|error| wachter_model::chain(&error))
        }

        fn refused(&self, names: &[&str], part: &str) {
            let reason = self.open(names).map(drop).unwrap_err();
            assert!(reason.contains(part), "{reason}");
            for secret in ["hunter2", "AGE-SECRET-KEY-1"] {
                assert!(!reason.contains(secret), "{reason}");
            }
        }
    }

    #[test]
    fn what_was_granted_is_opened() {
        let folder = Folder::new();
        folder.seal("one.age", "one", VALUE);
        folder.seal("two.age", "two", &[0; MAX_VALUE_BYTES]);
        let found = folder.open(&["one", "two"]).unwrap();
        assert_eq!((found[0].name.as_str(), found[0].value.as_slice()), ("one", VALUE));
        assert_eq!(found[1].value.len(), MAX_VALUE_BYTES);
        assert!(folder.open(&[]).unwrap().is_empty());
    }

    #[test]
    fn refusals_name_the_secret_and_say_what_to_do() {
        let folder = Folder::new();
        folder.refused(&["one"], "the release has no secret `one`; make it with");
        folder.seal("one.age", "two", VALUE);
        folder.refused(
            &["one"],
            "the file of the secret `one` is another's: it holds the secret `two`",
        );
        folder.seal("one.age", "one", &[7; MAX_VALUE_BYTES + 1]);
        folder.refused(&["one"], "the secret `one` has more than 65536 bytes");
        for name in ["one", "two", "three"] {
            folder.seal(&format!("{name}.age"), name, &[7; MAX_VALUE_BYTES]);
        }
        folder.refused(&["one", "two", "three"], "more than 131072 bytes together");
        fs::write(folder.path("secrets/one.age"), VALUE).unwrap();
        folder.refused(
            &["one"],
            "the secret `one` cannot be opened here: it is no whole file of age",
        );
        let stranger = Identity::generate().unwrap().recipient();
        let sealed = wachter_secret::seal(&Named::text("one", VALUE), &[stranger]).unwrap();
        fs::write(folder.path("secrets/one.age"), sealed).unwrap();
        folder
            .refused(&["one"], "the secret `one` cannot be opened here: it is encrypted to others");
        fs::rename(folder.path("secrets/two.age"), folder.path("two.age")).unwrap();
        std::os::unix::fs::symlink("../two.age", folder.path("secrets/two.age")).unwrap();
        folder.refused(&["two"], "cannot read the secret `two`");
        // As a compromised node could have it read something that never ends.
        fs::remove_file(folder.path("secrets/two.age")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            folder.path("secrets/two.age"),
            rustix::fs::Mode::RWXU,
        )
        .unwrap();
        folder.refused(&["two"], "it is not a regular file");
    }

    #[test]
    fn an_identity_is_nobody_elses() {
        let folder = Folder::new();
        folder.seal("one.age", "one", VALUE);
        let text = folder.identity.secret_text();
        for (mode, part) in [(0o640, "mode 0640"), (0o602, "mode 0602"), (0o604, "chmod 600")] {
            folder.identity(&text, mode);
            folder.refused(&["one"], part);
        }
        folder.identity("nothing", 0o600);
        folder.refused(&["one"], "line 1 is neither an age identity nor a comment");
        folder.identity(&"#".repeat(70_000), 0o600);
        folder.refused(&["one"], "it has more than 65536 bytes");
        if rustix::process::geteuid().is_root() {
            folder.identity(&text, 0o600);
            std::os::unix::fs::chown(folder.path("identity"), Some(65_534), None).unwrap();
            folder.refused(&["one"], "belongs to user 65534, and wachter-launcher runs as user 0");
        }
        fs::remove_file(folder.path("identity")).unwrap();
        folder.refused(&["one"], "check `secrets.identity` in the local file");
        let granted = BTreeSet::from(["one".parse().unwrap()]);
        let error = open(&granted, &folder.path("secrets"), None).map(drop).unwrap_err();
        assert!(error.to_string().contains("wachter secret identity"), "{error}");
    }
}
