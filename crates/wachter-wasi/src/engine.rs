use wasmtime::{Config, Engine};

use crate::failure::WasiError;

/// The engine, alike wherever it is made: code that one has compiled is taken by another only where
/// everything that is set here is the same.
pub(crate) fn engine() -> Result<Engine, WasiError> {
    let mut config = Config::new();
    // What is interrupted at the deadline has to look for it.
    config.epoch_interruption(true);
    // Only debuggers and profilers of the host unwind through a module; traps are followed otherwise.
    config.native_unwind_info(false);
    // A preview of what follows 0.2; without it a store is made in less time.
    config.concurrency_support(false);
    Engine::new(&config).map_err(WasiError::Engine)
}
