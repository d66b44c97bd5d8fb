//! What the node tells the service manager that started it, where one did: systemd, by
//! sd_notify(3). Elsewhere all of it does nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use wachter_packet::{ServiceManager, Word};

use crate::output;

/// Cheap to clone; all clones speak for the one process.
///
/// A word that is not heard changes nothing for the node: it is talked about, and no error.
#[derive(Clone, Debug)]
pub(crate) struct Supervisor {
    manager: Arc<ServiceManager>,
}

impl Supervisor {
    /// Whoever started this process and wants to be told.
    pub(crate) fn from_environment() -> Self {
        Self { manager: Arc::new(ServiceManager::from_environment()) }
    }

    /// The node does its work: once at the start, and after each [`Supervisor::reloading`].
    pub(crate) fn ready(&self) {
        self.tell(&[Word::Ready]);
    }

    /// What the node does, in one line for `systemctl status`; control characters become spaces.
    pub(crate) fn status(&self, status: &str) {
        self.tell(&[Word::Status(status)]);
    }

    /// The node takes in the local file and its configuration anew; [`Supervisor::ready`] must follow,
    /// also where that fails.
    pub(crate) fn reloading(&self) {
        self.tell(&[Word::Reloading]);
    }

    /// The node ends, and hands running work back first.
    pub(crate) fn stopping(&self) {
        self.tell(&[Word::Stopping]);
    }

    /// Says that the node lives, at half of the time after which it would count as dead, as long as
    /// `alive` says so; asked again each time, so that work which goes on again is heard again. Never
    /// ends by itself, and waits for ever where nobody watches.
    pub(crate) async fn watchdog(&self, alive: impl Fn() -> bool) -> Infallible {
        let Some(longest) = self.manager.watchdog() else { return std::future::pending().await };
        let mut ticks = tokio::time::interval((longest / 2).max(Duration::from_millis(1)));
        // After a pause of the whole host one word is enough.
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if alive() {
                self.tell(&[Word::Watchdog]);
            }
        }
    }

    fn tell(&self, words: &[Word<'_>]) {
        if let Err(error) = self.manager.tell(words) {
            output::talk(format_args!("the service manager was not told: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn supervised(watchdog: Duration) -> (Supervisor, UnixDatagram, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = Arc::new(ServiceManager::at(&path, Some(watchdog)).unwrap());
        (Supervisor { manager }, socket, folder)
    }

    /// All that was said so far.
    fn heard(socket: &UnixDatagram) -> String {
        let (mut all, mut buffer) = (String::new(), [0; 1_024]);
        while let Ok(bytes) = socket.recv(&mut buffer) {
            all.push_str(std::str::from_utf8(&buffer[..bytes]).unwrap());
        }
        all
    }

    #[test]
    fn each_state_has_its_word() {
        let (supervisor, socket, _folder) = supervised(Duration::from_secs(1));
        supervisor.ready();
        supervisor.status("release 7 is in force");
        supervisor.stopping();
        assert_eq!(heard(&socket), "READY=1\nSTATUS=release 7 is in force\nSTOPPING=1\n");
        supervisor.reloading();
        assert!(heard(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_of_work_that_lives_and_of_no_other() {
        let (supervisor, socket, _folder) = supervised(Duration::from_secs(30));
        let lives = Cell::new(true);
        let watchdog = supervisor.watchdog(|| lives.get());
        tokio::pin!(watchdog);
        let mut words = async |seconds| {
            let passing = tokio::time::timeout(Duration::from_secs(seconds), &mut watchdog);
            assert!(passing.await.is_err(), "it never ends");
            heard(&socket).matches("WATCHDOG=1\n").count()
        };
        assert_eq!(words(61).await, 5, "at once, and after each 15 s");
        lives.set(false);
        assert_eq!(words(60).await, 0);
        lives.set(true);
        assert_eq!(words(60).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_watches_nothing_is_said() {
        let supervisor = Supervisor { manager: Arc::default() };
        supervisor.ready();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, supervisor.watchdog(|| panic!())).await.is_err());
    }
}
