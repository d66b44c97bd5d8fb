//! The vectors of the format's authors (C2SP CCTV), which the `age` crate brings along.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use wachter_secret::{Identity, open};

fn folder() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let age = packages.iter().find(|package| package["name"] == "age").unwrap();
    let manifest = PathBuf::from(age["manifest_path"].as_str().unwrap());
    manifest.with_file_name("tests").join("testdata/testkit")
}

/// What a vector says of itself before an empty line, and the file after it.
struct Vector {
    head: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let head = head.lines().map(|line| line.split_once(": ").unwrap());
        let head = head.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { head, file: bytes[end + 2..].to_vec() }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn one<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }
}

#[test]
fn the_vectors_of_the_format_hold() {
    let (mut opened, mut refused, mut others) = (0, 0, 0);
    let mut entries: Vec<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        let vector = Vector::parse(&fs::read(&path).unwrap());
        let identities: Vec<Identity> =
            vector.all("identity").filter_map(|identity| identity.parse().ok()).collect();
        // Passphrases, other kinds of keys and compressed vectors are of no use here.
        let ours = !identities.is_empty()
            && vector.one("compressed").is_none()
            && vector.one("passphrase").is_none();
        if !ours {
            others += 1;
            continue;
        }
        let outcome = open(&vector.file, &identities);
        if vector.one("expect") == Some("success") {
            let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            let digest: String =
                Sha256::digest(&*outcome).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(Some(digest.as_str()), vector.one("payload"), "{name}");
            opened += 1;
        } else {
            assert!(outcome.is_err(), "{name} was opened");
            refused += 1;
        }
    }
    assert!(
        opened >= 10 && refused >= 40,
        "{opened} opened, {refused} refused, {others} passed over"
    );
}
