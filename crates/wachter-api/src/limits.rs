use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Roles;

/// Bounds of what callers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at one time; who comes beyond is told so. Callers without a role have an eighth of
    /// them, viewers three quarters and operators seven eighths, with all below: each role has one at
    /// least that no lower one can take, beyond this limit where it is small.
    pub connections: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long a caller may take over its headers.
    pub headers: Duration,
    /// How long a caller may take over a body.
    pub bodies: Duration,
    /// How long an answer waits for a caller that reads nothing of it.
    pub unread: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            body: 2 << 20,
            headers: Duration::from_secs(10),
            bodies: Duration::from_secs(30),
            unread: Duration::from_mins(5),
        }
    }
}

/// Changes limits and roles of a [`Service`](crate::Service) while it serves; cheap to clone.
#[derive(Clone, Debug)]
pub struct Control(pub(crate) Arc<watch::Sender<Rules>>);

/// What a server goes by at present.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: ServerLimits,
    pub(crate) roles: Arc<Roles>,
}

impl Control {
    /// Goes by these from now on. A connection whose caller has another role now is cut off, so that
    /// nobody keeps what was taken away.
    pub fn set(&self, limits: ServerLimits, roles: Roles) {
        self.0.send_if_modified(|rules| {
            let changed = rules.limits != limits || *rules.roles != roles;
            *rules = Rules { limits, roles: Arc::new(roles) };
            changed
        });
    }
}
