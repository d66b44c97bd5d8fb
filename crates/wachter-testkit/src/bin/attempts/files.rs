//! Rows 1, 2, 13, 14, 19 and 23: files outside of the grant, links that lead there, devices, `/proc`
//! and `/sys`, descriptors that were left open.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::attempt::{Attempt, Targets, absent, c_string, call, checked, done, scratch};

pub(crate) fn attempts(targets: &Targets) -> Vec<Attempt<'_>> {
    let outside = |name: &str| targets.outside.join(name);
    vec![
        Attempt::new("write-outside", move || done(fs::write(outside("made"), "x"))),
        Attempt::new("append-outside", move || {
            done(
                OpenOptions::new()
                    .append(true)
                    .open(outside("scribble"))
                    .and_then(|mut file| file.write_all(b"x")),
            )
        }),
        Attempt::new("truncate-outside", move || {
            let path = c_string(&outside("scribble"));
            done(checked(unsafe { libc::truncate(path.as_ptr(), 1) }.into()))
        }),
        Attempt::new("make-folder-outside", move || done(fs::create_dir(outside("folder")))),
        Attempt::new("rename-outside", move || {
            done(fs::rename(outside("to-rename"), outside("renamed")))
        }),
        Attempt::new("remove-outside", move || done(fs::remove_file(outside("to-remove")))),
        Attempt::new("mode-outside", move || {
            done(fs::set_permissions(outside("owned"), fs::Permissions::from_mode(0o666)))
        }),
        Attempt::new("write-usr", || open_to_write("/usr/bin/env")),
        Attempt::new("write-etc", || open_to_write("/etc/hosts")),
        Attempt::new("write-root-folder", || done(fs::write("/wachter-attempt", ""))),
        Attempt::new("write-own-program", || {
            // A program that runs cannot be written anyway, so its folder is tried.
            let own = std::env::current_exe()?;
            done(fs::write(own.with_file_name("wachter-attempt-made"), ""))
        }),
        Attempt::new("read-outside", move || fs::read_to_string(targets.secret())),
        Attempt::new("list-outside", move || list(&targets.outside)),
        Attempt::new("stat-outside", move || done(fs::metadata(targets.secret()))),
        Attempt::new("watch-outside", move || {
            let notify = checked(unsafe { libc::inotify_init1(0) }.into())?;
            let path = c_string(&targets.outside);
            done(checked(
                unsafe { libc::inotify_add_watch(notify as i32, path.as_ptr(), libc::IN_OPEN) }
                    .into(),
            ))
        }),
        Attempt::new("read-shadow", || done(fs::read("/etc/shadow"))),
        Attempt::new("read-host-name", || fs::read_to_string("/etc/hostname")),
        Attempt::new("list-root-home", || list(Path::new("/root"))),
        Attempt::new("list-home", || list(Path::new("/home"))),
        Attempt::new("list-var-lib", || list(Path::new("/var/lib"))),
        Attempt::new("list-run", || list(Path::new("/run/lock"))),
        Attempt::new("symlink-out", move || {
            let link = scratch("symlink");
            let _ = fs::remove_file(&link);
            symlink(targets.secret(), &link)?;
            fs::read_to_string(link)
        }),
        Attempt::new("symlink-out-of-granted-folder", move || {
            let Some(folder) = &targets.write else { return absent() };
            let link = folder.join("link");
            let _ = fs::remove_file(&link);
            symlink(targets.secret(), &link)?;
            fs::read_to_string(link)
        }),
        Attempt::new("hard-link-out", move || {
            let link = targets.outside.join("hard-link");
            done(fs::hard_link(targets.secret(), link))
        }),
        Attempt::new("dot-dot-out", move || {
            let path = format!("/usr/../../../..{}", targets.secret().display());
            fs::read_to_string(path)
        }),
        Attempt::new("own-root-out", move || {
            fs::read_to_string(format!("/proc/self/root{}", targets.secret().display()))
        }),
        Attempt::new("root-of-process-1-out", move || {
            fs::read_to_string(format!("/proc/1/root{}", targets.secret().display()))
        }),
        Attempt::new("root-of-victim-out", move || {
            fs::read_to_string(format!(
                "/proc/{}/root{}",
                targets.victim,
                targets.secret().display()
            ))
        }),
        Attempt::new("open-by-handle", || {
            // struct file_handle with no bytes: refused as invalid after the check of rights.
            let handle = [0_u32; 32];
            let opened = call(
                libc::SYS_open_by_handle_at,
                [libc::AT_FDCWD as usize, handle.as_ptr() as usize, 0, 0, 0, 0],
            );
            crate::attempt::refused_with(opened, &[libc::EINVAL, libc::ESTALE, libc::EBADF])
        }),
        Attempt::new("make-character-device", || {
            make_node("character", libc::S_IFCHR, libc::makedev(1, 3))
        }),
        Attempt::new("make-block-device", || {
            make_node("block", libc::S_IFBLK, libc::makedev(254, 0))
        }),
        Attempt::new("open-disk", || open_device("/dev/vda")),
        Attempt::new("open-kvm", || open_device("/dev/kvm")),
        Attempt::new("open-memory", || open_device("/dev/mem")),
        Attempt::new("open-kernel-log", || open_device("/dev/kmsg")),
        Attempt::new("open-vsock-device", || open_device("/dev/vsock")),
        Attempt::new("open-tun", || open_device("/dev/net/tun")),
        Attempt::new("open-fuse", || open_device("/dev/fuse")),
        Attempt::new("open-terminal-multiplexer", || open_device("/dev/ptmx")),
        Attempt::new("open-terminal", || open_device("/dev/tty")),
        Attempt::new("open-kcore", || open_device("/proc/kcore")),
        Attempt::new("open-sysrq", || open_to_write("/proc/sysrq-trigger")),
        Attempt::new("open-core-pattern", || open_to_write("/proc/sys/kernel/core_pattern")),
        Attempt::new("read-kernel-settings", || done(fs::read("/proc/sys/kernel/random/boot_id"))),
        Attempt::new("list-sys", || list(Path::new("/sys/kernel"))),
        Attempt::new("open-cgroup", || open_to_write("/sys/fs/cgroup/memory/cgroup.procs")),
        Attempt::new("read-kernel-symbols", || done(fs::read("/proc/kallsyms"))),
        Attempt::new("read-host-mounts", || {
            let mounts = fs::read_to_string("/proc/self/mountinfo")?;
            if mounts.contains("/sys/fs/cgroup") {
                Ok(String::new())
            } else {
                Err(io::Error::other("only its own"))
            }
        }),
        Attempt::new("inherited-descriptors", || {
            let open: Vec<String> = (3..1_024)
                .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0)
                .map(|fd| fd.to_string())
                .collect();
            // The pipe to the parent of this attempt is its own.
            if open.len() > 1 { Ok(open.join(",")) } else { Err(io::Error::other("none")) }
        }),
    ]
}

fn open_to_write(path: &str) -> io::Result<String> {
    done(OpenOptions::new().write(true).open(path))
}

fn open_device(path: &str) -> io::Result<String> {
    done(OpenOptions::new().read(true).open(path))
}

fn list(path: &Path) -> io::Result<String> {
    fs::read_dir(path).map(|entries| entries.count().to_string())
}

fn make_node(name: &str, kind: libc::mode_t, device: libc::dev_t) -> io::Result<String> {
    let path: PathBuf = scratch(name);
    let path = c_string(&path);
    done(checked(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, device) }.into()))
}
