//! Any text is a document or refused at a place, and so are manifests and local files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_document::{Node, read};
use wachter_protocol::{LocalFile, Manifest};

fuzz_target!(|text: &str| {
    match Node::read(text, 0) {
        Ok(node) => {
            assert!(!node.leaves().is_empty());
            assert_eq!(read::<serde_json::Value>(text), Ok(node.to_json()));
        }
        Err(error) => assert!(error.render("file", text).starts_with("file")),
    }
    if let Ok(manifest) = Manifest::read(text) {
        assert!(Manifest::read(&serde_json::to_string(&manifest).expect("is JSON")).is_ok());
    }
    let _ = LocalFile::read(text);
});
