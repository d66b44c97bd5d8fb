//! Sends one JSON value, with descriptors beside it, in one packet of a `SOCK_SEQPACKET` unix
//! socket (unix(7)): what the node and the launcher speak over.
//!
//! A packet is whole or not there, so there is no framing to get wrong, and a reader that is too
//! slow makes the writer see [`PacketError::Full`] instead of growing a buffer.
//!
//! Beside it stands [`ServiceManager`]: what both processes tell systemd, a datagram each.
//!
//! # Invariants
//! - Received descriptors are close-on-exec from the start.
//! - A packet that is too large, truncated or not JSON is an error; its descriptors are closed.

mod service_manager;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use service_manager::{ServiceManager, Word};

/// The most bytes of one packet.
pub const MAX_BYTES: usize = 64 << 10;

/// The most descriptors beside one packet.
pub const MAX_DESCRIPTORS: usize = 32;

/// Why a packet was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// Nothing to receive now, or no room to send now; only where the socket does not block.
    #[error("the socket is not ready")]
    Full,
    /// The other side is gone.
    #[error("the other side closed the connection")]
    Closed,
    /// More than fits.
    #[error("a packet holds at most {MAX_BYTES} bytes and {MAX_DESCRIPTORS} descriptors")]
    TooLarge,
    /// Not the JSON that was expected.
    #[error("a packet is not what was expected")]
    Json(#[source] serde_json::Error),
    /// The system refused.
    #[error("a packet could not be passed on")]
    System(#[source] Errno),
}

impl From<Errno> for PacketError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::Full,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Self::Closed,
            Errno::MSGSIZE => Self::TooLarge,
            errno => Self::System(errno),
        }
    }
}

/// Two sockets joined with each other, close-on-exec and blocking.
///
/// # Errors
/// The process has no descriptor left.
pub fn pair() -> Result<(OwnedFd, OwnedFd), PacketError> {
    let kind = SocketType::SEQPACKET;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends `value` with `descriptors`.
///
/// # Errors
/// See [`PacketError`]; nothing was sent then.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    value: &T,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), PacketError> {
    let bytes = serde_json::to_vec(value).map_err(PacketError::Json)?;
    if bytes.len() > MAX_BYTES || descriptors.len() > MAX_DESCRIPTORS {
        return Err(PacketError::TooLarge);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(&bytes)], &mut ancillary, flags)
    })?;
    Ok(())
}

/// Receives one packet with its descriptors.
///
/// # Errors
/// See [`PacketError`]. After [`PacketError::Json`] and [`PacketError::TooLarge`] the connection is
/// still usable.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<(T, Vec<OwnedFd>), PacketError> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket.as_fd(), parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let descriptors: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Err(PacketError::Closed);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(PacketError::TooLarge);
    }
    let value = serde_json::from_slice(&bytes[..received.bytes]).map_err(PacketError::Json)?;
    Ok((value, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn values_and_descriptors_arrive_together() {
        let (left, right) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&left, &("hello", 7), &[writer.as_fd()]).unwrap();
        drop(writer);
        let ((text, number), descriptors): ((String, u32), _) = receive(&right).unwrap();
        assert_eq!((text.as_str(), number), ("hello", 7));
        let mut received = File::from(descriptors.into_iter().next().unwrap());
        let flags = rustix::io::fcntl_getfd(&received).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        received.write_all(b"through").unwrap();
        drop(received);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn the_end_is_told() {
        let (left, right) = pair().unwrap();
        drop(left);
        assert!(matches!(receive::<u32>(&right), Err(PacketError::Closed)));
        assert!(matches!(send(&right, &1, &[]), Err(PacketError::Closed)));
    }

    #[test]
    fn a_bad_packet_costs_only_itself() {
        let (left, right) = pair().unwrap();
        send(&left, &"text", &[]).unwrap();
        send(&left, &7, &[]).unwrap();
        assert!(matches!(receive::<u32>(&right), Err(PacketError::Json(_))));
        assert_eq!(receive::<u32>(&right).unwrap().0, 7);
        assert!(matches!(send(&left, &"x".repeat(MAX_BYTES), &[]), Err(PacketError::TooLarge)));
    }
}
