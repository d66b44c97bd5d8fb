//! The module that `wachter module new --language rust` starts with.

include!("../../wachter/templates/module/rust/src/main.rs");
