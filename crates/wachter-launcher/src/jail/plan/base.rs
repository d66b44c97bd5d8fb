//! What every run sees of the host, whatever it was granted.

use std::path::PathBuf;

use super::real;
use crate::jail::view::{Bind, BindKind};

/// What every run sees of the host, read once when the launcher starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    pub(super) binds: Vec<Bind>,
    /// Symbolic links: where, and what they say.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

/// Folders of programs and libraries, and of what they cannot do without.
pub(super) const BASE: [&str; 15] = [
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

pub(super) const DEVICES: [&str; 5] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

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
