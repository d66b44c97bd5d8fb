use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Why a program of the host told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// It did not start, or could not be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It took too long, and was killed.
    #[error("it did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// It said too much, and was killed.
    #[error("it said more than {0} bytes")]
    Long(usize),
    /// It failed.
    #[error("{0}")]
    Failed(ExitStatus),
}

/// What a program of the host writes to stdout, with an empty environment and no input. It is gone when
/// this returns, and so is everything that it started in its process group.
///
/// # Errors
/// It does not start, fails, writes more than `most` bytes, or is not done after `time`.
pub(super) fn output(
    program: &Path,
    arguments: &[&str],
    time: Duration,
    most: usize,
) -> Result<String, ProgramError> {
    let deadline = Instant::now() + time;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let read = read(&mut child, deadline, time, most);
    if read.is_err() {
        let group = rustix::process::Pid::from_child(&child);
        // It may have ended by itself in the meantime.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = child.wait()?;
    let bytes = read?;
    if !status.success() {
        return Err(ProgramError::Failed(status));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(
    child: &mut Child,
    deadline: Instant,
    time: Duration,
    most: usize,
) -> Result<Vec<u8>, ProgramError> {
    let Some(stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let mut buffer = [0; 1 << 14];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| ProgramError::Late(time))?;
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(ProgramError::Late(time)),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(std::io::Error::from(error).into()),
            Ok(_) => {}
        }
        let count = rustix::io::read(&stdout, &mut buffer).map_err(std::io::Error::from)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buffer[..count]);
        if bytes.len() > most {
            return Err(ProgramError::Long(most));
        }
    }
}

/// A program of a test's own, in the language of `/bin/sh`.
#[cfg(test)]
pub(super) fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_says_within_its_limits() {
        for (script, time, expected) in [
            ("printf 'a\\nb'", 60_000, "a\nb"),
            ("echo $HOME-$LC_ALL", 60_000, "-C.UTF-8\n"),
            ("exit 3", 60_000, "exit status: 3"),
            ("sleep 100 & wait", 50, "it did not answer within 0 s"),
            ("exec cat /dev/zero", 60_000, "it said more than 1000 bytes"),
        ] {
            let time = Duration::from_millis(time);
            let told = output(Path::new("/bin/sh"), &["-c", script], time, 1_000);
            assert_eq!(told.unwrap_or_else(|error| error.to_string()), expected, "{script}");
        }
        let none = output(Path::new("/nowhere/program"), &[], Duration::from_secs(1), 10);
        assert!(none.unwrap_err().to_string().contains("No such file"));
    }
}
