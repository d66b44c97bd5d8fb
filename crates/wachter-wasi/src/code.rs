//! A module as machine code, compiled now or before.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use crate::failure::WasiError;

/// Machine code, and which of the two kinds of WebAssembly it was.
pub(crate) enum Code {
    /// A core module: WASI preview 1.
    Module(Module),
    /// A component: WASI 0.2.
    Component(Component),
}

impl Code {
    /// Loads `code` where there is some that this engine takes, or compiles `module`.
    pub(crate) fn load(
        engine: &Engine,
        module: &Path,
        code: Option<&Path>,
    ) -> Result<Self, WasiError> {
        if let Some(path) = code {
            match load_compiled(engine, path) {
                Ok(loaded) => return Ok(loaded),
                // Other processors than those it was compiled on, as after a machine was moved: slower,
                // and no reason to fail.
                Err(error) => {
                    let _ = writeln!(io::stderr(), "compiling again: {error:#}");
                }
            }
        }
        let bytes = read(module)?;
        match kind(&bytes)? {
            Precompiled::Module => Module::from_binary(engine, &bytes).map(Self::Module),
            Precompiled::Component => Component::from_binary(engine, &bytes).map(Self::Component),
        }
        .map_err(WasiError::Compile)
    }

    /// Compiles a module for [`load`](Self::load).
    pub(crate) fn compile(engine: &Engine, module: &Path) -> Result<Vec<u8>, WasiError> {
        let bytes = read(module)?;
        match kind(&bytes)? {
            Precompiled::Module => engine.precompile_module(&bytes),
            Precompiled::Component => engine.precompile_component(&bytes),
        }
        .map_err(WasiError::Compile)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, WasiError> {
    fs::read(path).map_err(|source| WasiError::Read { path: path.to_owned(), source })
}

/// Tells the two kinds apart by the first eight bytes: `\0asm`, a version, and a layer
/// (WebAssembly core specification 2.0, 5.5.16; component model, Binary.md).
fn kind(bytes: &[u8]) -> Result<Precompiled, WasiError> {
    match bytes {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(Precompiled::Module),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(Precompiled::Component),
        _ => Err(WasiError::NotWebAssembly),
    }
}

#[allow(unsafe_code, reason = "machine code cannot be verified, only kept from who could forge it")]
fn load_compiled(engine: &Engine, path: &Path) -> wasmtime::Result<Code> {
    let kind = Engine::detect_precompiled_file(path)?;
    // SAFETY: the caller of this program vouches for the file: the launcher had this engine compile it
    // from the verified module, in a jail that held nothing else, keeps it where only the launcher can
    // write, shows it read-only, and compared its digest a moment ago. Whatever is in it runs in the
    // jail of the module that it was compiled from, and in no other.
    unsafe {
        match kind {
            Some(Precompiled::Module) => Module::deserialize_file(engine, path).map(Code::Module),
            Some(Precompiled::Component) => {
                Component::deserialize_file(engine, path).map(Code::Component)
            }
            None => Err(wasmtime::Error::msg("it is no compiled module")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::engine;

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        for (text, expected) in [("(module)", "module"), ("(component)", "component")] {
            let found = match kind(&wat::parse_str(text).unwrap()).unwrap() {
                Precompiled::Module => "module",
                Precompiled::Component => "component",
            };
            assert_eq!(found, expected);
        }
        for bytes in [&b""[..], b"\0asm", b"\x7fELF\x01\0\0\0", b"#!/bin/sh"] {
            assert!(matches!(kind(bytes), Err(WasiError::NotWebAssembly)), "{bytes:?}");
        }
    }

    #[test]
    fn code_that_does_not_fit_is_compiled_again() {
        let folder = tempfile::tempdir().unwrap();
        let (module, code) = (folder.path().join("module"), folder.path().join("code"));
        fs::write(&module, wat::parse_str("(module (func (export \"_start\")))").unwrap()).unwrap();
        let engine = engine().unwrap();
        let compiled = Code::compile(&engine, &module).unwrap();
        fs::write(&code, &compiled).unwrap();
        assert!(load_compiled(&engine, &code).is_ok());
        for spoiled in [&b""[..], b"nothing", &compiled[..compiled.len() / 2]] {
            fs::write(&code, spoiled).unwrap();
            assert!(load_compiled(&engine, &code).is_err());
            assert!(matches!(Code::load(&engine, &module, Some(&code)), Ok(Code::Module(_))));
        }
    }
}
