//! Whatever stands in a list of signers or of revoked keys, it is understood or refused.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use wachter_trust::{AllowedSigners, Namespace, RevokedKeys};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signers) = AllowedSigners::parse(bytes) {
        for line in signers.lines() {
            assert!(bytes.split(|byte| *byte == b'\n').nth(line.line - 1).is_some());
            let _ = signers.find_principals(&line.key, Namespace::GIT, Timestamp::UNIX_EPOCH);
            let _ = line.principals.matches("someone@example.com");
        }
    }
    if let Ok(revoked) = RevokedKeys::parse(bytes) {
        assert_eq!(RevokedKeys::parse(revoked.to_string().as_bytes()), Ok(revoked));
    }
});
