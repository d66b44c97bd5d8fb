use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

/// What the test made for attempts to aim at. All of it is reachable without a jail.
pub(crate) struct Targets {
    /// A folder that everyone may write, not granted: `secret`, `stream` and `datagram` lie in it.
    pub(crate) outside: PathBuf,
    /// An abstract name that is listened on.
    pub(crate) abstract_name: String,
    /// Ports of the host's loopback interface that are listened on.
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    /// A process of the user that an unconfined module would be, with a secret in its environment.
    pub(crate) victim: i32,
    /// The launcher, or whatever started this.
    pub(crate) launcher: i32,
    /// A granted folder that may be written.
    pub(crate) write: Option<PathBuf>,
    /// A program that belongs to root and runs as its owner.
    pub(crate) setuid: Option<PathBuf>,
}

impl Targets {
    pub(crate) fn read(input: &Value) -> Self {
        let path = |key: &str| input[key].as_str().map(PathBuf::from);
        let number = |key: &str| input[key].as_i64().unwrap_or(0);
        Self {
            outside: path("outside").unwrap_or_default(),
            abstract_name: input["abstract"].as_str().unwrap_or_default().to_owned(),
            tcp: u16::try_from(number("tcp")).unwrap_or(0),
            udp: u16::try_from(number("udp")).unwrap_or(0),
            victim: i32::try_from(number("victim")).unwrap_or(0),
            launcher: i32::try_from(number("launcher")).unwrap_or(0),
            write: path("write"),
            setuid: path("setuid"),
        }
    }

    /// A file of the test's own outside of what was granted.
    pub(crate) fn secret(&self) -> PathBuf {
        self.outside.join("secret")
    }
}

/// The folder for temporary files, a different one in each profile.
pub(crate) fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("attempt-{name}"))
}

type Made<'a> = Box<dyn Fn() -> io::Result<String> + 'a>;

/// One attempt: `Ok` if it worked, with what it got.
pub(crate) struct Attempt<'a> {
    pub(crate) name: &'static str,
    make: Made<'a>,
}

/// What an attempt says when what it needs was not handed in.
pub(crate) const ABSENT: &str = "absent";

impl<'a> Attempt<'a> {
    pub(crate) fn new(name: &'static str, make: impl Fn() -> io::Result<String> + 'a) -> Self {
        Self { name, make: Box::new(make) }
    }

    /// Makes it in a process of its own, which may die of it.
    pub(crate) fn make(self) -> Value {
        let Ok((mut from, mut to)) = io::pipe() else { return outcome("broken", "no pipe") };
        let child = unsafe { libc::fork() };
        if child == 0 {
            drop(from);
            unsafe { libc::alarm(5) };
            let text = match (self.make)() {
                Ok(detail) => format!("worked {detail}"),
                Err(error) if error.to_string() == ABSENT => "absent not handed in".to_owned(),
                Err(error) => format!("denied {error}"),
            };
            let _ = to.write_all(text.as_bytes());
            unsafe { libc::_exit(0) };
        }
        drop(to);
        if child < 0 {
            return outcome("broken", "no process");
        }
        let mut text = String::new();
        let _ = from.read_to_string(&mut text);
        let mut status = 0;
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        if libc::WIFSIGNALED(status) {
            // The kernel's answer to a call of another architecture.
            return outcome("denied", &format!("ended by signal {}", libc::WTERMSIG(status)));
        }
        let (word, detail) = text.split_once(' ').unwrap_or(("broken", ""));
        outcome(word, detail)
    }
}

fn outcome(word: &str, detail: &str) -> Value {
    json!({ "outcome": word, "detail": detail })
}

/// A system call by number, and its result.
pub(crate) fn call(number: i64, arguments: [usize; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    checked(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

pub(crate) fn checked(result: i64) -> io::Result<i64> {
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}

/// For calls whose arguments are refused after the check of rights: that refusal is the proof.
pub(crate) fn refused_with(result: io::Result<i64>, proofs: &[i32]) -> io::Result<String> {
    match result {
        Ok(value) => Ok(format!("{value}")),
        Err(error) if proofs.iter().any(|proof| error.raw_os_error() == Some(*proof)) => {
            Ok(format!("reached the kernel: {error}"))
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn done<T>(result: io::Result<T>) -> io::Result<String> {
    result.map(|_| String::new())
}

pub(crate) fn absent<T>() -> io::Result<T> {
    Err(io::Error::other(ABSENT))
}

pub(crate) fn c_string(path: &std::path::Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}
