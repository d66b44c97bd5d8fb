//! The node's interface: what each endpoint of `wachter-api` does here, one group a file.
//!
//! # Invariants
//! - Nothing here decides which release, trust or configuration is in force, or which agent runs: that
//!   is told to the task that owns it, and its answer is handed on.
//! - No call waits for the journal to take note of it.
//! - No answer is gathered in memory without a limit: lists have one, and the rest is streamed.

mod agents;
mod audit;
mod calls;
mod changes;
mod configuration;
mod dead_letters;
mod effects;
mod events;
mod findings;
mod listen;
mod logs;
mod look_back;
mod problems;
mod questions;
mod release;
mod replays;
mod routes;
mod runs;
mod status;
mod subscriptions;
mod traces;

use std::sync::Arc;

use tokio::sync::watch;
use wachter_api::{
    Call, Control, Endpoint, GetOpenApi, Members, MissingRoutes, Roles, Server, ServerLimits,
    Service,
};
use wachter_config::{ApiSettings, Settings};

pub(crate) use listen::listen;

use super::context::Node;

/// The interface with all its handlers. Begins the task that puts calls into the journal, which ends
/// with the service.
///
/// # Errors
/// An endpoint has no handler.
pub(crate) fn service(
    node: &Arc<Node>,
    limits: ServerLimits,
    roles: Roles,
) -> Result<Service, MissingRoutes> {
    let server = Server::new(limits, calls::observer(node.announcer.clone()))
        .answer::<GetOpenApi, _, _>(|_| async { Ok(wachter_api::openapi()) });
    let groups = [
        status::handlers,
        agents::handlers,
        routes::handlers,
        runs::handlers,
        events::handlers,
        questions::handlers,
        traces::handlers,
        subscriptions::handlers,
        replays::handlers,
        dead_letters::handlers,
        findings::handlers,
        configuration::handlers,
        release::handlers,
        effects::handlers,
        audit::handlers,
        changes::handlers,
        logs::handlers,
    ];
    groups.into_iter().fold(server, |server, handlers| handlers(server, node)).finish(roles)
}

/// Who may do what, and how much at one time, as configuration says.
pub(crate) fn rules(settings: &ApiSettings) -> (ServerLimits, Roles) {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let members = |members: &wachter_config::Members| Members {
        users: members.users.clone(),
        groups: members.groups.clone(),
    };
    let limits = ServerLimits {
        connections: size(settings.connections.get().into()),
        body: size(settings.max_body.as_bytes()),
        ..ServerLimits::default()
    };
    let roles = Roles {
        viewers: members(&settings.roles.viewers),
        operators: members(&settings.roles.operators),
        admins: members(&settings.roles.admins),
    };
    (limits, roles)
}

/// Has a service go by the settings, whenever they change. Ends with who changes them.
pub(crate) async fn follow_settings(
    mut settings: watch::Receiver<Arc<Settings>>,
    control: Control,
) {
    loop {
        let (limits, roles) = rules(&settings.borrow_and_update().api);
        control.set(limits, roles);
        if settings.changed().await.is_err() {
            return;
        }
    }
}

/// A handler that is given the node.
fn with<E, F, A>(
    node: &Arc<Node>,
    handler: F,
) -> impl Fn(Call<E>) -> A + Clone + Send + Sync + 'static
where
    E: Endpoint,
    F: Fn(Arc<Node>, Call<E>) -> A + Clone + Send + Sync + 'static,
{
    let node = Arc::clone(node);
    move |call| handler(Arc::clone(&node), call)
}

#[cfg(test)]
mod tests;
