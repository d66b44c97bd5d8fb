//! Whatever calls itself signatures, it is understood or refused, and holds for nothing by chance.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_trust::{Namespace, Signature};

fuzz_target!(|bytes: &[u8]| {
    for signature in Signature::parse_all(bytes).unwrap_or_default() {
        assert_eq!(Signature::parse(signature.to_armor().as_bytes()), Ok(signature.clone()));
        assert!(signature.verify(Namespace::TRUST, b"never signed").is_err());
    }
});
