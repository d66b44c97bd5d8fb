//! Whatever an agent answers, it is understood or refused.
#![no_main]

use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wachter_trust::{Agent, FileKey, Namespace, PublicKey, Signer as _};

static KEY: LazyLock<PublicKey> = LazyLock::new(|| {
    let key = FileKey::from_seed(&[1; 32], "").expect("every seed makes a key");
    key.public_key().clone()
});

/// An agent that answers with given bytes, whatever it is asked.
struct Canned(Cursor<Vec<u8>>);

impl Read for Canned {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Canned {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let stream = || Canned(Cursor::new(bytes.to_vec()));
    let _ = Agent::new(stream()).identities();
    let signed = Agent::new(stream()).into_signer(KEY.clone()).sign(Namespace::GIT, b"message");
    if let Ok(signature) = signed {
        assert_eq!(signature.verify(Namespace::GIT, b"message"), Ok(()));
    }
});
