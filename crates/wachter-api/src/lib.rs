//! The node's HTTP interface: what can be asked, in which shapes, and by whom.
//!
//! Each [`Endpoint`] is declared once, in `routes.rs`. The [`Server`] takes a handler for each and
//! refuses to start while one is missing; the [`Client`] calls them by the same types; [`openapi`]
//! describes them. The command line speaks this and nothing else.
//!
//! # Invariants
//! - No endpoint is without a role: it is part of the declaration, and is checked before anything of
//!   the request but its first line and headers is read.
//! - A caller is who the kernel says it is (`SO_PEERCRED`), never who it claims to be.
//! - Nothing here knows what an endpoint does; handlers are given by the node.
//! - Requests, connections and headers have limits in number, size and time.

mod client;
mod endpoint;
mod limits;
mod lines;
mod openapi;
mod problem;
mod roles;
mod routes;
mod server;
/// What goes over the wire.
pub mod shapes;

pub use client::{Client, ClientError};
pub use endpoint::{Endpoint, Method, Nothing, Role, Route, Schemas, Single, Streaming};
pub use limits::{Control, ServerLimits};
pub use lines::Lines;
pub use openapi::openapi;
pub use problem::{Problem, ProblemKind};
pub use roles::{Caller, Members, RoleError, Roles};
pub use routes::*;
pub use server::{Call, Called, MissingRoutes, Server, Service};

/// Where the local file of a node is that the system starts.
const LOCAL_FILE: &str = "/etc/wachter/node.yaml";
