use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use wachter_trust::{
    FileKey, Namespace, PreviousTrust, PublicKey, ReleaseStatement, RepositoryId, Roots, Sequence,
    Signature, Signer, Tagger, TrustFile,
};

/// A folder of its own, with programs run in it as on a machine with no configuration.
pub(crate) struct Bench(tempfile::TempDir);

impl Bench {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.0.path())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line, split at spaces, and gives what it says; `input` goes to its stdin.
    pub(crate) fn try_run(&self, line: &str, input: &[u8]) -> Output {
        let mut words = line.split(' ');
        let mut command = self.command(words.next().unwrap());
        let words = words.map(|word| if word == "''" { "" } else { word });
        let mut child = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}; install it"));
        // A program that refuses early closes its end first.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// As [`Bench::try_run`], and it must succeed.
    pub(crate) fn run(&self, line: &str, input: &[u8]) -> Vec<u8> {
        let output = self.try_run(line, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {told}");
        output.stdout
    }

    /// Makes a key pair `NAME`, `NAME.pub` with `ssh-keygen`.
    pub(crate) fn keygen(&self, name: &str, kind: &str) -> PublicKey {
        self.run(&format!("ssh-keygen -q -N '' -C {name} -t {kind} -f {name}"), b"");
        self.public_key(name)
    }

    pub(crate) fn public_key(&self, name: &str) -> PublicKey {
        String::from_utf8(self.read(&format!("{name}.pub"))).unwrap().trim_end().parse().unwrap()
    }

    /// Signs with `ssh-keygen -Y sign`.
    pub(crate) fn keygen_sign(&self, key: &str, namespace: &str, message: &[u8]) -> Vec<u8> {
        self.run(&format!("ssh-keygen -q -Y sign -f {key} -n {namespace}"), message)
    }
}

/// Key types to make at test time, as arguments of `ssh-keygen -t`.
pub(crate) const KEY_KINDS: [&str; 5] =
    ["ed25519", "ecdsa -b 256", "ecdsa -b 384", "rsa -b 2048", "rsa -b 3072"];

pub(crate) fn file_key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32], "test").unwrap()
}

pub(crate) fn namespace(name: &str) -> Namespace<'_> {
    Namespace::new(name).unwrap()
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub(crate) const REPOSITORY: &str = "6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19";

pub(crate) fn repository() -> RepositoryId {
    REPOSITORY.parse().unwrap()
}

/// Signs `bytes` with each of the keys that belong to `seeds`, one block after another.
pub(crate) fn sign_all(seeds: &[u8], namespace: Namespace<'_>, bytes: &[u8]) -> Vec<u8> {
    let sign = |seed: &u8| file_key(*seed).sign(namespace, bytes).unwrap().to_armor();
    seeds.iter().map(sign).collect::<String>().into_bytes()
}

/// A trust file whose signers `a`, `b`, `c` have the keys of seeds 1, 2, 3.
pub(crate) fn trust_text(serial: u64, changes: &[(&str, &str)]) -> String {
    let key = |seed: u8| file_key(seed).public_key().to_string();
    let mut text = format!(
        "version: 1\nrepository: {REPOSITORY}\nserial: {serial}\nnot_after: 2027-01-01T00:00:00Z\n\
         signers:\n  a: {}\n  b: {}\n  c: {}\n\
         releases:\n  signers: [a, b]\n  threshold: 1\n  paths:\n    - {{ path: modules/, threshold: 2 }}\n\
         publishers:\n  - {{ signer: a, modules: [\"*\"] }}\n  - {{ signer: c, modules: [web-*] }}\n\
         revoked: []\n",
        key(1),
        key(2),
        key(3)
    );
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in the trust file");
        text = text.replacen(from, to, 1);
    }
    text
}

/// That trust file, accepted with root key 9.
pub(crate) fn trust(changes: &[(&str, &str)]) -> TrustFile {
    let text = trust_text(1, changes);
    let signatures = sign_all(&[9], Namespace::TRUST, text.as_bytes());
    let now = at("2026-06-01T00:00:00Z");
    TrustFile::accept(&roots(1, &[9]), PreviousTrust::None, text.as_bytes(), &signatures, now)
        .unwrap()
}

pub(crate) fn roots(threshold: usize, seeds: &[u8]) -> Roots {
    Roots::new(threshold, seeds.iter().map(|seed| file_key(*seed).public_key().clone())).unwrap()
}

pub(crate) fn revoke(seed: u8) -> String {
    let fingerprint = file_key(seed).public_key().fingerprint();
    format!(
        "revoked:\n  - {{ fingerprint: \"{fingerprint}\", reason: lost, since: 2026-05-01T00:00:00Z }}\n"
    )
}

pub(crate) fn statement(sequence: u64) -> ReleaseStatement {
    ReleaseStatement {
        repository: repository(),
        sequence: sequence_of(sequence),
        commit: "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12".parse().unwrap(),
        tree: wachter_model::Digest::of(b"tree"),
        not_after: at("2027-01-01T00:00:00Z"),
        ring: wachter_trust::Ring::default(),
        previous: None,
    }
}

pub(crate) fn sequence_of(number: u64) -> Sequence {
    number.to_string().parse().unwrap()
}

pub(crate) fn tagger() -> Tagger {
    Tagger { name: "A. Lice".into(), email: "a@example.com".into(), seconds: 1_780_000_000 }
}

pub(crate) fn one(signature: &[u8]) -> Signature {
    Signature::parse(signature).unwrap()
}
