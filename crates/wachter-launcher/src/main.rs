//! `wachter-launcher`: the only part of Wachter that may be root, and small enough to be read.
//!
//! It verifies a module's signature, digest and grant, puts it into a jail and starts it. It has no
//! network, parses nothing that is not signed, root's own or in its own protocol, and does one thing
//! at a time.
//!
//! # Invariants
//! - One thread. No asynchronous runtime. No library that starts either.
//! - No path, command line, environment or permission comes from the node.
//! - Nothing is parsed before its signature holds, but the protocol, the owner's local file, and the
//!   age files of secrets, of which nothing is used before all was authenticated.
//! - Nothing outlives it: every run ends when it does, however it ends.

mod arguments;
mod authority;
mod build;
mod cgroup;
mod check;
mod compiled;
mod describe;
mod entry;
mod environments;
mod folders;
mod host;
mod interpreter;
mod jail;
mod kept;
mod passwd;
mod scratch;
mod secret_folder;
mod secrets;
mod server;
mod store;
mod supervision;
mod transfer;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Command, Connection};
use authority::{Authority, Mode};
use jail::plan::Base;
use jail::system_calls::Filters;
use wachter_packet::ServiceManager;
use wachter_protocol::{LocalFile, Mechanism};

fn main() -> ExitCode {
    let command = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(reason) => return fail(&reason, 2),
    };
    let output = match command {
        Command::Help => Ok(arguments::HELP.into()),
        Command::Version => Ok(format!("wachter-launcher {}\n", env!("CARGO_PKG_VERSION")).into()),
        Command::PrintFilter => Filters::compile().map(|filters| filters.to_bytes()),
        Command::Serve(arguments) => serve(*arguments).map(|()| Vec::new()),
    };
    let output = match output {
        Ok(output) => output,
        Err(reason) => return fail(&reason, 1),
    };
    match std::io::stdout().write_all(&output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(reason: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "wachter-launcher: {reason}");
    ExitCode::from(code)
}

fn serve(arguments: Arguments) -> Result<(), String> {
    jail::system::begin_with_default_signals();
    // What modules, stores and sockets get does not depend on who started this.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let local = read_local(&arguments)?;
    let _alone = lock(&arguments.state)?;
    // Only after the lock: a second launcher must not take the socket away from the first.
    let connection = take_connection(&arguments.connection)?;
    scratch::sweep(&arguments.state);
    secret_folder::sweep(&arguments.state);
    let host = host::Host::probe(local.confinement.profile, &arguments.state)?;
    let store =
        store::Store::open(&arguments.state).map_err(|error| wachter_model::chain(&error))?;
    let compiled = compiled::Compiled::open(&arguments.state, &arguments.builtin)
        .map_err(|error| format!("cannot keep compiled modules: {error}"))?;
    // Without namespaces orphans come to whoever asked for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| format!("cannot adopt orphans: {errno}"))?;
    let mut own = vec![arguments.state.clone()];
    own.extend(arguments.local_file.iter().filter_map(|path| path.parent()).map(Path::to_owned));
    if let Mode::Signed { data } = &arguments.mode {
        own.push(data.clone());
    }
    let state = arguments.state.clone();
    let node_user = arguments.node_user.as_deref().map(passwd::user).transpose()?;
    let builtin = arguments.builtin.clone();
    let mode = arguments.mode.clone();
    let uv = arguments.uv.clone();
    let environments = arguments.environments.clone().unwrap_or_else(|| state.join("python"));
    let development = matches!(mode, Mode::Development { .. });
    let environments = environments::Environments::open(&environments, development)
        .map_err(|error| format!("cannot use {}: {error}", environments.display()))?;
    build::sweep(&state);
    let mut server = server::Server {
        authority: Authority::new(
            mode,
            local,
            state.clone(),
            store,
            compiled,
            builtin,
            environments,
        ),
        host,
        filters: Filters::compile()?,
        base: Base::of_host(),
        forbidden: host::forbidden(&own),
        state,
        uv,
        reload: Box::new(move || read_local(&arguments)),
        connections: BTreeMap::new(),
        listener: None,
        node_user: node_user.map_or(rustix::process::geteuid().as_raw(), |(uid, _)| uid),
        runs: BTreeMap::new(),
        checks: BTreeMap::new(),
        next: 0,
        leftovers: Vec::new(),
        heartbeat: supervision::Heartbeat::none(),
    };
    match connection {
        Taken::Listener(listener) => {
            server.listener = Some(listener);
            let profile = server.host.profile.to_string();
            server.heartbeat =
                supervision::Heartbeat::ready(ServiceManager::from_environment(), &profile);
        }
        Taken::Connection(connection) => server.connect(connection),
    }
    server.serve();
    Ok(())
}

/// The local file; in development, where there is none, one that accepts whatever is absent: the user
/// runs code of their own, and could do so without a jail.
fn read_local(arguments: &Arguments) -> Result<LocalFile, String> {
    let development = matches!(arguments.mode, Mode::Development { .. });
    let local = match &arguments.local_file {
        Some(path) => {
            let text = authority::read_text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let local = LocalFile::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            if !development {
                belongs_to_root(path)?;
            }
            if development && !local.confinement.development {
                return Err(format!("{} does not allow `confinement.development`: only signed modules run on this host", path.display()));
            }
            local
        }
        None if development => LocalFile::read(
            "{version: 1, repository: {url: /, id: 00000000-0000-4000-8000-000000000000}, roots: {threshold: 1, keys: [none]}}",
        )
        .map_err(|error| error.to_string())?,
        None => return Err("`--local-file` is missing; see --help".to_owned()),
    };
    let mut local = local;
    if development {
        local.confinement.accept_absent.extend(Mechanism::ALL);
        local.confinement.profile = local.confinement.profile.or(arguments.profile);
    }
    Ok(local)
}

/// What says who may do what to a launcher with root is root's own, and no one else's to write.
fn belongs_to_root(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("cannot look at {}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{0} could be changed by others than root; `chown root {0} && chmod 644 {0}`",
            path.display()
        ));
    }
    Ok(())
}

/// Makes sure that no other launcher uses this state; one that is just ending is waited for.
fn lock(state: &Path) -> Result<std::fs::File, String> {
    let path = state.join("lock");
    let failed = |error: std::io::Error| format!("cannot lock {}: {error}", path.display());
    std::fs::create_dir_all(state).map_err(failed)?;
    let file = std::fs::File::create(&path).map_err(failed)?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(_) if std::time::Instant::now() < until => {
                let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                let _ = rustix::event::poll(&mut [], Some(&pause));
            }
            Err(_) => {
                return Err(format!("another launcher uses {}; stop it first", state.display()));
            }
        }
    }
}

/// How nodes reach this process.
enum Taken {
    Listener(OwnedFd),
    Connection(OwnedFd),
}

/// Moves the socket away from descriptor 0, so that no child inherits it as its input.
fn take_connection(connection: &Connection) -> Result<Taken, String> {
    let failed = |what: &str, errno: rustix::io::Errno| format!("cannot {what}: {errno}");
    match connection {
        Connection::Stdin => {
            let stdin = std::io::stdin();
            let moved = rustix::io::fcntl_dupfd_cloexec(&stdin, 3)
                .map_err(|errno| failed("take the connection", errno))?;
            let nothing = std::fs::File::open("/dev/null")
                .map_err(|error| format!("cannot open /dev/null: {error}"))?;
            rustix::stdio::dup2_stdin(&nothing).map_err(|errno| failed("replace stdin", errno))?;
            let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::RDWR;
            rustix::fs::fcntl_setfl(&moved, flags)
                .map_err(|errno| failed("set up the connection", errno))?;
            Ok(Taken::Connection(moved))
        }
        Connection::Listen(path) => {
            let _ = std::fs::remove_file(path);
            let address = rustix::net::SocketAddrUnix::new(path)
                .map_err(|errno| failed("name the socket", errno))?;
            let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::SEQPACKET,
                flags,
                None,
            )
            .map_err(|errno| failed("make a socket", errno))?;
            rustix::net::bind(&socket, &address)
                .map_err(|errno| failed(&format!("bind {}", path.display()), errno))?;
            // Who may connect is told by the peer's user, not by the file's mode.
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            rustix::fs::chmod(path, mode)
                .map_err(|errno| failed("open the socket to the node", errno))?;
            rustix::net::listen(&socket, 8).map_err(|errno| failed("listen", errno))?;
            Ok(Taken::Listener(socket))
        }
    }
}
