mod patient;
mod places;
mod service;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use tokio::sync::watch;

use crate::limits::Rules;
use crate::{Caller, Control, Endpoint, Method, Problem, ProblemKind, ROUTES, Role, Roles, Route};
use crate::{LOCAL_FILE, ServerLimits, Single, Streaming};
pub use service::Service;

/// A request, checked and taken apart.
#[derive(Debug)]
pub struct Call<E: Endpoint> {
    /// Who calls.
    pub caller: Caller,
    /// What stands after the `?`.
    pub query: E::Query,
    /// The body.
    pub body: E::Body,
    parameter: String,
}

impl<E: Endpoint> Call<E> {
    /// The path's parameter.
    ///
    /// # Errors
    /// It is not a `T`: a [`Problem`] that says so.
    pub fn parameter<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, Problem> {
        self.parameter.parse().map_err(|error| Problem::invalid(format!("in the path: {error}")))
    }
}

/// A call that could change something, and how it ended: for the audit trail.
#[derive(Clone, Debug)]
pub struct Called {
    /// Who called.
    pub caller: Caller,
    /// What.
    pub route: Route,
    /// The path as it was called.
    pub path: String,
    /// The status of the answer; 499 where the caller hung up before there was one. What it asked
    /// for may have been done all the same.
    pub status: u16,
}

type Observer = Arc<dyn Fn(Called) + Send + Sync>;

/// The interface while its handlers are being given.
pub struct Server {
    router: Router,
    registered: BTreeSet<&'static str>,
    rules: watch::Sender<Rules>,
    observer: Observer,
}

/// What is told of a call whose caller hung up before the answer.
const HUNG_UP: u16 = 499;

/// Endpoints that nobody gave a handler for.
#[derive(Debug, thiserror::Error)]
#[error("no handler was given for {}", .0.join(", "))]
pub struct MissingRoutes(Vec<&'static str>);

impl Server {
    /// Without handlers. `observer` is told of each call of an endpoint that asks for more than the
    /// lowest role, refused ones too.
    #[must_use]
    pub fn new(limits: ServerLimits, observer: impl Fn(Called) + Send + Sync + 'static) -> Self {
        Self {
            router: Router::new(),
            registered: BTreeSet::new(),
            rules: watch::Sender::new(Rules { limits, roles: Arc::default() }),
            observer: Arc::new(observer),
        }
    }

    /// Gives the handler of an endpoint that answers once.
    #[must_use]
    pub fn answer<E, F, A>(self, handler: F) -> Self
    where
        E: Single,
        F: Fn(Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<E::Answer, Problem>> + Send,
    {
        self.register::<E, _, _>(move |call| {
            let answering = handler(call);
            async move { answering.await.map(|answer| json(StatusCode::OK, &answer)) }
        })
    }

    /// Gives the handler of an endpoint that streams. A problem in the middle cuts the answer off,
    /// so that the caller cannot take it for whole.
    #[must_use]
    pub fn stream<E, F, A, S>(self, handler: F) -> Self
    where
        E: Streaming,
        F: Fn(Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<S, Problem>> + Send,
        S: Stream<Item = Result<E::Answer, Problem>> + Send + 'static,
    {
        self.register::<E, _, _>(move |call| {
            let answering = handler(call);
            async move {
                let lines = answering.await?.map(|item| {
                    let mut line = serde_json::to_vec(&item?)
                        .map_err(|error| Problem::internal(error.to_string()))?;
                    line.push(b'\n');
                    Ok::<_, Problem>(line)
                });
                let headers = [(header::CONTENT_TYPE, "application/jsonl")];
                Ok((headers, Body::from_stream(lines)).into_response())
            }
        })
    }

    fn register<E, F, A>(mut self, handler: F) -> Self
    where
        E: Endpoint,
        F: Fn(Call<E>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Response, Problem>> + Send,
    {
        let (rules, observer) = (self.rules.subscribe(), Arc::clone(&self.observer));
        let filter = match E::ROUTE.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        };
        let handle = move |parameters: RawPathParams, request: Request| {
            let (handler, observer) = (handler.clone(), Arc::clone(&observer));
            let limits = rules.borrow().limits;
            async move {
                let caller = request.extensions().get::<Caller>().cloned();
                let path = request.uri().path().to_owned();
                let observed = caller.clone().filter(|_| E::ROUTE.role > Role::Viewer);
                let mut telling = Telling {
                    observer,
                    called: observed.map(|caller| Called {
                        caller,
                        route: E::ROUTE,
                        path,
                        status: HUNG_UP,
                    }),
                };
                let parameter =
                    parameters.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
                let answered = async {
                    let caller = authorize(caller.as_ref(), &E::ROUTE)?;
                    let call = take_apart::<E>(caller, parameter, request, &limits).await?;
                    handler(call).await
                };
                let response = answered.await.unwrap_or_else(|problem| problem_response(&problem));
                if let Some(called) = &mut telling.called {
                    called.status = response.status().as_u16();
                }
                response
            }
        };
        self.router = self.router.route(E::ROUTE.path, on(filter, handle));
        self.registered.insert(E::ROUTE.name);
        self
    }

    /// The interface with all its handlers.
    ///
    /// # Errors
    /// A handler is missing.
    pub fn finish(self, roles: Roles) -> Result<Service, MissingRoutes> {
        let missing: Vec<_> = ROUTES
            .iter()
            .map(|route| route.name)
            .filter(|name| !self.registered.contains(name))
            .collect();
        if !missing.is_empty() {
            return Err(MissingRoutes(missing));
        }
        let unknown = |request: Request| async move {
            let known =
                request.extensions().get::<Caller>().is_some_and(|caller| caller.role.is_some());
            let problem = if known {
                let what = format!("{} {}", request.method(), request.uri().path());
                Problem::not_found(format!("there is no {what}; see /v1/openapi.json"))
            } else {
                nothing_at_all()
            };
            problem_response(&problem)
        };
        let router = self.router.method_not_allowed_fallback(unknown).fallback(unknown);
        self.rules.send_modify(|rules| rules.roles = Arc::new(roles));
        Ok(Service::new(router, Control(Arc::new(self.rules))))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("registered", &self.registered).finish_non_exhaustive()
    }
}

/// Tells of a call when it is over, also when it is over because its caller hung up.
struct Telling {
    observer: Observer,
    called: Option<Called>,
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(called) = self.called.take() {
            (self.observer)(called);
        }
    }
}

fn authorize(caller: Option<&Caller>, route: &Route) -> Result<Caller, Problem> {
    match caller {
        Some(caller) if caller.role.is_some_and(|role| role >= route.role) => Ok(caller.clone()),
        Some(Caller { name, role: Some(role), .. }) => Err(Problem::new(
            ProblemKind::Forbidden,
            format!(
                "this takes the role {}, and {name} is {role}; who is what stands under `settings.api.roles` in the node's local file, which is {LOCAL_FILE} where nobody chose another",
                route.role
            ),
        )),
        _ => Err(nothing_at_all()),
    }
}

fn nothing_at_all() -> Problem {
    Problem::new(
        ProblemKind::Forbidden,
        format!(
            "you have no role on this node; who has one stands under `settings.api.roles` in its local file, which is {LOCAL_FILE} where nobody chose another"
        ),
    )
}

async fn take_apart<E: Endpoint>(
    caller: Caller,
    parameter: String,
    request: Request,
    limits: &ServerLimits,
) -> Result<Call<E>, Problem> {
    let query = serde_urlencoded::from_str(request.uri().query().unwrap_or_default())
        .map_err(|error| Problem::invalid(format!("in the query: {error}")))?;
    let bytes = tokio::time::timeout(limits.bodies, to_bytes(request.into_body(), limits.body))
        .await
        .map_err(|_| Problem::invalid(format!("the body takes more than {:?}", limits.bodies)))?
        .map_err(|_| {
            Problem::invalid(format!("the body is cut off or over {} bytes", limits.body))
        })?;
    // No body says what an empty one says.
    let bytes = if bytes.is_empty() { b"{}".as_slice() } else { &bytes };
    let body = serde_json::from_slice(bytes)
        .map_err(|error| Problem::invalid(format!("in the body: {error}")))?;
    Ok(Call { caller, query, body, parameter })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => problem_response(&Problem::internal(error.to_string())),
    }
}

fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}

#[cfg(test)]
mod tests;
