//! The only way from a run to the network.
//!
//! A run has a network namespace with nothing in it but sockets that listen on loopback addresses.
//! What it connects to is this broker, which accepts outside: on one address a proxy (HTTP CONNECT,
//! RFC 9110, and plain HTTP in absolute form, RFC 9112), and on one address for each granted
//! endpoint a plain relay, so that programs that know no proxy need none.
//!
//! # Invariants
//! - A name is resolved once and the connection goes to the address that was checked; there is no
//!   second look-up that could answer otherwise.
//! - Loopback, link-local, private and other special addresses, and those of this host, are refused
//!   unless the owner granted their range.
//! - Every connection and every refusal is recorded with its byte counts.

mod address;
mod broker;
mod proxy;

pub use address::AddressRefused;
pub use broker::{Broker, Connection, ConnectionEnd, Serving};
