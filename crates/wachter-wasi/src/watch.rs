//! The deadline of a run, seen from inside.
//!
//! A run is ended from outside when its time is up, whatever it does; that leaves no word about where
//! it was. So a module is interrupted a little before, says where it was, and waits for its end.

use std::time::Duration;

use wasmtime::Engine;

use crate::failure::WasiError;

/// The part of the time, and the most of it, that is kept for last words.
const PART: u32 = 20;
const MOST: Duration = Duration::from_millis(200);

/// Interrupts the module that `engine` runs shortly before `timeout` is over.
#[expect(clippy::disallowed_methods, reason = "what is waited for is the clock")]
pub(crate) fn interrupt(engine: &Engine, timeout: Duration) -> Result<(), WasiError> {
    let early = (timeout / PART).min(MOST);
    let engine = engine.clone();
    let name = "deadline".to_owned();
    let begun = std::thread::Builder::new().name(name).spawn(move || {
        std::thread::sleep(timeout.saturating_sub(early));
        engine.increment_epoch();
    });
    begun.map(drop).map_err(|error| WasiError::Engine(error.into()))
}

/// Waits for the end from outside.
#[expect(clippy::disallowed_methods, reason = "what is waited for ends this process")]
pub(crate) fn wait_for_the_end(timeout: Duration) {
    std::thread::sleep((timeout / PART).min(MOST) + MOST);
}
