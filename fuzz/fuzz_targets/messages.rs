//! What a module says, and what a node says to the launcher, is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wachter_protocol::launcher::{ToLauncher, ToNode};
use wachter_protocol::module::{Request, parse_line};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(message)) = parse_line(bytes) {
        let again = serde_json::to_vec(&message).expect("is JSON");
        assert!(parse_line(&again).is_ok());
    }
    let _ = serde_json::from_slice::<Request>(bytes);
    let _ = serde_json::from_slice::<ToLauncher>(bytes);
    let _ = serde_json::from_slice::<ToNode>(bytes);
});
