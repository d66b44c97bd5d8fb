//! What a control group says about the processes in it.

/// The unit of systemd that a control group belongs to: the first that is no slice. What follows is
/// the unit's own.
pub(super) fn unit(path: &str) -> Option<&str> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.find(|part| !ends_with(part, &[".slice"]))?;
    ends_with(first, &[".service", ".scope", ".socket", ".mount", ".swap"]).then_some(first)
}

fn ends_with(part: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| part.len() > ending.len() && part.ends_with(ending))
}

/// The container that a control group belongs to, the innermost where one is in another.
///
/// Docker, Podman, containerd and CRI-O name groups by 64 hexadecimal digits, after a word and before
/// `.scope` or not; LXC by the container's name, below `lxc` or `lxc.payload` or after that and a dot.
pub(super) fn container(path: &str) -> Option<&str> {
    let mut found = None;
    let mut parent = "";
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        let last = name.rsplit(['-', ':']).next().unwrap_or(name);
        let lxc = part
            .strip_prefix("lxc.payload.")
            .or_else(|| ["lxc", "lxc.payload"].contains(&parent).then_some(part));
        if let Some(name) = lxc {
            found = Some(name);
        } else if last.len() == 64
            && last.bytes().all(|byte| byte.is_ascii_hexdigit())
            // The program that watches a container of Podman or CRI-O is outside it.
            && !name.contains("conmon")
        {
            found = Some(last);
        }
        parent = part;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4c3d0f5e0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef01234567";

    #[test]
    fn units_and_containers() {
        for (path, expected_unit, expected_container) in [
            ("/system.slice/ssh.service", Some("ssh.service"), None),
            ("/init.scope", Some("init.scope"), None),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope"), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/editor.service",
                Some("user@1000.service"),
                None,
            ),
            ("/system.slice/docker-ID.scope", Some("docker-ID.scope"), Some(ID)),
            ("/docker/ID", None, Some(ID)),
            ("/docker/ID/init", None, Some(ID)),
            ("/machine.slice/libpod-ID.scope/container", Some("libpod-ID.scope"), Some(ID)),
            ("/machine.slice/libpod-conmon-ID.scope", Some("libpod-conmon-ID.scope"), None),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-ID.scope",
                Some("cri-containerd-ID.scope"),
                Some(ID),
            ),
            ("/kubepods/burstable/pod12/crio-ID", None, Some(ID)),
            ("/system.slice:cri-containerd:ID", None, Some(ID)),
            ("/lxc/web", None, Some("web")),
            ("/lxc.payload.web/init.scope", None, Some("web")),
            ("/lxc.payload/web/system.slice/ssh.service", None, Some("web")),
            ("/lxc.monitor.web", None, None),
            ("/system.slice", None, None),
            ("/.service", None, None),
            ("/", None, None),
            ("", None, None),
        ] {
            let path = path.replace("ID", ID);
            let expected_unit = expected_unit.map(|unit| unit.replace("ID", ID));
            assert_eq!(unit(&path), expected_unit.as_deref(), "{path}");
            assert_eq!(container(&path), expected_container, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read(path: String, parts in "(/[a-f0-9.:-]{0,70}(lxc)?){0,5}") {
            for path in [&path, &parts] {
                let _ = (unit(path), container(path));
            }
        }
    }
}
