//! Executing what was not granted.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::attempt::{Attempt, Targets, absent, call, checked, done, scratch};

pub(crate) fn attempts(targets: &Targets) -> Vec<Attempt<'_>> {
    vec![
        Attempt::new("execute-other-program", || run(&mut Command::new("/usr/bin/id"))),
        Attempt::new("execute-shell", || run(Command::new("/bin/sh").args(["-c", ":"]))),
        Attempt::new("execute-from-tmp", || {
            run(Command::new(copy(&scratch("program"))?).arg("nothing"))
        }),
        Attempt::new("execute-from-tmp-by-loader", || {
            run(Command::new(loader()?).arg(copy(&scratch("loaded"))?).arg("nothing"))
        }),
        Attempt::new("execute-other-program-by-loader", || {
            run(Command::new(loader()?).arg("/usr/bin/id"))
        }),
        Attempt::new("execute-from-granted-folder", move || {
            let Some(folder) = &targets.write else { return absent() };
            run(Command::new(copy(&folder.join("program"))?).arg("nothing"))
        }),
        Attempt::new("execute-from-granted-folder-by-loader", move || {
            let Some(folder) = &targets.write else { return absent() };
            run(Command::new(loader()?).arg(copy(&folder.join("loaded"))?).arg("nothing"))
        }),
        Attempt::new("map-executable-from-tmp", || {
            let file = fs::File::open(copy(&scratch("mapped"))?)?;
            let rights = libc::PROT_READ | libc::PROT_EXEC;
            let mapped = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4_096,
                    rights,
                    libc::MAP_PRIVATE,
                    file.as_raw_fd(),
                    0,
                )
            };
            if mapped == libc::MAP_FAILED {
                Err(io::Error::last_os_error())
            } else {
                Ok(String::new())
            }
        }),
        Attempt::new("execute-from-memory", || {
            let memory = checked(unsafe { libc::memfd_create(c"attempt".as_ptr(), 0) }.into())?;
            let mut file =
                fs::File::options().write(true).open(format!("/proc/self/fd/{memory}"))?;
            file.write_all(&fs::read(std::env::current_exe()?)?)?;
            drop(file);
            let name = c"attempt";
            let arguments = [name.as_ptr(), c"nothing".as_ptr(), std::ptr::null()];
            let environment = [std::ptr::null::<libc::c_char>()];
            let child = unsafe { libc::fork() };
            if child == 0 {
                let _ = call(
                    libc::SYS_execveat,
                    [
                        memory as usize,
                        c"".as_ptr() as usize,
                        arguments.as_ptr() as usize,
                        environment.as_ptr() as usize,
                        libc::AT_EMPTY_PATH as usize,
                        0,
                    ],
                );
                unsafe { libc::_exit(101) };
            }
            let mut status = 0;
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            if status == 0 {
                Ok(String::new())
            } else {
                Err(io::Error::other(format!("status {status}")))
            }
        }),
        Attempt::new("set-user-id-program", move || {
            let Some(program) = &targets.setuid else { return absent() };
            let output = Command::new(program).arg("whoami").output()?;
            let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if user == "0" { Ok(user) } else { Err(io::Error::other(format!("ran as {user}"))) }
        }),
    ]
}

/// The effective user of this process, for a program that runs as its owner.
pub(crate) fn whoami() -> ExitCode {
    match writeln!(std::io::stdout(), "{}", unsafe { libc::geteuid() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn copy(to: &Path) -> io::Result<PathBuf> {
    let _ = fs::remove_file(to);
    // With its mode, which is set through the open file.
    fs::copy(std::env::current_exe()?, to)?;
    Ok(to.to_owned())
}

fn loader() -> io::Result<PathBuf> {
    let known = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"].map(PathBuf::from);
    known.into_iter().find(|path| path.exists()).ok_or_else(|| io::Error::other("no loader"))
}

fn run(command: &mut Command) -> io::Result<String> {
    let status =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { done(Ok(())) } else { Err(io::Error::other(status.to_string())) }
}
