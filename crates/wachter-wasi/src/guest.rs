//! A module at work: what it has of the host, and what came of it.

use std::io::{self, Write as _};

use wasmtime::{Engine, Store, Trap, component};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2;
use wasmtime_wasi::p2::bindings::Command;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::arguments::{Folder, Options};
use crate::code::Code;
use crate::failure::{Place, WasiError};
use crate::lines::Lines;
use crate::memory::MemoryLimit;
use crate::times::Times;
use crate::watch;

/// What belongs to one run.
struct Guest {
    wasi: WasiP1Ctx,
    memory: MemoryLimit,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// Runs a module to its end, and gives its exit code.
///
/// # Errors
/// It could not be begun, or it trapped. One that is still at work at the deadline has that told on
/// stderr, and its place; then this waits to be ended.
pub(crate) fn run(
    engine: &Engine,
    code: &Code,
    request: Vec<u8>,
    options: &Options,
    times: &mut Times,
) -> Result<u8, WasiError> {
    let lines = Lines::default();
    let wasi = wasi(request, lines.clone(), options)?;
    let guest = Guest { wasi, memory: MemoryLimit::new(options.memory) };
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_epoch_deadline(1);
    if let Some(timeout) = options.timeout {
        watch::interrupt(engine, timeout)?;
    }
    // One thread: what the module waits for is waited for here.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| WasiError::Engine(error.into()))?;
    times.step("prepare");
    let ended = runtime.block_on(async {
        match code {
            Code::Module(module) => run_module(&mut store, module, times).await,
            Code::Component(component) => run_component(&mut store, component, times).await,
        }
    });
    times.step("run");
    let error = match ended {
        Ok(code) => {
            // Where nobody reads any more, nobody needs to know.
            let _ = lines.finish();
            return Ok(code);
        }
        Err(error) => error,
    };
    if let (Some(timeout), WasiError::Trap { place, source }) = (options.timeout, &error)
        && source.downcast_ref::<Trap>() == Some(&Trap::Interrupt)
    {
        let _ = writeln!(io::stderr(), "at its deadline the module was{place}");
        watch::wait_for_the_end(timeout);
    }
    let memory = &store.data().memory;
    match memory.refused() {
        true => Err(WasiError::Memory { most: memory.most(), source: Box::new(error) }),
        false => Err(error),
    }
}

/// What a module has: its request, a place for its words, clocks, random numbers, and folders.
fn wasi(request: Vec<u8>, lines: Lines, options: &Options) -> Result<WasiP1Ctx, WasiError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(MemoryInputPipe::new(request))
        .stdout(lines)
        .inherit_stderr()
        .arg(options.module.file_name().unwrap_or_default().to_string_lossy())
        .allow_blocking_current_thread(true)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    for Folder { guest, host, writable } in &options.folders {
        let permissions = if *writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(host, guest, permissions)
            .map_err(|source| WasiError::Folder { guest: guest.clone(), source })?;
    }
    Ok(wasi.build_p1())
}

async fn run_module(
    store: &mut Store<Guest>,
    module: &wasmtime::Module,
    times: &mut Times,
) -> Result<u8, WasiError> {
    let mut linker = wasmtime::Linker::new(store.engine());
    p1::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)
        .map_err(WasiError::Link)?;
    times.step("link");
    let instance = linker.instantiate_async(&mut *store, module).await.map_err(begun)?;
    times.step("instantiate");
    let start =
        instance.get_typed_func::<(), ()>(&mut *store, "_start").map_err(WasiError::Link)?;
    exit_code(start.call_async(store, ()).await.map(|()| 0))
}

async fn run_component(
    store: &mut Store<Guest>,
    component: &component::Component,
    times: &mut Times,
) -> Result<u8, WasiError> {
    let mut linker = component::Linker::new(store.engine());
    p2::add_to_linker_async(&mut linker).map_err(WasiError::Link)?;
    times.step("link");
    let command =
        Command::instantiate_async(&mut *store, component, &linker).await.map_err(begun)?;
    times.step("instantiate");
    let ended = command.wasi_cli_run().call_run(store).await;
    exit_code(ended.map(|result| u8::from(result.is_err())))
}

/// Why a module did not begin: it wants what is not there, or a function that it has run first trapped.
fn begun(error: wasmtime::Error) -> WasiError {
    match error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>() {
        true => trapped(error),
        false => WasiError::Link(error),
    }
}

fn exit_code(ended: wasmtime::Result<u8>) -> Result<u8, WasiError> {
    ended.or_else(|error| match error.downcast_ref::<I32Exit>() {
        // A process has eight bits for it; what does not fit is no success all the same.
        Some(I32Exit(code)) => Ok(u8::try_from(*code).unwrap_or(u8::MAX)),
        None => Err(trapped(error)),
    })
}

fn trapped(source: wasmtime::Error) -> WasiError {
    WasiError::Trap { place: Place::of(&source), source }
}
