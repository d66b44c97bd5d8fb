//! Everything that is decided about a run before anything is done: from the grant, the manifest, the
//! profile and what the host offers.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;
use wachter_protocol::{AbsolutePath, Endpoint, Grant, Limits, Profile};

use super::capabilities;
use super::files::Rules;
use super::system_calls::Surroundings;
use super::user::User;
use super::view::{Bind, BindKind, SECRETS, View};

/// Where the module's files are in the view.
pub(crate) const MODULE: &str = "/module";

/// The port of the HTTP proxy that leads to the egress broker, inside.
pub(crate) const PROXY_PORT: u16 = 3128;

/// The name of the loopback address, RFC 6761.
const LOCALHOST: &str = "localhost";

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
    pub(crate) memory_for_each: bool,
    pub(crate) listeners: Vec<Listener>,
    /// Folders whose growth counts against the disk limit.
    pub(crate) watched: Vec<PathBuf>,
}

/// A socket that the egress broker accepts from: an address inside, and what is meant by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: std::net::SocketAddrV4,
    /// None for the proxy.
    pub(crate) endpoint: Option<Endpoint>,
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
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A file of the module, with the programs that its first line names.
    Payload { file: String, interpreters: Vec<PathBuf> },
    /// The executable of the built-in modules, and the name of one.
    Builtin { executable: PathBuf, name: String },
}

/// What every run sees of the host, read once when the launcher starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    binds: Vec<Bind>,
    links: Vec<(PathBuf, PathBuf)>,
}

/// Folders of programs and libraries, and of what they cannot do without.
const BASE: [&str; 15] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/localtime",
    "/etc/os-release",
];

const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The program loaders: who may execute anything must execute one of these too.
const LOADERS: [&str; 4] = [
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
];

impl Base {
    /// Looks at the host.
    pub(crate) fn of_host() -> Self {
        let mut base = Self::default();
        for path in BASE.map(PathBuf::from) {
            match std::fs::read_link(&path) {
                Ok(target) => base.links.push((path, target)),
                Err(_) => base.binds.push(Bind {
                    source: real(&path),
                    target: path,
                    kind: BindKind::ReadOnly,
                    optional: true,
                }),
            }
        }
        for path in DEVICES.map(PathBuf::from) {
            base.binds.push(Bind {
                source: real(&path),
                target: path,
                kind: BindKind::Device,
                optional: false,
            });
        }
        for (path, target) in [
            ("/dev/fd", "/proc/self/fd"),
            ("/dev/stdin", "/proc/self/fd/0"),
            ("/dev/stdout", "/proc/self/fd/1"),
            ("/dev/stderr", "/proc/self/fd/2"),
            ("/dev/shm", "/tmp"),
            ("/var/tmp", "/tmp"),
        ] {
            base.links.push((path.into(), target.into()));
        }
        base
    }
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// What is granted cannot be given under this profile; one sentence that says what to do.
    pub(crate) fn new(request: Request<'_>) -> Result<Self, String> {
        let Request { grant, profile, module, user, scratch, base, forbidden, .. } = request;
        let permissions = grant.permissions();
        let namespaces = profile != Profile::NoNamespaces;
        let paths = |paths: &std::collections::BTreeSet<AbsolutePath>| -> Vec<PathBuf> {
            paths.iter().map(|path| path.as_path().to_owned()).collect()
        };
        let (read, write) =
            (paths(&permissions.filesystem.read), paths(&permissions.filesystem.write));
        let exec = paths(&permissions.exec);
        let masks = masks(&read, &write, &exec, forbidden, namespaces)?;
        if !namespaces && !permissions.network.is_empty() {
            return Err(
                "network access needs `network-namespace`, which the profile `no-namespaces` \
                 does not have; leave `permissions.network` out or use another profile"
                    .to_owned(),
            );
        }
        let secrets = match (permissions.secrets.is_empty(), namespaces) {
            (true, _) => None,
            (false, true) => Some(PathBuf::from(SECRETS)),
            (false, false) => request.secrets,
        };
        if namespaces && secrets.is_some() {
            nothing_covers_secrets([&read, &write, &exec])?;
        }
        let kept = if permissions.user.as_deref() == Some("root") {
            capabilities::set(grant.capabilities().iter().map(String::as_str))?
        } else {
            CapabilitySet::empty()
        };
        let inside = if namespaces { PathBuf::from(MODULE) } else { module.to_owned() };
        let scratch = if namespaces { PathBuf::from("/tmp") } else { scratch };
        let mut execute = exec.clone();
        execute.extend(LOADERS.map(PathBuf::from));
        let (program, arguments, builtin) = match request.program {
            Program::Payload { file, interpreters } => {
                execute.extend(interpreters);
                execute.push(inside.clone());
                let program = inside.join(file);
                (program.clone(), vec![program], None)
            }
            Program::Builtin { executable, name } => {
                let program = if namespaces {
                    PathBuf::from("/run/wachter-modules")
                } else {
                    executable.clone()
                };
                execute.push(program.clone());
                (program.clone(), vec![program, name.into()], Some(executable))
            }
        };
        let listeners = listeners(grant)?;
        let mut rules = Rules {
            execute,
            connect: listeners.iter().map(|l| l.address.port()).collect(),
            ..Rules::default()
        };
        rules.connect.sort_unstable();
        rules.connect.dedup();
        rules.write.extend(write.iter().cloned());
        rules.write.push(scratch.clone());
        rules.write.extend(["/dev/null", "/dev/zero", "/dev/full"].map(PathBuf::from));
        if namespaces {
            // The view holds nothing that may not be read.
            rules.read.push("/".into());
        } else {
            rules.read.extend(BASE.map(PathBuf::from));
            rules.read.extend(DEVICES.map(PathBuf::from));
            rules.read.extend(read.iter().cloned());
            rules.read.push(inside.clone());
            rules.read.extend(builtin.clone());
            rules.read.extend(secrets.clone());
            // The paths that were judged, whatever is made of them from here on.
            for paths in [&mut rules.read, &mut rules.write, &mut rules.execute] {
                paths.iter_mut().for_each(|path| *path = real(path));
            }
        }
        let environment = environment(&scratch, &inside, secrets.as_deref(), !listeners.is_empty());
        let view = namespaces.then(|| {
            let mut binds = base.binds.clone();
            let bind = |path: &PathBuf, kind| Bind {
                source: real(path),
                target: path.clone(),
                kind,
                optional: false,
            };
            let writable = |path: &PathBuf| match exec
                .iter()
                .any(|exec| exec.starts_with(path) || path.starts_with(exec))
            {
                true => BindKind::ReadWriteExecute,
                false => BindKind::ReadWrite,
            };
            // Shorter paths first, so that a folder does not cover what is granted within it.
            let mut granted: Vec<Bind> = Vec::new();
            granted.extend(
                read.iter()
                    .filter(|path| !write.contains(path))
                    .map(|path| bind(path, BindKind::ReadOnly)),
            );
            granted.extend(write.iter().map(|path| bind(path, writable(path))));
            let shown =
                |path: &&PathBuf| read.iter().chain(&write).any(|shown| path.starts_with(shown));
            granted.extend(
                exec.iter().filter(|path| !shown(path)).map(|path| bind(path, BindKind::ReadOnly)),
            );
            granted.sort_by(|a, b| a.target.cmp(&b.target));
            // What the base shows already needs no second mount.
            granted.retain(|granted| {
                granted.kind != BindKind::ReadOnly
                    || !base.binds.iter().any(|base| granted.target.starts_with(&base.target))
            });
            // A folder granted above something of the base must come before it.
            let (above, beside): (Vec<_>, Vec<_>) = granted.into_iter().partition(|granted| {
                base.binds.iter().any(|base| base.target.starts_with(&granted.target))
            });
            let shown: Vec<PathBuf> = above.iter().map(|bind| bind.target.clone()).collect();
            let covered = |path: &Path| shown.iter().any(|shown| path.starts_with(shown));
            binds.retain(|bind| !covered(&bind.target));
            let links = base.links.iter().filter(|(path, _)| !covered(path)).cloned().collect();
            binds.splice(0..0, above);
            binds.extend(beside);
            binds.push(Bind {
                source: real(module),
                target: MODULE.into(),
                kind: BindKind::ReadOnly,
                optional: false,
            });
            binds.extend(builtin.map(|executable| Bind {
                source: real(&executable),
                target: "/run/wachter-modules".into(),
                kind: BindKind::ReadOnly,
                optional: false,
            }));
            // A file of the host that was granted is meant as it is.
            let granted = |path: &PathBuf| read.contains(path) || write.contains(path);
            let files = files(&user, &listeners)
                .into_iter()
                .filter(|(path, _)| !covered(path) && !granted(path))
                .collect();
            View { binds, links, files, masks, tmp_bytes: grant.limits().disk.as_bytes() }
        });
        let text = |path: PathBuf| {
            CString::new(path.into_os_string().into_encoded_bytes())
                .map_err(|_| "a path holds a zero byte".to_owned())
        };
        let root = permissions.user.as_deref() == Some("root");
        let mut watched = write;
        if !namespaces {
            watched.push(scratch);
        }
        Ok(Self {
            program: text(program)?,
            arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            environment,
            folder: inside,
            user,
            capabilities: kept,
            view,
            user_namespace: namespaces && !root,
            rules,
            limits: grant.limits().clone(),
            memory_for_each: request.memory_for_each,
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

/// A path without symbolic links, or as it is where it cannot be followed: opening it fails then.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What to cover of the paths that may be read. A path that may be written or executed and holds
/// something forbidden is refused: covering hides what is there now, and not what is made, or moved
/// there, later. So is any such path without namespaces, where nothing can be covered.
fn masks(
    read: &[PathBuf],
    write: &[PathBuf],
    exec: &[PathBuf],
    forbidden: &[PathBuf],
    namespaces: bool,
) -> Result<Vec<PathBuf>, String> {
    let mut masks = Vec::new();
    let coverable = read.iter().map(|path| (path, namespaces));
    let others =
        write.iter().map(|path| (path, false)).chain(exec.iter().map(|path| (path, namespaces)));
    for (granted, coverable) in coverable.chain(others) {
        if granted == Path::new("/") {
            return Err(
                "`/` as a whole can never be granted; grant the folders that are needed".to_owned()
            );
        }
        // Another name for something forbidden is no way around.
        let real = real(granted);
        if real != *granted
            && let Some(forbidden) = forbidden
                .iter()
                .find(|forbidden| real.starts_with(forbidden) || forbidden.starts_with(&real))
        {
            return Err(format!(
                "{} leads to {}, and {} can never be granted; grant other folders by their real names",
                granted.display(),
                real.display(),
                forbidden.display()
            ));
        }
        for forbidden in forbidden {
            if granted.starts_with(forbidden) {
                return Err(format!(
                    "{} can never be granted: it is {}, or lies in it; take it out of the grant",
                    granted.display(),
                    forbidden.display()
                ));
            }
            if forbidden.starts_with(granted) {
                if !coverable {
                    return Err(format!(
                        "{} holds {}, which can never be granted and cannot be covered here; \
                         grant the folders beside it one by one",
                        granted.display(),
                        forbidden.display()
                    ));
                }
                masks.push(forbidden.clone());
            }
        }
    }
    masks.sort();
    masks.dedup();
    Ok(masks)
}

/// The most endpoints of one module: their sockets travel in one packet, with three pipes and the
/// proxy's.
const ENDPOINTS: usize = wachter_packet::MAX_DESCRIPTORS - 4;

/// A loopback address for each endpoint, and one for the proxy, so that programs that know proxies
/// and programs that do not both get through.
fn listeners(grant: &Grant) -> Result<Vec<Listener>, String> {
    let network = &grant.permissions().network;
    if network.is_empty() {
        return Ok(Vec::new());
    }
    if network.len() > ENDPOINTS {
        return Err(format!(
            "`permissions.network` names {} endpoints, a run has {ENDPOINTS} at the most; split the module",
            network.len()
        ));
    }
    let proxy = Listener {
        address: std::net::SocketAddrV4::new([127, 0, 0, 1].into(), PROXY_PORT),
        endpoint: None,
    };
    let mut hosts: Vec<&str> = network.iter().map(Endpoint::host).collect();
    hosts.dedup();
    let addressed = network.iter().map(|endpoint| {
        // Many programs know where this name leads without asking anything.
        if endpoint.host() == LOCALHOST && endpoint.port() != PROXY_PORT {
            let address = std::net::SocketAddrV4::new([127, 0, 0, 1].into(), endpoint.port());
            return Listener { address, endpoint: Some(endpoint.clone()) };
        }
        let host = hosts.iter().position(|host| *host == endpoint.host()).unwrap_or(0);
        let last = u8::try_from(host % 250).unwrap_or(0) + 1;
        Listener {
            address: std::net::SocketAddrV4::new([127, 0, 1, last].into(), endpoint.port()),
            endpoint: Some(endpoint.clone()),
        }
    });
    Ok(std::iter::once(proxy).chain(addressed).collect())
}

/// A folder of the host that is shown where secrets are would be shown instead of them, or they in it.
fn nothing_covers_secrets(granted: [&Vec<PathBuf>; 3]) -> Result<(), String> {
    let secrets = Path::new(SECRETS);
    let near = |path: &&PathBuf| path.starts_with(secrets) || secrets.starts_with(path);
    match granted.into_iter().flatten().find(near) {
        Some(path) => Err(format!(
            "{} cannot be granted beside secrets, which are shown in {SECRETS}; grant the folders that are needed one by one",
            path.display()
        )),
        None => Ok(()),
    }
}

fn environment(
    scratch: &Path,
    module: &Path,
    secrets: Option<&Path>,
    network: bool,
) -> Vec<CString> {
    let mut variables = vec![
        "PATH=/usr/bin:/bin".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        format!("HOME={}", scratch.display()),
        format!("TMPDIR={}", scratch.display()),
        format!("WACHTER_MODULE={}", module.display()),
    ];
    if let Some(secrets) = secrets {
        // The second is the name that programs know from systemd (systemd.exec(5), "Credentials").
        for name in ["WACHTER_SECRETS", "CREDENTIALS_DIRECTORY"] {
            variables.push(format!("{name}={}", secrets.display()));
        }
    }
    if network {
        let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            variables.push(format!("{name}={proxy}"));
        }
    }
    variables.into_iter().filter_map(|variable| CString::new(variable).ok()).collect()
}

fn files(user: &User, listeners: &[Listener]) -> Vec<(PathBuf, String)> {
    let User { uid, gid, .. } = user;
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    let mut last = None;
    for listener in listeners {
        let Some(endpoint) = &listener.endpoint else { continue };
        if last != Some(listener.address.ip()) && endpoint.host() != LOCALHOST {
            hosts.push_str(&format!("{} {}\n", listener.address.ip(), endpoint.host()));
        }
        last = Some(listener.address.ip());
    }
    let root = if *uid == 0 { "" } else { "root:x:0:0:root:/:/usr/sbin/nologin\n" };
    let name = if *uid == 0 { "root" } else { "module" };
    vec![
        ("/etc/passwd".into(), format!("{root}{name}:x:{uid}:{gid}:module:/tmp:/bin/sh\n")),
        ("/etc/group".into(), format!("{name}:x:{gid}:\n")),
        ("/etc/hosts".into(), hosts),
        ("/etc/nsswitch.conf".into(), "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
    ]
}
