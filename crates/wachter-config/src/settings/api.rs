use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use wachter_model::ByteSize;

/// The interface on the node's socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    /// Connections at one time; viewers may have three quarters of them, operators seven eighths. Who
    /// finds no place is turned away.
    pub connections: NonZeroU32,
    /// The largest body of a request.
    pub max_body: ByteSize,
    /// Who may do what, beside root and the node's own user, who may do everything. In the local file
    /// alone.
    pub roles: Roles,
}

/// Who may do what. Users and groups are names or numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Roles {
    /// Who may see.
    pub viewers: Members,
    /// Who may also start and stop work.
    pub operators: Members,
    /// Who may also decide which release is in force.
    pub admins: Members,
}

/// Users and groups of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Members {
    /// Users by name or number.
    pub users: BTreeSet<String>,
    /// Groups by name or number.
    pub groups: BTreeSet<String>,
}
