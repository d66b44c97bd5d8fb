//! Any bytes are a file of age or refused, and none that was not sealed is opened.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wachter_secret::{Identity, Named, identities, open, recipients};

static IDENTITIES: LazyLock<Vec<Identity>> =
    LazyLock::new(|| vec![Identity::generate().expect("there is randomness")]);

fuzz_target!(|file: &[u8]| {
    let _ = recipients(file);
    assert!(open(file, &IDENTITIES).is_err());
    let _ = Named::of(file, "token");
    if let Ok(text) = std::str::from_utf8(file) {
        let _ = identities(text);
    }
});
