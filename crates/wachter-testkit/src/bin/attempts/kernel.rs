//! Rows 4, 15 to 19: mounts, keys, and the kernel's own machinery.

use std::io;

use crate::attempt::{Attempt, Targets, c_string, call, checked, done, refused_with, scratch};

pub(crate) fn attempts(_: &Targets) -> Vec<Attempt<'_>> {
    // Arguments that no kernel takes: who gets as far as that was let through.
    let reaches = |name, number: i64, arguments: [usize; 6], proofs: &'static [i32]| {
        Attempt::new(name, move || refused_with(call(number, arguments), proofs))
    };
    let bad = 1_usize;
    vec![
        Attempt::new("mount", || {
            let place = scratch("mount");
            let _ = std::fs::create_dir(&place);
            let place = c_string(&place);
            let kind = c"tmpfs".as_ptr();
            done(checked(
                unsafe { libc::mount(kind, place.as_ptr(), kind, 0, std::ptr::null()) }.into(),
            ))
        }),
        Attempt::new("remount-root", || {
            let flags = libc::MS_REMOUNT | libc::MS_BIND;
            let root = c"/".as_ptr();
            done(checked(
                unsafe {
                    libc::mount(std::ptr::null(), root, std::ptr::null(), flags, std::ptr::null())
                }
                .into(),
            ))
        }),
        Attempt::new("unmount", || {
            // Nothing is mounted there: EINVAL comes after the check of rights.
            let unmounted =
                checked(unsafe { libc::umount2(c"/usr/bin".as_ptr(), libc::MNT_DETACH) }.into());
            refused_with(unmounted, &[libc::EINVAL])
        }),
        Attempt::new("open-tree", || {
            let flags = 1 | libc::O_CLOEXEC as usize;
            done(call(
                libc::SYS_open_tree,
                [libc::AT_FDCWD as usize, c"/usr".as_ptr() as usize, flags, 0, 0, 0],
            ))
        }),
        Attempt::new("open-file-system", || {
            done(call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, 0, 0, 0, 0, 0]))
        }),
        reaches(
            "move-mount",
            libc::SYS_move_mount,
            [usize::MAX, c"".as_ptr() as usize, usize::MAX, c"".as_ptr() as usize, 0, 0],
            &[libc::EBADF, libc::ENOENT],
        ),
        reaches(
            "mount-attributes",
            libc::SYS_mount_setattr,
            [usize::MAX, c"".as_ptr() as usize, 0x1000, bad, 32, 0],
            &[libc::EFAULT, libc::EBADF],
        ),
        Attempt::new("change-root", || {
            done(checked(unsafe { libc::chroot(c"/usr".as_ptr()) }.into()))
        }),
        reaches(
            "pivot-root",
            libc::SYS_pivot_root,
            [c"/usr".as_ptr() as usize, c"/usr".as_ptr() as usize, 0, 0, 0, 0],
            &[libc::EBUSY, libc::EINVAL],
        ),
        Attempt::new("add-key", || {
            let (kind, name) = (c"user".as_ptr() as usize, c"wachter-attempt".as_ptr() as usize);
            // KEY_SPEC_PROCESS_KEYRING: gone with this process.
            done(call(
                libc::SYS_add_key,
                [kind, name, c"x".as_ptr() as usize, 1, -2_isize as usize, 0],
            ))
        }),
        Attempt::new("session-keyring", || {
            done(call(libc::SYS_keyctl, [0, -3_isize as usize, 1, 0, 0, 0]))
        }),
        reaches(
            "request-key",
            libc::SYS_request_key,
            [c"user".as_ptr() as usize, c"wachter-none".as_ptr() as usize, 0, 0, 0, 0],
            &[libc::ENOKEY],
        ),
        reaches("bpf", libc::SYS_bpf, [9_999, 0, 0, 0, 0, 0], &[libc::EINVAL]),
        Attempt::new("performance-events", || {
            let mut attributes = [0_u32; 28];
            attributes[0] = 1;
            attributes[1] = 112;
            // Software clock, of this process, without the kernel.
            attributes[10] = 0x60;
            done(call(
                libc::SYS_perf_event_open,
                [attributes.as_ptr() as usize, 0, usize::MAX, usize::MAX, 0, 0],
            ))
        }),
        Attempt::new("user-faults", || done(call(libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]))),
        reaches("io-uring", libc::SYS_io_uring_setup, [1, bad, 0, 0, 0, 0], &[libc::EFAULT]),
        reaches(
            "load-kernel-module",
            libc::SYS_init_module,
            [0, 0, 0, 0, 0, 0],
            &[libc::EFAULT, libc::ENOEXEC],
        ),
        reaches(
            "load-kernel-module-file",
            libc::SYS_finit_module,
            [usize::MAX, 0, 0, 0, 0, 0],
            &[libc::EBADF],
        ),
        reaches(
            "unload-kernel-module",
            libc::SYS_delete_module,
            [c"wachter_none".as_ptr() as usize, 0o4000, 0, 0, 0, 0],
            &[libc::ENOENT],
        ),
        reaches("load-kernel", libc::SYS_kexec_load, [0, 0, 0, 0xffff_0000, 0, 0], &[libc::EINVAL]),
        reaches("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0, 0], &[libc::EINVAL]),
        Attempt::new("kernel-log", || {
            let mut bytes = [0_u8; 64];
            done(call(libc::SYS_syslog, [3, bytes.as_mut_ptr() as usize, 64, 0, 0, 0]))
        }),
        reaches("set-clock", libc::SYS_clock_settime, [0, bad, 0, 0, 0, 0], &[libc::EFAULT]),
        reaches("adjust-clock", libc::SYS_adjtimex, [bad, 0, 0, 0, 0, 0], &[libc::EFAULT]),
        Attempt::new("set-host-name", || {
            // A length that is never valid: EINVAL comes after the check of rights.
            refused_with(
                checked(unsafe { libc::sethostname(c"x".as_ptr(), 4_096) }.into()),
                &[libc::EINVAL],
            )
        }),
        reaches(
            "swap",
            libc::SYS_swapon,
            [c"/wachter-none".as_ptr() as usize, 0, 0, 0, 0, 0],
            &[libc::ENOENT],
        ),
        reaches(
            "process-accounting",
            libc::SYS_acct,
            [c"/wachter-none".as_ptr() as usize, 0, 0, 0, 0, 0],
            &[libc::ENOENT],
        ),
        reaches("hang-up-terminal", libc::SYS_vhangup, [0; 6], &[]),
        Attempt::new("shared-memory", || {
            let made = call(libc::SYS_shmget, [0, 4_096, 0o1600, 0, 0, 0])?;
            unsafe { libc::shmctl(made as i32, libc::IPC_RMID, std::ptr::null_mut()) };
            Ok(String::new())
        }),
        Attempt::new("message-queue", || {
            let made = call(libc::SYS_msgget, [0, 0o1600, 0, 0, 0, 0])?;
            unsafe { libc::msgctl(made as i32, libc::IPC_RMID, std::ptr::null_mut()) };
            Ok(String::new())
        }),
        Attempt::new("change-personality", || {
            // READ_IMPLIES_EXEC
            done(call(libc::SYS_personality, [0x040_0000, 0, 0, 0, 0, 0]))
        }),
        Attempt::new("fixed-addresses", || {
            // ADDR_NO_RANDOMIZE
            done(call(libc::SYS_personality, [0x004_0000, 0, 0, 0, 0, 0]))
        }),
        Attempt::new("type-into-terminal", type_into_terminal),
        Attempt::new("unknown-call", || refused_with(call(2_000, [0; 6]), &[libc::ENOSYS])),
        #[cfg(target_arch = "x86_64")]
        Attempt::new("call-of-x32", || {
            refused_with(call(0x4000_0000 | libc::SYS_getpid, [0; 6]), &[libc::ENOSYS])
        }),
        #[cfg(target_arch = "x86_64")]
        Attempt::new("call-of-i386", || {
            let result: i32;
            // getpid of the 32-bit table.
            unsafe {
                std::arch::asm!("int 0x80", inlateout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            };
            if result > 0 { Ok(String::new()) } else { Err(io::Error::from_raw_os_error(-result)) }
        }),
        #[cfg(target_arch = "x86_64")]
        Attempt::new("input-and-output-ports", || {
            refused_with(call(libc::SYS_ioperm, [0, 0, 1, 0, 0, 0]), &[libc::EINVAL])
        }),
        #[cfg(target_arch = "x86_64")]
        Attempt::new("local-descriptor-table", || {
            let mut bytes = [0_u8; 16];
            done(call(libc::SYS_modify_ldt, [0, bytes.as_mut_ptr() as usize, 16, 0, 0, 0]))
        }),
    ]
}

/// On a terminal of its own, where the kernel allows it to every user (`legacy_tiocsti`).
fn type_into_terminal() -> io::Result<String> {
    let main = checked(unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) }.into())? as i32;
    checked(unsafe { libc::grantpt(main) }.into())?;
    checked(unsafe { libc::unlockpt(main) }.into())?;
    // TIOCGPTPEER opens the other side without a path.
    let other = checked(
        unsafe { libc::ioctl(main, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY) }.into(),
    )? as i32;
    unsafe { libc::setsid() };
    checked(unsafe { libc::ioctl(other, libc::TIOCSCTTY, 0) }.into())?;
    let byte = b'x';
    done(checked(unsafe { libc::ioctl(other, libc::TIOCSTI, &raw const byte) }.into()))
}
