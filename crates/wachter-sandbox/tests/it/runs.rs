//! What a run does and does not, from begin to end.

use wachter_sandbox::{Failure, Verdict};

use crate::bench::{Bench, profiles};

#[tokio::test]
async fn a_module_runs_and_reports() {
    let bench = Bench::shell(
        "emits: [sample.done]",
        r#"
        read -r request
        echo "to the log" >&2
        echo '{"event": {"type": "sample.done", "data": {"n": 1}}}'
        echo '{"result": {"changed": true, "output": {"pid": "'$$'"}}}'
        "#,
    );
    for profile in profiles() {
        let (report, log) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Succeeded, "{profile}: {log:?}");
        assert_eq!(report.events.len(), 1);
        assert!(report.result.unwrap().changed);
        assert_eq!(log, ["to the log"]);
        assert!(report.usage.wall_microseconds > 0);
    }
}

#[tokio::test]
async fn an_exit_code_is_a_failure() {
    let bench = Bench::shell("", "exit 3");
    for profile in profiles() {
        let (report, _) = bench.run(profile).await;
        assert_eq!(report.verdict, Verdict::Failed(Failure::Exit(3)), "{profile}");
    }
}
