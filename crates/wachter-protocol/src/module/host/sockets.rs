use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Moment;

/// Sockets of the node's network namespace, which is the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sockets {
    /// When they were read.
    pub taken: Moment,
    /// Sockets of all families together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// TCP over IPv4 and IPv6 by state, in the words of ss(8): `established`, `close-wait`. A state
    /// that no socket is in is left out.
    pub tcp: BTreeMap<String, u64>,
    /// UDP over IPv4 and IPv6.
    pub udp: u64,
    /// Unix sockets.
    pub unix: u64,
    /// Memory that TCP has for what was not yet sent or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_memory_bytes: Option<u64>,
    /// Ports that are listened on, in order, once each.
    pub listening: Vec<Listening>,
    /// Counters of TCP since boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<TcpCounters>,
    /// There are more than are looked at: those by state and those of UDP are at least as many as told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
    /// What the packet filter keeps track of; left out where it keeps track of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked: Option<Tracked>,
}

/// A port that something listens on: TCP in the state `listen`, UDP without a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listening {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address that it is bound to: `0.0.0.0` or `::` for all.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The user that the socket belongs to.
    pub user: u32,
}

/// Counters of TCP (RFC 4022, and the kernel's Documentation/networking/snmp_counter.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TcpCounters {
    /// Segments that were sent.
    pub sent: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
    /// Connections that were turned away since a program did not accept them fast enough.
    pub listen_overflows: u64,
}

/// Connections that the packet filter keeps track of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tracked {
    /// How many there are.
    pub count: u64,
    /// How many there may be; beyond them packets are dropped.
    pub most: u64,
}
