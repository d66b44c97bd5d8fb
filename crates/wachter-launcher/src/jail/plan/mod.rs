//! Everything that is decided about a run before anything is done: from the grant, the manifest, the
//! profile and what the host offers.

mod base;
mod granted;
mod listeners;
mod program;
mod shown;
mod surroundings;
mod wasi;

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Resource;
use rustix::thread::CapabilitySet;
use wachter_protocol::{Grant, Limits, Profile};

use super::capabilities;
use super::files::Rules;
use super::system_calls::Surroundings;
use super::user::User;
use super::view::{SECRETS, View};
pub(crate) use base::Base;
use base::{BASE, DEVICES};
use granted::Granted;
pub(crate) use listeners::Listener;
use program::Executed;
pub(crate) use program::{Build, Program};

/// Where the module's files are in the view.
pub(crate) const MODULE: &str = "/module";

/// The program loaders: who may execute anything must execute one of these too.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

/// A run, decided.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The file to execute and its arguments, the name first.
    pub(crate) program: CString,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    pub(crate) folder: PathBuf,
    pub(crate) user: User,
    pub(crate) capabilities: CapabilitySet,
    /// None where the profile has no namespaces.
    pub(crate) view: Option<View>,
    pub(crate) user_namespace: bool,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    /// What of each process is limited to the memory of all, where nothing limits that.
    pub(crate) memory_for_each: Option<Resource>,
    pub(crate) listeners: Vec<Listener>,
    /// Folders whose growth counts against the disk limit.
    pub(crate) watched: Vec<PathBuf>,
}

/// What a plan is made from.
pub(crate) struct Request<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) profile: Profile,
    /// The folder of the verified module on the host.
    pub(crate) module: &'a Path,
    /// The program and its arguments: below the module's folder, or a program of the host.
    pub(crate) program: Program,
    pub(crate) user: User,
    /// A folder of its own, where there are no namespaces to give it a `/tmp`.
    pub(crate) scratch: PathBuf,
    /// Where the run finds its secrets, where it was given any and there are no namespaces to show
    /// them in.
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) base: &'a Base,
    /// Paths that no run may see: Wachter's own, and sockets that are as good as root.
    pub(crate) forbidden: &'a [PathBuf],
    pub(crate) memory_for_each: bool,
    /// When the run is ended.
    pub(crate) timeout: Duration,
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// What is granted cannot be given under this profile; one sentence that says what to do.
    pub(crate) fn new(request: Request<'_>) -> Result<Self, String> {
        let permissions = request.grant.permissions();
        let namespaces = request.profile != Profile::NoNamespaces;
        if !namespaces && !permissions.network.is_empty() {
            return Err(
                "network access needs `network-namespace`, which the profile `no-namespaces` \
                 does not have; leave `permissions.network` out or use another profile"
                    .to_owned(),
            );
        }
        let granted = Granted::of(permissions);
        let masks = granted.masks(request.forbidden, namespaces)?;
        let secrets = match (permissions.secrets.is_empty(), namespaces) {
            (true, _) => None,
            (false, true) => Some(PathBuf::from(SECRETS)),
            (false, false) => request.secrets,
        };
        if namespaces && secrets.is_some() {
            granted.nothing_covers_secrets()?;
        }
        let root = permissions.user.as_deref() == Some("root");
        let capabilities = if root {
            capabilities::set(request.grant.capabilities().iter().map(String::as_str))?
        } else {
            CapabilitySet::empty()
        };
        let folder = if namespaces { PathBuf::from(MODULE) } else { request.module.to_owned() };
        let scratch = if namespaces { PathBuf::from("/tmp") } else { request.scratch };
        let program = request.program.executed(&folder, namespaces, || {
            let places =
                wasi::Places { module: &folder, scratch: &scratch, secrets: secrets.as_deref() };
            wasi::arguments(&granted, places, request.grant.limits(), request.timeout)
        });
        let listeners = listeners::listeners(request.grant)?;
        let rules = Rules {
            read: match namespaces {
                // The view holds nothing that may not be read.
                true => vec!["/".into()],
                false => readable(&granted, &folder, &program, secrets.as_deref()),
            },
            write: writable(&granted, &program, &scratch),
            execute: executable(&granted, &program),
            connect: ports(&listeners),
        };
        let environment = surroundings::environment(
            &scratch,
            &folder,
            secrets.as_deref(),
            !listeners.is_empty(),
            &program.variables,
        );
        let mut watched = granted.write.clone();
        watched.extend(program.written().map(|shown| shown.source.clone()));
        if !namespaces {
            watched.push(scratch.clone());
        }
        let view = namespaces.then(|| View {
            masks,
            tmp_bytes: request.grant.limits().disk.as_bytes(),
            ..shown::view(
                request.base,
                &granted,
                request.module,
                &program.shown,
                surroundings::files(&request.user, &listeners),
            )
        });
        let mut limits = request.grant.limits().clone();
        let mut memory = Resource::As;
        if program.engine {
            limits.processes = limits.processes.max(wasi::PROCESSES);
            memory = Resource::Data;
        }
        Ok(Self {
            program: text(program.path)?,
            arguments: program.arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            environment,
            folder,
            user: request.user,
            capabilities,
            rules: if view.is_some() { rules } else { of_the_host(rules) },
            view,
            user_namespace: namespaces && !root,
            limits,
            memory_for_each: request.memory_for_each.then_some(memory),
            listeners,
            watched,
        })
    }

    /// What the filter of system calls depends on.
    pub(crate) fn surroundings(&self) -> Surroundings {
        match (&self.view, self.listeners.is_empty()) {
            (None, _) => Surroundings::Shared,
            (Some(_), true) => Surroundings::Alone,
            (Some(_), false) => Surroundings::Connected,
        }
    }
}

/// What may be read where there is no view.
fn readable(
    granted: &Granted,
    folder: &Path,
    program: &Executed,
    secrets: Option<&Path>,
) -> Vec<PathBuf> {
    let mut read: Vec<PathBuf> = BASE.map(PathBuf::from).into();
    read.extend(DEVICES.map(PathBuf::from));
    read.extend(granted.read.iter().cloned());
    read.push(folder.to_owned());
    read.extend(program.shown.iter().map(|shown| shown.target.clone()));
    read.extend(secrets.map(Path::to_owned));
    read
}

fn writable(granted: &Granted, program: &Executed, scratch: &Path) -> Vec<PathBuf> {
    let mut write = granted.write.clone();
    write.extend(program.written().map(|shown| shown.target.clone()));
    write.push(scratch.to_owned());
    write.extend(["/dev/null", "/dev/zero", "/dev/full"].map(PathBuf::from));
    write
}

fn executable(granted: &Granted, program: &Executed) -> Vec<PathBuf> {
    let mut execute = granted.exec.clone();
    execute.extend(LOADERS.map(PathBuf::from));
    execute.extend(program.needs.iter().cloned());
    execute
}

fn ports(listeners: &[Listener]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners.iter().map(|listener| listener.address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The paths that were judged, whatever is made of them from here on.
fn of_the_host(mut rules: Rules) -> Rules {
    for paths in [&mut rules.read, &mut rules.write, &mut rules.execute] {
        paths.iter_mut().for_each(|path| *path = real(path));
    }
    rules
}

fn text(path: PathBuf) -> Result<CString, String> {
    CString::new(path.into_os_string().into_encoded_bytes())
        .map_err(|_| "a path holds a zero byte".to_owned())
}

/// A path without symbolic links, or as it is where it cannot be followed: opening it fails then.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
