//! Whatever stands in a trust file, it is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_trust::{AllowedSigners, Purpose, TrustFile};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(trust) = TrustFile::parse(bytes) {
        for purpose in [Purpose::Release, Purpose::Module] {
            let rendered = trust.allowed_signers(purpose);
            AllowedSigners::parse(rendered.as_bytes()).expect("what is rendered can be read");
        }
    }
});
