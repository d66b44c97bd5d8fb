use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest that a word to the service manager waits for room.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The service manager that started this process and waits to hear from it, by the protocol of
/// sd_notify(3). Where nobody waits, saying something does nothing.
#[derive(Debug, Default)]
pub struct ServiceManager {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

/// What the service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// It has started, or has finished reloading.
    Ready,
    /// It reloads. The moment goes with it, as `Type=notify-reload` demands; [`Word::Ready`] follows.
    Reloading,
    /// It is about to end.
    Stopping,
    /// It is alive.
    Watchdog,
    /// What it does, in one line, for people.
    Status(&'a str),
}

impl ServiceManager {
    /// Whoever the environment names: `NOTIFY_SOCKET`, and `WATCHDOG_USEC` where `WATCHDOG_PID` does
    /// not mean another process. An address that cannot be one is nobody.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name), std::process::id())
    }

    /// One that listens at `path`, and hears from this process within `watchdog`, if it watches.
    ///
    /// # Errors
    /// The path is too long for a socket.
    pub fn at(path: &Path, watchdog: Option<Duration>) -> io::Result<Self> {
        Ok(Self { address: Some(SocketAddr::from_pathname(path)?), watchdog })
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Self {
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let mine = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(process));
        Self {
            address: variable("NOTIFY_SOCKET").and_then(|socket| address(&socket)),
            watchdog: number("WATCHDOG_USEC")
                .filter(|microseconds| mine && *microseconds > 0)
                .map(Duration::from_micros),
        }
    }

    /// How long [`Word::Watchdog`] may stay away before this process counts as dead; none where
    /// nobody watches.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.address.as_ref().and(self.watchdog)
    }

    /// Says all words in one datagram; waits for at most a second.
    ///
    /// # Errors
    /// There is a service manager, and it cannot be reached. The process is no worse for it.
    pub fn tell(&self, words: &[Word<'_>]) -> io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        let mut text = String::new();
        for word in words {
            word.write(&mut text);
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(LONGEST_WAIT))?;
        socket.send_to_addr(text.as_bytes(), address).map(drop)
    }
}

impl Word<'_> {
    fn write(self, text: &mut String) {
        match self {
            Self::Ready => text.push_str("READY=1"),
            Self::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
                text.push_str(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
            }
            Self::Stopping => text.push_str("STOPPING=1"),
            Self::Watchdog => text.push_str("WATCHDOG=1"),
            // A line of its own would be another word, and the text may come from outside.
            Self::Status(status) => {
                text.push_str("STATUS=");
                text.extend(status.chars().map(|one| if one.is_control() { ' ' } else { one }));
            }
        }
        text.push('\n');
    }
}

/// A path, or with `@` first a name of the abstract namespace (unix(7)).
fn address(socket: &OsStr) -> Option<SocketAddr> {
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(socket).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(variables: &[(&str, &str)]) -> ServiceManager {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        ServiceManager::from_variables(variable, 7)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4_096];
        let bytes = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }

    #[test]
    fn words_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("wachter-test-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, value) in [
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
            (UnixDatagram::bind_addr(&named).unwrap(), format!("@{name}")),
        ] {
            let manager = manager(&[("NOTIFY_SOCKET", &value)]);
            manager.tell(&[Word::Ready, Word::Status("at work")]).unwrap();
            assert_eq!(heard(&socket), "READY=1\nSTATUS=at work\n");
            manager.tell(&[Word::Stopping]).unwrap();
            assert_eq!(heard(&socket), "STOPPING=1\n");
        }
    }

    #[test]
    fn a_reload_has_its_moment_and_a_status_is_one_line() {
        let mut text = String::new();
        Word::Reloading.write(&mut text);
        let moment = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(moment.trim_end().parse::<u64>().unwrap() > 0);
        text.clear();
        Word::Status("refused\nMAINPID=1\u{7}").write(&mut text);
        assert_eq!(text, "STATUS=refused MAINPID=1 \n");
    }

    #[test]
    fn who_is_watched() {
        for (usec, pid, expected) in [
            (Some("30000000"), Some("7"), Some(30)),
            (Some("30000000"), None, Some(30)),
            (Some("30000000"), Some("8"), None),
            (Some("30000000"), Some("seven"), None),
            (Some("0"), Some("7"), None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            let mut variables = vec![("NOTIFY_SOCKET", "/run/notify")];
            variables.extend(usec.map(|usec| ("WATCHDOG_USEC", usec)));
            variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            let found = manager(&variables).watchdog();
            assert_eq!(found, expected.map(Duration::from_secs), "{usec:?} {pid:?}");
        }
        assert_eq!(manager(&[("WATCHDOG_USEC", "1000")]).watchdog(), None, "nobody to tell");
    }

    #[test]
    fn nobody_is_told_nothing_and_one_who_is_gone_is_an_error() {
        for socket in ["", "relative", "vsock:2:1"] {
            manager(&[("NOTIFY_SOCKET", socket)]).tell(&[Word::Ready]).unwrap();
        }
        manager(&[]).tell(&[Word::Ready]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        let gone = manager(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
        assert_eq!(gone.tell(&[Word::Ready]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
