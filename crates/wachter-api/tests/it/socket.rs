use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::{Notify, oneshot};
use wachter_api::shapes::{AuditRecord, Health, LogLine, StoredEvent};
use wachter_api::{
    Called, Client, ClientError, ExportJournal, FollowEvents, GetHealth, GetRun, GetStatus,
    Members, Nothing, Problem, ProblemKind, ReadLogs, Roles, Server, ServerLimits, Service,
    Synchronize,
};

/// Every endpoint that a test does not give a handler for says that it has none.
macro_rules! rest {
    ($server:expr; $($answering:ident)+) => {
        $server
            $(.answer::<wachter_api::$answering, _, _>(|_| async { Err(Problem::not_found("none")) }))+
    };
}

fn service(limits: ServerLimits) -> Service {
    observed(limits, Arc::default(), |_| {})
}

/// Tells when somebody has begun to wait for [`Synchronize`], which never answers.
fn observed(
    limits: ServerLimits,
    begun: Arc<Notify>,
    observer: impl Fn(Called) + Send + Sync + 'static,
) -> Service {
    let server = Server::new(limits, observer)
        .answer::<GetHealth, _, _>(|call| async move {
            assert_eq!(call.caller.user, rustix_user());
            Ok(Health { healthy: true, journal: true, launcher: false, release: true })
        })
        .answer::<GetRun, _, _>(|call| async move {
            let run: wachter_model::RunId = call.parameter()?;
            Err(Problem::not_found(format!("run {run} is unknown")))
        })
        .answer::<Synchronize, _, _>(move |_| {
            let begun = Arc::clone(&begun);
            async move {
                begun.notify_one();
                std::future::pending().await
            }
        })
        .stream::<FollowEvents, _, _, _>(|call| async move {
            let after = call.query.after.unwrap_or_default();
            let events = (after + 1..=after + 3).map(|sequence| {
                Ok(StoredEvent {
                    sequence,
                    event: serde_json::json!({ "data": "x".repeat(100_000) }),
                })
            });
            Ok(stream::iter(events))
        })
        .stream::<ExportJournal, _, _, _>(|_| async move {
            let record = AuditRecord {
                sequence: 1,
                at: None,
                digest: None,
                chain: None,
                event: serde_json::value::RawValue::NULL.to_owned(),
            };
            // One record, and then nothing, for ever.
            Ok(stream::iter([Ok(record)]).chain(stream::pending()))
        })
        .stream::<ReadLogs, _, _, _>(|_| async move {
            let first = LogLine {
                time: jiff::Timestamp::UNIX_EPOCH,
                level: wachter_model::Level::Info,
                target: "a".to_owned(),
                message: "b".to_owned(),
                fields: serde_json::Value::Null,
            };
            Ok(stream::iter([Ok(first), Err(Problem::new(ProblemKind::Internal, "disk"))]))
        });
    rest!(server;
        GetStatus ListAgents RunAgent PauseAgent ResumeAgent ExplainEventRoutes ListModules
        ListRuns RecordRun ListFindings GetFinding JudgeFinding DropFinding ListCheckpoints ListEvents SendEvent AskQuestion TraceEvent ListSubscriptions ReplayEvents
        ListDeadLetters GetDeadLetter RetryDeadLetter DropDeadLetter GetConfiguration
        ReloadConfiguration RollBack PinRelease UnpinRelease ApplyReleaseBundle
        FreezeEffects ThawEffects VerifyJournal ListChanges GetOpenApi)
    .finish(Roles::default())
    .unwrap()
}

fn rustix_user() -> u32 {
    // The owner of what this process makes is the user that it runs as.
    use std::os::unix::fs::MetadataExt as _;
    tempfile::tempfile().unwrap().metadata().unwrap().uid()
}

/// Serves while `test` runs, and sees that the server ends when told to.
async fn serving(limits: ServerLimits, test: impl AsyncFnOnce(&Path)) {
    serve(service(limits), test).await;
}

async fn serve(service: Service, test: impl AsyncFnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(service.serve(listener, async { drop(stopped.await) }));
    test(&socket).await;
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server).await.unwrap().unwrap();
}

#[tokio::test]
async fn answers_and_refuses() {
    serving(ServerLimits::default(), async |socket| {
        let client = Client::new(socket);
        assert!(client.call::<GetHealth>(&Nothing {}, &Nothing {}).await.unwrap().healthy);
        let run = wachter_model::RunId::new().to_string();
        let error = client.call_at::<GetRun>(&run, &Nothing {}, &Nothing {}).await.unwrap_err();
        assert_eq!(error.to_string(), format!("run {run} is unknown"));
        let error = client.call_at::<GetRun>("a/b", &Nothing {}, &Nothing {}).await.unwrap_err();
        assert!(matches!(error, ClientError::Problem(Problem { status: 400, .. })), "{error}");
        let error = client.call::<GetStatus>(&Nothing {}, &Nothing {}).await.unwrap_err();
        assert!(matches!(error, ClientError::Problem(Problem { status: 404, .. })), "{error}");
    })
    .await;
}

#[tokio::test]
async fn streams_line_by_line() {
    serving(ServerLimits::default(), async |socket| {
        let query = wachter_api::shapes::FollowQuery { after: Some(7), ..Default::default() };
        let mut lines = Client::new(socket).stream::<FollowEvents>(&query).await.unwrap();
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(line.sequence);
        }
        assert_eq!(seen, [8, 9, 10]);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_broke_off_is_no_whole_one() {
    serving(ServerLimits::default(), async |socket| {
        // The cut may be noticed at the head of the answer, with the first line or after it.
        let read = async {
            let mut lines = Client::new(socket).stream::<ReadLogs>(&Default::default()).await?;
            let mut messages = Vec::new();
            while let Some(line) = lines.next().await? {
                messages.push(line.message);
            }
            Ok::<_, ClientError>(messages)
        };
        let outcome = read.await;
        assert!(outcome.is_err(), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_says_nothing_is_hung_up_on_and_others_are_served() {
    let limits =
        ServerLimits { connections: 1, headers: Duration::from_millis(50), ..Default::default() };
    serving(limits, async |socket| {
        let mut silent = std::os::unix::net::UnixStream::connect(socket).unwrap();
        silent.write_all(b"GET /v1/hea").unwrap();
        let client = Client::new(socket);
        assert!(client.call::<GetHealth>(&Nothing {}, &Nothing {}).await.unwrap().healthy);
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            // It may end by a reset as well as by an end.
            let _ = silent.read_to_end(&mut rest);
        });
        tokio::time::timeout(Duration::from_secs(20), rest).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn says_what_to_do_when_there_is_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&folder.path().join("node.sock"));
    let error = client.call::<GetHealth>(&Nothing {}, &Nothing {}).await.unwrap_err();
    assert!(error.to_string().contains("wachter run"), "{error}");
}

/// A long time; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);

/// A caller that got the first of an answer, and reads no more.
async fn reader_of(socket: &Path, path: &str) -> tokio::net::UnixStream {
    let mut caller = tokio::net::UnixStream::connect(socket).await.unwrap();
    caller
        .write_all(
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    let mut begin = [0; 12];
    caller.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    caller
}

#[tokio::test]
async fn limits_follow_configuration_while_serving() {
    let limits =
        ServerLimits { connections: 1, headers: LONG, body: 10, ..ServerLimits::default() };
    let service = service(limits);
    let control = service.control();
    serve(service, async |socket| {
        // However few there are, each role above the lowest has one more.
        let mut callers = Vec::new();
        for _ in 0..3 {
            callers.push(reader_of(socket, "/v1/audit/export").await);
        }
        let client = Client::new(socket);
        let error = client.call::<GetHealth>(&Nothing {}, &Nothing {}).await.unwrap_err();
        let ClientError::Problem(problem) = error else { panic!("{error}") };
        assert_eq!((problem.kind, problem.status), (ProblemKind::Unavailable, 503));
        assert!(problem.detail.contains("try again later"), "{problem}");
        control.set(ServerLimits { connections: 4, ..limits }, Roles::default());
        let answered = client.call::<GetHealth>(&Nothing {}, &Nothing {}).await;
        assert!(answered.unwrap().healthy);
        let body = wachter_api::shapes::Freeze { reason: "x".repeat(100) };
        let freeze = async || {
            client.call::<wachter_api::FreezeEffects>(&Nothing {}, &body).await.unwrap_err()
        };
        assert!(freeze().await.to_string().contains("over 10 bytes"));
        control.set(ServerLimits { connections: 4, body: 1_000, ..limits }, Roles::default());
        assert_eq!(freeze().await.to_string(), "none", "its handler was reached");
        drop(callers);
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_caller_hangs_up_is_told_too() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let begun = Arc::new(Notify::new());
    let service = observed(ServerLimits::default(), Arc::clone(&begun), move |called| {
        telling.lock().unwrap().push((called.route.name, called.status));
    });
    serve(service, async |socket| {
        let mut caller = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let request =
            "POST /v1/release/sync HTTP/1.1\r\nhost: wachter\r\ncontent-length: 2\r\n\r\n{}";
        caller.write_all(request.as_bytes()).unwrap();
        tokio::time::timeout(LONG, begun.notified()).await.unwrap();
        drop(caller);
        let wait = async {
            while told.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, wait).await.unwrap();
        assert_eq!(*told.lock().unwrap(), [("Synchronize", 499)]);
    })
    .await;
}

/// A user that no host has.
const SOMEBODY: u32 = 4_000_000;

/// Calls as another user, which root alone can; `None` where this process is not root.
fn as_somebody(socket: &Path, path: &str) -> Option<std::process::Child> {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    if rustix_user() != 0 {
        return None;
    }
    for path in [socket, socket.parent().unwrap()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let url = format!("http://wachter{path}");
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--no-buffer", "--unix-socket"]).arg(socket).arg(url);
    curl.uid(SOMEBODY).gid(SOMEBODY).stdout(std::process::Stdio::piped());
    Some(curl.stderr(std::process::Stdio::null()).spawn().unwrap())
}

#[tokio::test]
async fn viewers_do_not_keep_an_admin_out() {
    let limits = ServerLimits { connections: 8, ..Default::default() };
    let service = service(limits);
    let members = Members { users: [SOMEBODY.to_string()].into(), ..Members::default() };
    service.control().set(limits, Roles { viewers: members, ..Roles::default() });
    serve(service, async |socket| {
        let followers = (0..8).map_while(|_| as_somebody(socket, "/v1/audit/export"));
        let followers = followers.map(|mut follower| {
            let first = tokio::task::spawn_blocking(move || {
                let mut line = String::new();
                let output = follower.stdout.as_mut().unwrap();
                std::io::BufReader::new(output).read_line(&mut line).map(|_| (follower, line))
            });
            async { first.await.unwrap().unwrap() }
        });
        let followers = futures_util::future::join_all(followers).await;
        let turned_away = followers.iter().filter(|(_, line)| line.contains("unavailable")).count();
        // There are none where this process is not root.
        assert_eq!(turned_away, followers.len() / 4);
        let client = Client::new(socket);
        for _ in 0..20 {
            let answer = client.call::<GetHealth>(&Nothing {}, &Nothing {});
            assert!(tokio::time::timeout(LONG, answer).await.unwrap().unwrap().healthy);
        }
        for (mut follower, _) in followers {
            let _ = follower.kill();
            follower.wait().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn answers_that_nobody_reads_are_given_up() {
    let brief = Duration::from_millis(50);
    serving(ServerLimits { connections: 1, unread: brief, ..Default::default() }, async |socket| {
        let client = Client::new(socket);
        let mut callers = Vec::new();
        for _ in 0..3 {
            // More comes of it than a socket holds.
            callers.push(reader_of(socket, "/v1/events/follow").await);
        }
        let answered = async {
            while client.call::<GetHealth>(&Nothing {}, &Nothing {}).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, answered).await.unwrap();
        let mut shortest = usize::MAX;
        for mut caller in callers {
            let mut rest = Vec::new();
            // It may end by a reset as well as by an end.
            let read = tokio::time::timeout(LONG, caller.read_to_end(&mut rest)).await;
            drop(read.unwrap());
            shortest = shortest.min(rest.len());
        }
        assert!(shortest < 300_000, "it was given up in the middle");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let brief = Duration::from_millis(50);
    serving(ServerLimits { bodies: brief, ..Default::default() }, async |socket| {
        let mut caller = std::os::unix::net::UnixStream::connect(socket).unwrap();
        let request = "POST /v1/freeze HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{";
        caller.write_all(request.as_bytes()).unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            let _ = caller.read_to_string(&mut answer);
            answer
        });
        let answer = tokio::time::timeout(LONG, answer).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("the body takes more than 50ms"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn who_loses_a_role_is_cut_off_in_the_middle_of_an_answer() {
    let service = service(ServerLimits::default());
    let control = service.control();
    let members = Members { users: [SOMEBODY.to_string()].into(), ..Members::default() };
    let roles = Roles { viewers: members, ..Roles::default() };
    control.set(ServerLimits::default(), roles);
    serve(service, async |socket| {
        let Some(mut follower) = as_somebody(socket, "/v1/audit/export") else { return };
        let mut output = follower.stdout.take().unwrap();
        let first = tokio::task::spawn_blocking(move || {
            let mut byte = [0; 1];
            output.read_exact(&mut byte).map(|()| output)
        });
        let mut output = first.await.unwrap().unwrap();
        control.set(ServerLimits::default(), Roles::default());
        let rest = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            output.read_to_end(&mut rest)?;
            follower.wait()
        });
        let ended = tokio::time::timeout(LONG, rest).await.unwrap().unwrap().unwrap();
        assert!(!ended.success(), "its answer was cut off");
    })
    .await;
}
