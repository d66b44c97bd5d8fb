//! Any text is configuration or refused with a problem that has its file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_config::{Catalogue, Module, Sources};

fuzz_target!(|text: &str| {
    let mut sources = Sources {
        host: Some("h".parse().expect("is a name")),
        local: Some(("node.yaml", text)),
        ..Sources::default()
    };
    sources.modules.insert("m".parse().expect("is a name"), Module::default());
    for path in ["config/wachter.yaml", "config/groups/g.yaml", "config/agents/a.yaml"] {
        sources.files = vec![(path, text)];
        if let Err(problems) = Catalogue::load(&sources) {
            assert!(problems.0.iter().all(|problem| !problem.path.is_empty()));
        }
    }
});
