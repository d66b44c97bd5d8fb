//! What a manifest says, and asks for.

use wachter_protocol::RuntimeKind;

use super::Linted;
use crate::node::is_own;

/// Folders whose content is not meant for everybody, or is everything.
const WIDE_TO_READ: [&str; 5] = ["/", "/etc", "/home", "/root", "/var"];
/// Folders in which whoever may write can take the host over, or nearly.
const WIDE_TO_WRITE: [&str; 9] =
    ["/", "/bin", "/boot", "/etc", "/home", "/lib", "/root", "/usr", "/var"];
/// Programs that do whatever they are told, so that granting them grants everything.
const ANYTHING: [&str; 16] = [
    "bash",
    "busybox",
    "dash",
    "docker",
    "env",
    "find",
    "node",
    "perl",
    "podman",
    "python3",
    "ruby",
    "sh",
    "ssh",
    "sudo",
    "systemd-run",
    "xargs",
];
/// Members of these are root in all but name.
const AS_ROOT: [&str; 5] = ["disk", "docker", "lxd", "sudo", "wheel"];

pub(super) fn rules(linted: &mut Linted<'_>) {
    description(linted);
    limits(linted);
    filesystem(linted);
    programs(linted);
    identity(linted);
    network(linted);
    topics(linted);
}

fn description(linted: &mut Linted<'_>) {
    let manifest = linted.manifest;
    if manifest.description.as_deref().is_none_or(|text| text.trim().is_empty()) {
        linted.warn("name:", "it has no `description`; say in one sentence what it does");
    }
    if manifest.capabilities.is_empty() {
        linted.warn("name:", "it names no `capabilities`, so nobody can ask for what it does");
    }
    let parts: Vec<_> =
        manifest.version.split(['-', '+']).next().unwrap_or_default().split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() != 3 || !parts.iter().all(number) {
        linted.warn(
            "version:",
            format!(
                "version `{}` is not like 1.2.3, so nobody can tell what an upgrade may break",
                manifest.version
            ),
        );
    }
}

fn limits(linted: &mut Linted<'_>) {
    let limits = &linted.manifest.limits;
    let missing: Vec<_> =
        [("timeout", limits.timeout.is_none()), ("memory", limits.memory.is_none())]
            .into_iter()
            .filter_map(|(name, missing)| missing.then_some(name))
            .collect();
    if !missing.is_empty() {
        linted.warn(
            "limits:",
            format!("`limits` leaves out {}: say what a run needs, so that one that goes wrong ends soon", missing.join(" and ")),
        );
    }
}

fn filesystem(linted: &mut Linted<'_>) {
    let asked = &linted.manifest.permissions.filesystem;
    for (paths, wide, verb) in
        [(&asked.read, &WIDE_TO_READ[..], "read"), (&asked.write, &WIDE_TO_WRITE[..], "write")]
    {
        for path in paths
            .iter()
            .map(wachter_protocol::AbsolutePath::as_str)
            .filter(|path| wide.contains(path))
        {
            linted.warn(
                path,
                format!("it asks to {verb} the whole of `{path}`; name the folders below it that it needs"),
            );
        }
    }
}

fn programs(linted: &mut Linted<'_>) {
    for path in &linted.manifest.permissions.exec {
        let path = path.as_str();
        let name = path.rsplit('/').next().unwrap_or_default();
        if ANYTHING.contains(&name) {
            linted.warn(
                path,
                format!("`{path}` runs whatever it is told, so granting it grants more than it says; name the programs that are run in the end"),
            );
        }
        if ["/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/usr/local/bin"].contains(&path) {
            linted.warn(
                path,
                format!("it asks for all programs in `{path}`; name those that it runs"),
            );
        }
    }
}

fn identity(linted: &mut Linted<'_>) {
    let permissions = &linted.manifest.permissions;
    if permissions.user.as_deref() == Some("root") {
        linted.warn(
            "user:",
            "it asks to run as root; a group, or another user that owns what it changes, is less",
        );
    }
    for group in permissions.groups.iter().filter(|group| AS_ROOT.contains(&group.as_str())) {
        linted.warn(group, format!("whoever is in the group `{group}` can become root"));
    }
}

fn network(linted: &mut Linted<'_>) {
    for endpoint in linted.manifest.permissions.network.iter().filter(|it| it.port() == 80) {
        let host = endpoint.host();
        let local = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !local {
            linted.warn(
                &endpoint.to_string(),
                format!("`{endpoint}` is spoken to in the clear; use HTTPS, on port 443"),
            );
        }
    }
}

fn topics(linted: &mut Linted<'_>) {
    let manifest = linted.manifest;
    for topic in &manifest.emits {
        let own = is_own(topic);
        let topic = topic.as_str();
        if own {
            linted.warn(
                topic,
                format!("`{topic}` looks like word of the node itself; choose another first part"),
            );
            continue;
        }
        // A program that was compiled names its topics in other files, or nowhere.
        let scripted = manifest.runtime.kind != RuntimeKind::Builtin
            && linted.texts.contains_key(manifest.runtime.entrypoint.as_str());
        if scripted && !linted.texts.values().any(|text| text.contains(topic)) {
            linted.warn(
                topic,
                format!("`emits` names `{topic}`, and no file of the module does; take it out"),
            );
        }
    }
}
