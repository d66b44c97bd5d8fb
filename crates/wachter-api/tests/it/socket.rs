use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use futures_util::stream;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use wachter_api::shapes::{Health, LogLine, StoredEvent};
use wachter_api::{
    Client, ClientError, FollowEvents, GetHealth, GetRun, GetStatus, Nothing, Problem, ProblemKind,
    ReadLogs, Roles, Server, ServerLimits, Service,
};

/// Every endpoint that a test does not give a handler for says that it has none.
macro_rules! rest {
    ($server:expr; $($answering:ident)+; $($streaming:ident)+) => {
        $server
            $(.answer::<wachter_api::$answering, _, _>(|_| async { Err(Problem::not_found("none")) }))+
            $(.stream::<wachter_api::$streaming, _, _, stream::Empty<_>>(|_| async {
                Err(Problem::not_found("none"))
            }))+
    };
}

fn service(limits: ServerLimits) -> Service {
    let server = Server::new(limits, |_| {})
        .answer::<GetHealth, _, _>(|call| async move {
            assert_eq!(call.caller.user, rustix_user());
            Ok(Health { healthy: true, journal: true, launcher: false, release: true })
        })
        .answer::<GetRun, _, _>(|call| async move {
            let run: wachter_model::RunId = call.parameter()?;
            Err(Problem::not_found(format!("run {run} is unknown")))
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
        ListRuns RecordRun ListEvents SendEvent AskQuestion TraceEvent ListSubscriptions ReplayEvents
        ListDeadLetters GetDeadLetter RetryDeadLetter DropDeadLetter GetConfiguration
        ReloadConfiguration Synchronize RollBack PinRelease UnpinRelease ApplyReleaseBundle
        FreezeEffects ThawEffects VerifyJournal ListChanges GetOpenApi;
        ExportJournal)
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
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("node.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(service(limits).serve(listener, async { drop(stopped.await) }));
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
