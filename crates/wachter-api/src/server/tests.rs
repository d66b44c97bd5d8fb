use std::sync::Mutex;

use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::{Role, routes};

/// Gives every endpoint a handler that says that it was reached.
macro_rules! reached {
    ($server:expr; $($answering:ident)+; $($streaming:ident)+) => {
        $server
            $(.answer::<routes::$answering, _, _>(|_| async { Err(reached_problem()) }))+
            $(.stream::<routes::$streaming, _, _, futures_util::stream::Empty<_>>(|_| async {
                Err(reached_problem())
            }))+
    };
}

fn reached_problem() -> Problem {
    Problem::new(ProblemKind::Conflict, "reached")
}

fn server(observer: impl Fn(Called) + Send + Sync + 'static) -> Server {
    reached!(
        Server::new(ServerLimits::default(), observer);
        GetStatus GetHealth ListAgents RunAgent PauseAgent ResumeAgent ExplainEventRoutes
        ListModules ListRuns GetRun RecordRun ListEvents SendEvent AskQuestion TraceEvent ListSubscriptions
        ReplayEvents ListDeadLetters GetDeadLetter RetryDeadLetter DropDeadLetter
        ListFindings GetFinding JudgeFinding DropFinding GetConfiguration
        ReloadConfiguration Synchronize RollBack PinRelease UnpinRelease ApplyReleaseBundle
        FreezeEffects ThawEffects VerifyJournal ListCheckpoints ListChanges GetOpenApi;
        FollowEvents ExportJournal ReadLogs
    )
}

fn caller(role: Option<Role>) -> Caller {
    Caller { user: 4_000_000, name: "somebody".to_owned(), role }
}

fn service(observer: impl Fn(Called) + Send + Sync + 'static) -> Service {
    server(observer).finish(Roles::default()).unwrap()
}

async fn send(
    service: &Service,
    caller: Option<Caller>,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String) {
    let mut router = service.router.clone();
    if let Some(caller) = caller {
        router = router.layer(axum::Extension(caller));
    }
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
    let response = router.oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// A body that the endpoint takes, so that only its role decides.
fn body(route: &Route) -> &'static str {
    match route.name {
        "SendEvent" | "AskQuestion" => r#"{"type":"a.b"}"#,
        "ReplayEvents" => r#"{"subscription":"a"}"#,
        "PinRelease" => r#"{"until":"2027-01-01T00:00:00Z"}"#,
        "ApplyReleaseBundle" => r#"{"path":"/tmp/a.bundle"}"#,
        "RecordRun" => r#"{"record":{}}"#,
        "JudgeFinding" => r#"{"verdict":"confirmed"}"#,
        "FreezeEffects" => r#"{"reason":"a"}"#,
        _ => "{}",
    }
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let service = service(|_| {});
    let callers = [
        None,
        Some(caller(None)),
        Some(caller(Some(Role::Viewer))),
        Some(caller(Some(Role::Operator))),
        Some(caller(Some(Role::Admin))),
    ];
    for route in ROUTES {
        let path = crate::client::with_parameter(route.path, "1");
        for caller in &callers {
            let role = caller.as_ref().and_then(|caller| caller.role);
            let expected = if role >= Some(route.role) { 409 } else { 403 };
            let (status, text) =
                send(&service, caller.clone(), &route.method.to_string(), &path, body(route)).await;
            assert_eq!(status, expected, "{route:?} by {role:?}: {text}");
        }
    }
}

#[tokio::test]
async fn who_has_no_role_learns_nothing() {
    let service = service(|_| {});
    for (method, path) in [("GET", "/"), ("GET", "/v1/nothing"), ("PUT", "/v1/status")] {
        let (status, text) = send(&service, Some(caller(None)), method, path, "").await;
        assert_eq!(status, 403, "{text}");
        let (status, _) = send(&service, Some(caller(Some(Role::Viewer))), method, path, "").await;
        assert_eq!(status, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_is_read_after_the_role_was_checked() {
    let service = service(|_| {});
    let (status, _) =
        send(&service, Some(caller(Some(Role::Viewer))), "POST", "/v1/events", "not JSON").await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let service = service(|_| {});
    let check = async |method: &str, path: &str, body: &str, expected: &str| {
        let (status, text) =
            send(&service, Some(caller(Some(Role::Admin))), method, path, body).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check("GET", "/v1/runs?agnet=a", "", "unknown field `agnet`").await;
    check("GET", "/v1/runs?limit=many", "", "in the query").await;
    check("GET", "/v1/status?x=1", "", "in the query").await;
    check("POST", "/v1/events", "{", "line 1 column 1").await;
    check("POST", "/v1/events", r#"{"type":"A"}"#, "is not a topic").await;
    check("POST", "/v1/freeze", r#"{"raeson":"a"}"#, "unknown field `raeson`").await;
    check("POST", "/v1/freeze", &" ".repeat(3 << 20), "over 2097152 bytes").await;
    check("POST", "/v1/agents/a/pause", r#"{"x":1}"#, "unknown field `x`").await;
}

#[tokio::test]
async fn calls_that_may_change_something_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let service = service(move |called| {
        telling.lock().unwrap().push((called.route.name, called.caller.role, called.status));
    });
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        for (method, path) in [("GET", "/v1/status"), ("POST", "/v1/thaw")] {
            send(&service, Some(caller(Some(role))), method, path, "{}").await;
        }
    }
    let expected = [
        ("ThawEffects", Some(Role::Viewer), 403),
        ("ThawEffects", Some(Role::Operator), 403),
        ("ThawEffects", Some(Role::Admin), 409),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_missing_handler_is_an_error() {
    let server = Server::new(ServerLimits::default(), |_| {})
        .answer::<routes::GetHealth, _, _>(|_| async { Err(reached_problem()) });
    let missing = server.finish(Roles::default()).unwrap_err();
    assert_eq!(missing.0.len(), ROUTES.len() - 1);
}

#[tokio::test]
async fn no_body_says_what_an_empty_one_says() {
    let service = service(|_| {});
    let admin = || Some(caller(Some(Role::Admin)));
    let (status, _) = send(&service, admin(), "POST", "/v1/agents/a/pause", "").await;
    assert_eq!(status, 409, "its handler was reached");
    let (status, text) = send(&service, admin(), "POST", "/v1/freeze", "").await;
    assert_eq!(status, 400);
    assert!(text.contains("missing field `reason`"), "{text}");
}
