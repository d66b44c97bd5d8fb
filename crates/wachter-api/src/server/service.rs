use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::patient::Patient;
use super::places::{Bounds, Entered, Places};
use super::problem_response;
use crate::limits::Rules;
use crate::{Caller, Control, Problem, ProblemKind};

/// How long a caller for whom there is no place may take to hear that.
const TURNING_AWAY: Duration = Duration::from_secs(2);

/// The interface, ready to be served.
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) router: Router,
    control: Control,
    places: Places,
}

impl Service {
    pub(super) fn new(router: Router, control: Control) -> Self {
        Self { router, control, places: Places::default() }
    }

    /// Changes limits and roles while this serves.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves callers until `shutdown`, then lets answers that are under way end for up to a second.
    pub async fn serve(self, listener: UnixListener, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut rules = self.control.0.subscribe();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // More than can be let in, so that those who can are found among those who cannot.
            let most = Bounds::of(&rules.borrow_and_update().limits).all();
            tokio::select! {
                accepted = listener.accept(), if connections.len() < most => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(self.clone().connection(stream))),
                    // No descriptors are left, mostly: what is there goes on, and ends some time.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                },
                Some(_) = connections.join_next() => {}
                // There may be more room now.
                Ok(()) = rules.changed() => {}
                () = &mut shutdown => break,
            }
        }
        let rest = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    }

    async fn connection(self, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else { return };
        let (user, group) = (credentials.uid(), credentials.gid());
        let mut rules = self.control.0.subscribe();
        let caller = caller(&mut rules, user, group).await;
        let limits = rules.borrow().limits;
        let _place = match self.places.enter(caller.role, &Bounds::of(&limits)) {
            Entered::In(place) => place,
            Entered::TurnedAway(_place) => return turn_away(stream).await,
            Entered::Out => return,
        };
        let router = self.router.layer(axum::Extension(caller.clone()));
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .serve_connection(
                TokioIo::new(Patient::new(stream, limits.unread)),
                TowerToHyperService::new(router),
            );
        let mut serving = std::pin::pin!(serving);
        loop {
            tokio::select! {
                // A caller that breaks off costs itself.
                _ = &mut serving => return,
                Ok(()) = rules.changed() => {
                    if self::caller(&mut rules, user, group).await.role != caller.role {
                        return;
                    }
                }
            }
        }
    }
}

/// Answers one request, whatever it asks for, with the reason why it is not looked at.
async fn turn_away(stream: UnixStream) {
    let refuse = || async {
        let reason = "the connections that callers of your role may have are all in use; try again later, or raise `settings.api.connections`";
        problem_response(&Problem::new(ProblemKind::Unavailable, reason))
    };
    let service = TowerToHyperService::new(Router::new().fallback(refuse));
    let serving =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(TURNING_AWAY, serving).await;
}

/// Looks up who calls. The databases of users may be anywhere, so reading them may block.
async fn caller(rules: &mut watch::Receiver<Rules>, user: u32, group: u32) -> Caller {
    let roles = Arc::clone(&rules.borrow_and_update().roles);
    match tokio::task::spawn_blocking(move || roles.caller(user, group)).await {
        Ok(Ok(caller)) => caller,
        // Who cannot be looked up may do nothing.
        _ => Caller { user, name: user.to_string(), role: None },
    }
}
