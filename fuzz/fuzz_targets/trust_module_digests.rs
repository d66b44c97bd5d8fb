//! There is one text for each module: what is read is written again to the byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_trust::ModuleDigests;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(module) = ModuleDigests::parse(bytes) {
        assert_eq!(module.render().as_bytes(), bytes);
    }
});
