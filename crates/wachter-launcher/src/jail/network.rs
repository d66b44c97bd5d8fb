//! The only way out: sockets that listen inside the run's own network namespace and are accepted
//! from by the egress broker outside. No packet crosses; what a module connects to is the broker.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::fault::{Attempt, Fault};
use super::plan::Listener;
use super::system;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Makes the sockets. The process is in the run's network namespace, which has nothing but a
/// loopback interface.
pub(crate) fn listen(listeners: &[Listener]) -> Result<Vec<OwnedFd>, Fault> {
    if listeners.is_empty() {
        return Ok(Vec::new());
    }
    let socket = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .attempt(|| "make a socket")
    };
    system::bring_loopback_up(socket()?.as_fd()).attempt(|| "bring the loopback interface up")?;
    listeners
        .iter()
        .map(|listener| {
            let socket = socket()?;
            rustix::net::bind(&socket, &listener.address)
                .attempt(|| format!("bind {}", listener.address))?;
            rustix::net::listen(&socket, BACKLOG)
                .attempt(|| format!("listen on {}", listener.address))?;
            Ok(socket)
        })
        .collect()
}
