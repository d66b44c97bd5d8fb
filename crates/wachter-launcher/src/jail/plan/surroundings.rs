//! What a run finds around it that is no folder of the host: its environment, and small files.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use super::listeners::{LOCALHOST, Listener, PROXY_PORT};
use crate::jail::user::User;

pub(super) fn environment(
    scratch: &Path,
    module: &Path,
    secrets: Option<&Path>,
    network: bool,
    further: &[String],
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
    variables.extend_from_slice(further);
    variables.into_iter().filter_map(|variable| CString::new(variable).ok()).collect()
}

/// The files that name users, groups and hosts, where the view has them made.
pub(super) fn files(user: &User, listeners: &[Listener]) -> Vec<(PathBuf, String)> {
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
