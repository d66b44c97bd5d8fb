//! Rows 9 to 11: the network, and sockets of the host.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use crate::attempt::{Attempt, Targets, c_string, checked, done, scratch};

pub(crate) fn attempts(targets: &Targets) -> Vec<Attempt<'_>> {
    let socket = |name, family: i32, kind: i32, protocol: i32| {
        Attempt::new(name, move || {
            done(checked(unsafe { libc::socket(family, kind, protocol) }.into()))
        })
    };
    vec![
        Attempt::new("connect-to-host", move || {
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, targets.tcp);
            let mut text = String::new();
            TcpStream::connect(address)?.take(5).read_to_string(&mut text).map(|_| text)
        }),
        Attempt::new("datagram-to-host", move || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            answered(&socket, targets.udp)
        }),
        Attempt::new("datagram-without-bind", move || {
            let raw =
                checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }.into())? as i32;
            let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(raw) });
            answered(&socket, targets.udp)
        }),
        Attempt::new("listen", || done(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))),
        socket("internet-socket-6", libc::AF_INET6, libc::SOCK_STREAM, 0),
        socket("raw-socket", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        socket("multipath-socket", libc::AF_INET, libc::SOCK_STREAM, 262),
        socket("packet-socket", libc::AF_PACKET, libc::SOCK_RAW, 0),
        socket("netlink-socket", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
        socket(
            "netlink-events-socket",
            libc::AF_NETLINK,
            libc::SOCK_RAW,
            libc::NETLINK_KOBJECT_UEVENT,
        ),
        socket("cipher-socket", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        socket("vsock-socket", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket("key-socket", libc::AF_KEY, libc::SOCK_RAW, 2),
        socket("bluetooth-socket", libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
        socket("xdp-socket", libc::AF_XDP, libc::SOCK_RAW, 0),
        Attempt::new("unix-stream-by-path", move || {
            let mut text = String::new();
            UnixStream::connect(targets.outside.join("stream"))?
                .take(5)
                .read_to_string(&mut text)
                .map(|_| text)
        }),
        Attempt::new("unix-stream-by-abstract-name", move || {
            let address = SocketAddr::from_abstract_name(&targets.abstract_name)?;
            let mut text = String::new();
            UnixStream::connect_addr(&address)?.take(5).read_to_string(&mut text).map(|_| text)
        }),
        Attempt::new("unix-datagram-by-path", move || {
            done(UnixDatagram::unbound()?.send_to(b"x", targets.outside.join("datagram")))
        }),
        Attempt::new("unix-datagram-from-half-a-pair", move || {
            // Half of a pair of datagram sockets still sends wherever it is told to.
            let (half, _other) = UnixDatagram::pair()?;
            done(half.send_to(b"x", targets.outside.join("datagram")))
        }),
        Attempt::new("reconnect-half-a-pair", move || {
            let (half, _other) = UnixDatagram::pair()?;
            connect_by_path(half.as_raw_fd(), &targets.outside.join("datagram"))
        }),
        Attempt::new("listen-by-path", || {
            let path = scratch("listen");
            let _ = std::fs::remove_file(&path);
            done(UnixListener::bind(path))
        }),
        Attempt::new("pair-for-streams", || {
            // What programs need for talking to their own children.
            let (mut one, mut other) = UnixStream::pair()?;
            one.write_all(b"x")?;
            let mut byte = [0];
            done(other.read_exact(&mut byte))
        }),
    ]
}

/// A datagram goes out unanswered to nowhere as well, so the answer is the proof.
fn answered(socket: &UdpSocket, port: u16) -> io::Result<String> {
    socket.send_to(b"x", (Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
    done(socket.recv_from(&mut [0; 8]))
}

fn connect_by_path(socket: i32, path: &Path) -> io::Result<String> {
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(c_string(path).to_bytes()) {
        *to = from.cast_signed();
    }
    let length = size_of_val(&address) as u32;
    done(checked(unsafe { libc::connect(socket, (&raw const address).cast(), length) }.into()))
}
