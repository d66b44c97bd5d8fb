use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use serde_json::Value;
use wachter_protocol::module::{MAX_STATE, ModuleResult, Outcome};

use crate::output::{Output, failed};
use crate::request::{read_input, read_request};
use crate::{Context, Module, ModuleError, Report};

/// Runs a module as the module protocol has it: one request from stdin, messages to stdout, a
/// result at the end. Call it last in `main`.
///
/// The result is what counts. The exit code repeats it for people and scripts:
///
/// | code | meaning |
/// |---|---|
/// | 0 | succeeded |
/// | 1 | failed: tried and not done, a bad request or input, or a panic |
/// | 2 | refused: not tried, or a protocol version that this SDK does not speak |
/// | 3 | nobody was there to read the result |
///
/// From here on the process's stdout is its stderr, so that what a library prints there is kept as
/// log and cannot be taken for a message. Where panics abort the process, the result is written
/// before.
pub fn run<M: Module>(module: &M) -> ExitCode {
    let Ok(stdout) = take_stdout() else { return exit_code(None) };
    let output = Output::new(Box::new(stdout));
    watch_panics(output.clone(), cfg!(panic = "abort"));
    exit_code(serve(module, io::stdin().lock(), &output))
}

fn exit_code(outcome: Option<Outcome>) -> ExitCode {
    ExitCode::from(match outcome {
        Some(Outcome::Succeeded) => 0,
        Some(Outcome::Failed) => 1,
        Some(Outcome::Refused) => 2,
        None => 3,
    })
}

/// The real stdout, for messages alone.
fn take_stdout() -> io::Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    // Without stderr a stray print stays what it is: the node refuses the line.
    let _ = rustix::stdio::dup2_stdout(io::stderr());
    Ok(File::from(stdout))
}

fn watch_panics(output: Output, aborts: bool) {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        default(info);
        let description = format!("the module {info}").replace('\n', " ");
        if aborts {
            end_instead_of_aborting(&output, description);
        } else {
            output.panicked(description);
        }
    }));
}

/// A signal would hide from the node what the result says.
#[expect(
    clippy::disallowed_methods,
    reason = "the process is about to abort, which runs no destructors either"
)]
fn end_instead_of_aborting(output: &Output, description: String) {
    output.end_now(description);
    std::process::exit(1);
}

/// One run from its request to its result.
pub(crate) fn serve<M: Module>(module: &M, source: impl Read, output: &Output) -> Option<Outcome> {
    // Nothing of the module is used after a panic but the output, which holds whole lines.
    let ended = panic::catch_unwind(AssertUnwindSafe(|| execute(module, source, output)));
    let result = match ended {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => ModuleResult { outcome: error.outcome, ..failed(error.message) },
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let seen = output.take_panic();
            failed(seen.unwrap_or_else(|| {
                format!("the module panicked: {}", text.unwrap_or("no reason was given"))
            }))
        }
    };
    output.end(result)
}

fn execute<M: Module>(
    module: &M,
    source: impl Read,
    output: &Output,
) -> Result<ModuleResult, ModuleError> {
    let (mut request, deadline) = read_request(source)?;
    let input = read_input(request.input.take())?;
    let state = match request.state.take() {
        Value::Null => M::State::default(),
        state => module.read_state(state)?,
    };
    let dry_run = request.dry_run;
    let mut context = Context::new(state, request, deadline, output.clone());
    let Report { changed, message, output } = module.execute(input, &mut context)?;
    let state = if dry_run { None } else { written(&context.state)? };
    Ok(ModuleResult { outcome: Outcome::Succeeded, changed, message, output, state })
}

/// The state as the result carries it; none for `()`.
fn written(state: &impl serde::Serialize) -> Result<Option<Value>, ModuleError> {
    let value = serde_json::to_value(state)
        .map_err(|error| ModuleError::failed(format!("the state cannot be written: {error}")))?;
    let length = value.to_string().len();
    if length > MAX_STATE {
        return Err(ModuleError::failed(format!(
            "the state has {length} bytes; {MAX_STATE} is the most: keep less from run to run"
        )));
    }
    Ok((!value.is_null()).then_some(value))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use wachter_model::Level;
    use wachter_protocol::module::{LogLine, MAX_LINE, MAX_REQUEST, Message};

    use super::*;
    use crate::{Finished, Harness};

    /// Does what its input says.
    struct Puppet;

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Input {
        act: String,
        nested: Nested,
    }

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Nested {
        shares: Vec<f64>,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct State {
        count: u64,
        #[serde(default)]
        ballast: String,
    }

    impl Module for Puppet {
        type Input = Input;
        type State = State;

        fn execute(
            &self,
            input: Input,
            context: &mut Context<State>,
        ) -> Result<Report, ModuleError> {
            context.state.count += 1;
            match input.act.as_str() {
                "fail" => return Err(ModuleError::failed("the disk said no")),
                "refuse" => return Err(ModuleError::refused("needs the network")),
                "panic" => panic!("shares are {:?}", input.nested.shares),
                "swell" => context.state.ballast = "x".repeat(MAX_STATE),
                "shout" => context.emit(
                    "a.b".parse().expect("a topic"),
                    None,
                    json!("x".repeat(MAX_LINE + 1)),
                ),
                "metric" => context.metric("temperature_celsius", f64::NAN, []),
                "log" => context.error("é".repeat(100_000)),
                "key" => {
                    let key = context.idempotency_key().to_string();
                    return Ok(Report::unchanged().output(json!(key)));
                }
                "deadline" => {
                    return Ok(Report::unchanged()
                        .output(json!([context.remaining() > Duration::ZERO, context.stopped()])));
                }
                _ => {}
            }
            Ok(Report::changed().output(json!({ "count": context.state.count })))
        }
    }

    fn act(act: &str) -> Harness {
        Harness::new().input(json!({ "act": act }))
    }

    fn check(finished: &Finished, outcome: Outcome, expected: &str) {
        let message = finished.result.message.as_deref().unwrap_or_default();
        assert_eq!(finished.result.outcome, outcome, "{message}");
        assert!(message.contains(expected), "`{message}` does not say `{expected}`");
        if outcome != Outcome::Succeeded {
            assert!(!finished.result.changed && finished.result.state.is_none(), "{expected}");
        }
    }

    #[test]
    fn state_goes_from_run_to_run() {
        let first = act("").run(&Puppet);
        let second = act("").after(&first).run(&Puppet);
        assert_eq!(second.result.output, json!({ "count": 2 }));
        let failed = act("fail").after(&second).run(&Puppet);
        let third = act("").after(&failed).run(&Puppet);
        assert_eq!(third.result.output, json!({ "count": 3 }), "a failed run leaves the state");
    }

    #[test]
    fn another_try_has_the_same_key() {
        let (first, other) = (act("key"), act("key"));
        let key = |harness: &Harness| harness.run(&Puppet).result.output;
        assert_eq!(key(&first), key(&first.clone()));
        assert_eq!(key(&other.clone().again(&first)), key(&first));
        assert_ne!(key(&other), key(&first));
    }

    #[test]
    fn a_dry_run_leaves_no_state() {
        let finished = act("").dry_run().run(&Puppet);
        check(&finished, Outcome::Succeeded, "");
        assert_eq!(finished.result.state, None);
    }

    #[test]
    fn every_end_is_a_result() {
        check(&act("").run(&Puppet), Outcome::Succeeded, "");
        check(&act("fail").run(&Puppet), Outcome::Failed, "the disk said no");
        check(&act("refuse").run(&Puppet), Outcome::Refused, "needs the network");
        check(&act("panic").run(&Puppet), Outcome::Failed, "panicked: shares are []");
        check(&act("swell").run(&Puppet), Outcome::Failed, "the state has 10");
        check(&act("shout").run(&Puppet), Outcome::Failed, "an event has 20");
        check(
            &act("").state(json!({ "count": "many" })).run(&Puppet),
            Outcome::Failed,
            "the state of the last run cannot be read: count: invalid type: string",
        );
    }

    #[test]
    fn input_errors_name_the_place() {
        for (input, expected) in [
            (
                json!({ "nested": { "shares": [1, "x"] } }),
                "the input `nested.shares[1]` is not right: invalid type: string \"x\", expected f64",
            ),
            (json!({ "nested": { "share": [] } }), "unknown field `share`, expected `shares`"),
            (json!("x"), "the input is not right: invalid type: string"),
        ] {
            let finished = Harness::new().input(input).run(&Puppet);
            check(&finished, Outcome::Failed, expected);
        }
        check(&Harness::new().run(&Puppet), Outcome::Succeeded, "");
    }

    #[test]
    fn a_text_that_is_no_request_is_refused_or_failed() {
        let harness = Harness::new();
        let good = json!({
            "protocol": 1, "run": "0190163d-8694-739b-aea5-966c26f8ad91",
            "module": { "name": "a", "version": "1" }, "deadline": "2999-01-01T00:00:00Z",
        });
        let with = |key: &str, value: Value| {
            let mut request = good.clone();
            request[key] = value;
            request.to_string()
        };
        check(&harness.run_request(&Puppet, &good.to_string()), Outcome::Succeeded, "");
        check(&harness.run_request(&Puppet, &with("later", json!({}))), Outcome::Succeeded, "");
        for (request, outcome, expected) in [
            (String::new(), Outcome::Failed, "there is no request on stdin"),
            ("{".into(), Outcome::Failed, "the request is not one: "),
            ("{}".into(), Outcome::Failed, "missing field `protocol`"),
            (
                r#"{"protocol": 7, "new": true}"#.into(),
                Outcome::Refused,
                "the node speaks module protocol 7, this module speaks 1",
            ),
            (with("protocol", json!(0)), Outcome::Refused, "speaks module protocol 0"),
            (with("run", json!("x")), Outcome::Failed, "the request is not one: run: "),
            (with("deadline", json!("soon")), Outcome::Failed, "the deadline `soon` is not a time"),
            (format!("{good}{good}"), Outcome::Failed, "trailing characters"),
            (
                " ".repeat(MAX_REQUEST + 1),
                Outcome::Failed,
                "the request has more than 16777216 bytes",
            ),
        ] {
            check(&harness.run_request(&Puppet, &request), outcome, expected);
        }
    }

    #[test]
    fn messages_keep_to_the_limits() {
        let finished = act("log").run(&Puppet);
        check(&finished, Outcome::Succeeded, "");
        let [Message::Log(LogLine { level: Level::Error, message, .. })] = &finished.messages[..]
        else {
            panic!("{:?}", finished.messages)
        };
        assert!(message.len() < 66_000 && message.ends_with('…'));
        let finished = act("metric").run(&Puppet);
        check(&finished, Outcome::Succeeded, "");
        assert_eq!((finished.metrics().count(), finished.messages.len()), (0, 1));
    }

    #[test]
    fn the_deadline_is_told() {
        let past = act("deadline").deadline("2001-01-01T00:00:00Z").run(&Puppet);
        assert_eq!(past.result.output, json!([false, true]));
        let ahead = act("deadline").run(&Puppet);
        assert_eq!(ahead.result.output, json!([true, false]));
    }

    /// A node that has gone away.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_to_read_is_no_success() {
        let request = act("log").request_text();
        let output = Output::new(Box::new(Closed));
        assert_eq!(serve(&Puppet, request.as_bytes(), &output), None);
        assert!(output.broken());
    }

    #[test]
    fn nothing_follows_the_result() {
        let output = Output::new(Box::new(io::sink()));
        assert_eq!(output.end(ModuleResult::default()), Some(Outcome::Succeeded));
        assert_eq!(output.end(ModuleResult::default()), None);
    }

    proptest! {
        #[test]
        fn any_text_ends_in_one_result(request: String) {
            let _ = Harness::new().run_request(&Puppet, &request);
        }

        #[test]
        fn any_input_and_state_end_in_one_result(key in "act|nested|count|x", text: String) {
            let value = json!({ key: text });
            let _ = Harness::new().input(value.clone()).state(value).run(&Puppet);
        }
    }
}
