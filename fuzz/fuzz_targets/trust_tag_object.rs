//! Whatever is tagged or committed, it is understood or refused; a statement has one text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_trust::{CommitObject, ReleaseCandidate, ReleaseStatement, TagObject};

fuzz_target!(|bytes: &[u8]| {
    let _ = CommitObject::parse(bytes);
    if let Ok(tag) = TagObject::parse(bytes) {
        assert_eq!(tag.as_bytes(), bytes);
        assert!(tag.as_bytes().starts_with(tag.signed_bytes()));
        if let Ok(candidate) = ReleaseCandidate::new(&[tag]) {
            let _ = candidate.statement();
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(statement) = ReleaseStatement::parse(text)
    {
        assert_eq!(statement.render(), text);
    }
});
