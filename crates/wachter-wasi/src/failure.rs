use std::io;
use std::path::PathBuf;

use wasmtime::{Trap, WasmBacktrace};

/// Why a module did not run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WasiError {
    #[error("the engine for WebAssembly cannot be set up")]
    Engine(#[source] wasmtime::Error),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the request")]
    Request(#[source] io::Error),
    #[error(
        "the entrypoint is not WebAssembly; name a core module or a component under `runtime.entrypoint`"
    )]
    NotWebAssembly,
    #[error("the module cannot be compiled")]
    Compile(#[source] wasmtime::Error),
    #[error("the folder {guest} cannot be opened")]
    Folder {
        guest: String,
        #[source]
        source: wasmtime::Error,
    },
    #[error("the module is no command of WASI preview 1 or 0.2")]
    Link(#[source] wasmtime::Error),
    #[error("the module stopped{}", .place)]
    Trap {
        place: Place,
        #[source]
        source: wasmtime::Error,
    },
    #[error(
        "the module may have no more than {most} bytes of memory and asked for more; raise `limits.memory`"
    )]
    Memory {
        most: u64,
        #[source]
        source: Box<WasiError>,
    },
}

/// Where in a module something happened: its functions, the innermost first, as far as it names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(Vec<String>);

/// The most functions that are named.
const FRAMES: usize = 10;

impl Place {
    /// The place that an error tells.
    pub(crate) fn of(error: &wasmtime::Error) -> Self {
        error.downcast_ref::<WasmBacktrace>().map(Self::of_backtrace).unwrap_or_default()
    }

    /// The place that a backtrace tells.
    pub(crate) fn of_backtrace(backtrace: &WasmBacktrace) -> Self {
        let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        };
        Self(backtrace.frames().iter().take(FRAMES).map(name).collect())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((innermost, callers)) = self.0.split_first() else { return Ok(()) };
        write!(f, " in {innermost}")?;
        callers.iter().try_for_each(|caller| write!(f, ", called by {caller}"))
    }
}

/// An error with its causes, in one sentence.
pub(crate) fn sentence(error: &WasiError) -> String {
    let told = |source: &wasmtime::Error| match source.downcast_ref::<Trap>() {
        // Its other causes are the places that were told already.
        Some(trap) => trap.to_string(),
        None => {
            let causes = source.chain().map(ToString::to_string);
            let places = source.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
            let causes = causes.filter(|cause| Some(cause) != places.as_ref());
            causes.collect::<Vec<_>>().join(": ")
        }
    };
    match error {
        WasiError::Engine(source)
        | WasiError::Compile(source)
        | WasiError::Link(source)
        | WasiError::Folder { source, .. }
        | WasiError::Trap { source, .. } => format!("{error}: {}", told(source)),
        WasiError::Read { source, .. } | WasiError::Request(source) => format!("{error}: {source}"),
        WasiError::Memory { source, .. } => format!("{error}: {}", sentence(source)),
        WasiError::NotWebAssembly => error.to_string(),
    }
}
