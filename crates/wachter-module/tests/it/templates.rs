//! The modules that `wachter module new` starts with, run as they are.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use wachter_module::Harness;
use wachter_module::protocol::Manifest;
use wachter_module::protocol::module::{LogLine, Message};

use crate::process::{Ended, abandon, ask, example};

const LANGUAGES: [&str; 3] = ["shell", "python", "rust"];
const SCRIPTS: [&str; 2] = ["shell", "python"];

/// A template, rendered under the name `try-me`.
struct Rendered {
    folder: tempfile::TempDir,
    entrypoint: PathBuf,
    manifest: Manifest,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let text = text.replace("{{name}}", "try-me").replace("{{sdk}}", "\"0.1\"");
            assert!(!text.contains("{{"), "{}: a placeholder is left", entry.path().display());
            std::fs::write(&target, text).unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            std::fs::set_permissions(&target, PermissionsExt::from_mode(mode)).unwrap();
        }
    }
}

impl Rendered {
    fn of(language: &str) -> Self {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wachter/templates/module");
        let folder = tempfile::tempdir().unwrap();
        copy(&templates.join(language), folder.path());
        let manifest = std::fs::read_to_string(folder.path().join("module.yaml")).unwrap();
        let manifest = Manifest::read(&manifest).unwrap();
        let entrypoint = match language {
            // Built beside this test from the same source.
            "rust" => example("greeter"),
            _ => folder.path().join(manifest.runtime.entrypoint.as_str()),
        };
        Self { folder, entrypoint, manifest }
    }

    /// Changes the entrypoint's text.
    fn edit(&self, change: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(&self.entrypoint).unwrap();
        std::fs::write(&self.entrypoint, change(text)).unwrap();
    }

    /// Starts it as the jail does: this environment and this working directory.
    fn run(&self, request: &str) -> Ended {
        ask(self.command().current_dir(self.folder.path()), request)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.entrypoint);
        command.env_clear().envs([
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/tmp"),
            ("TMPDIR", "/tmp"),
            ("LANG", "C.UTF-8"),
        ]);
        command
    }
}

fn greeting(text: &str) -> Harness {
    Harness::new().input(json!({ "greeting": text }))
}

#[test]
fn manifests_and_schemas_fit_the_files() {
    for language in LANGUAGES {
        let rendered = Rendered::of(language);
        let manifest = &rendered.manifest;
        assert_eq!(manifest.name.as_str(), "try-me", "{language}");
        let schema = manifest.input.as_ref().unwrap().file.as_str();
        let schema = std::fs::read_to_string(rendered.folder.path().join(schema)).unwrap();
        let schema: Value = schema.parse().unwrap();
        assert_eq!(schema["properties"]["greeting"]["default"], "Hello", "{language}");
        assert!(rendered.folder.path().join("README.md").exists(), "{language}");
    }
}

#[test]
fn state_is_kept_and_a_second_run_changes_nothing() {
    for language in LANGUAGES {
        let rendered = Rendered::of(language);
        let first = rendered.run(&Harness::new().request_text());
        assert_eq!(first.code, Some(0), "{language}: {}", first.stderr);
        let result = first.result();
        assert_eq!(
            (&result["changed"], &result["message"], &result["output"]["count"]),
            (&json!(true), &json!("Hello"), &json!(1)),
            "{language}: {result}"
        );
        assert!(matches!(&first.messages[0], Message::Log(_)), "{language}");
        let second = rendered.run(&Harness::new().state(result["state"].clone()).request_text());
        let result = second.result();
        assert_eq!(
            (&result["changed"], &result["message"], &result["output"]["count"]),
            (&json!(false), &json!("Hello again"), &json!(2)),
            "{language}: {result}"
        );
    }
}

#[test]
fn a_dry_run_says_what_would_be() {
    for language in LANGUAGES {
        let result = Rendered::of(language).run(&greeting("Hi").dry_run().request_text()).result();
        assert_eq!(
            (&result["changed"], &result["message"], &result["state"]),
            (&json!(true), &json!("would greet with Hi"), &Value::Null),
            "{language}: {result}"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let input = |value: Value| Harness::new().input(value).request_text();
    let state = |value: Value| Harness::new().state(value).request_text();
    let all = &LANGUAGES[..];
    for (languages, request, outcome, code, expected) in [
        (all, input(json!({ "greeting": 5 })), "failed", 1, "the input `greeting` is not right"),
        (all, state(json!({ "count": "x" })), "failed", 1, ""),
        (
            all,
            r#"{"protocol": 2, "later": []}"#.into(),
            "refused",
            2,
            "the node speaks module protocol 2",
        ),
        (all, String::new(), "failed", 1, "there is no request on stdin"),
        (all, "{".into(), "failed", 1, "the request is not"),
        (all, "{\"protocol\": 1, \"input\": tru}".into(), "failed", 1, "the request is not"),
        (&["python", "rust"], input(json!({ "greting": "x" })), "failed", 1, "greting"),
    ] {
        for language in languages {
            let ended = Rendered::of(language).run(&request);
            let result = ended.result();
            assert_eq!(result["outcome"], outcome, "{language}: {request}: {result}");
            assert_eq!(ended.code, Some(code), "{language}: {request}: {}", ended.stderr);
            let message = result["message"].as_str().unwrap();
            assert!(message.contains(expected), "{language}: {request}: {message}");
        }
    }
}

#[test]
fn any_text_goes_in_and_out() {
    for language in SCRIPTS {
        let rendered = Rendered::of(language);
        let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
        // A variable of a shell holds no NUL.
        let text = "([^\\x00]|[ -~]|[\\\\\"'/\n\t$`%]){0,40}";
        TestRunner::new(config)
            .run(&text, |text| {
                let result = rendered.run(&greeting(&text).request_text()).result();
                prop_assert_eq!(&result["message"], &text);
                prop_assert_eq!(&result["state"]["greeting"], &text);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{language}: {error}"));
    }
}

#[test]
fn any_request_ends_in_one_result() {
    for language in SCRIPTS {
        let rendered = Rendered::of(language);
        let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
        let pieces =
            r#"(\{|\}|\[|\]|,|:|"|\\|"protocol":1|"input"|1|tru|true|null| |\n|é|"a"){0,24}"#;
        let request = (pieces, any::<bool>()).prop_map(|(text, whole)| {
            if whole { text } else { format!("{{\"protocol\":1,{text}}}") }
        });
        TestRunner::new(config)
            .run(&request, |request| {
                let result = rendered.run(&request).result();
                prop_assert!(result["outcome"].is_string());
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{language}: {error}"));
    }
}

/// Takes the `# ` from the lines of the example below its heading.
fn with_example(text: &str) -> String {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        inside = inside && !line.trim().is_empty();
        lines.push(if inside { line.replacen("# ", "", 1) } else { line.to_owned() });
        inside = inside || line.contains("Report a problem like this");
    }
    lines.join("\n")
}

#[test]
fn the_example_of_a_finding_works() {
    for language in SCRIPTS {
        let rendered = Rendered::of(language);
        rendered.edit(|text| with_example(&text));
        let ended = rendered.run(&Harness::new().request_text());
        let finding = ended.messages.iter().find_map(|message| match message {
            Message::Finding(finding) => Some(finding),
            _ => None,
        });
        let finding = finding.unwrap_or_else(|| panic!("{language}: {:?}", ended.messages));
        assert_eq!(finding.subject, "greeting", "{language}");
        assert!(rendered.manifest.emits.contains(&finding.kind), "{language}: {}", finding.kind);
    }
}

#[test]
fn a_script_that_stops_has_failed() {
    let after_first_line = |insert: &'static str| {
        move |text: String| {
            let (first, rest) = text.split_once("log info").unwrap();
            format!("{first}{insert}\nlog info{rest}")
        }
    };
    for insert in ["exit 0", "echo stray; echo \"$unset\"", "exec 1>&-; fail"] {
        let rendered = Rendered::of("shell");
        rendered.edit(after_first_line(insert));
        let ended = rendered.run(&Harness::new().request_text());
        assert_eq!(ended.result()["outcome"], "failed", "{insert}: {}", ended.stderr);
        assert_ne!(ended.code, Some(0), "{insert}");
    }
    for insert in [
        "raise SystemExit(0)",
        "print('stray'); 1 / 0",
        "context.log('info', 'x', value=object())",
        "context.metric('x', float('nan'))",
        "return None",
    ] {
        let rendered = Rendered::of("python");
        rendered.edit(|text| {
            text.replace("    context.log(", &format!("    {insert}\n    context.log("))
        });
        let ended = rendered.run(&Harness::new().request_text());
        assert_eq!(ended.result()["outcome"], "failed", "{insert}: {}", ended.stderr);
        assert_eq!(ended.code, Some(1), "{insert}");
    }
}

#[test]
fn a_node_that_goes_away_ends_a_script() {
    let request = Harness::new().request_text();
    let python = Rendered::of("python");
    python.edit(|text| {
        let loud = "    for _ in range(100_000):\n        context.log(";
        text.replacen("    context.log(", loud, 1)
    });
    let ended = abandon(python.command().current_dir(python.folder.path()), &request);
    assert_eq!(ended, (Some(3), String::new()));
    let shell = Rendered::of("shell");
    shell.edit(|text| text.replacen("log info", "while :; do log info loud; done\nlog info", 1));
    let (code, _) = abandon(shell.command().current_dir(shell.folder.path()), &request);
    assert_ne!(code, Some(0));
}

/// The shells that this machine has: the system's own, and others that may be `sh` elsewhere.
fn shells() -> Vec<Vec<OsString>> {
    let words = |line: &str| line.split(' ').map(OsString::from).collect();
    ["sh", "bash --posix", "busybox sh", "mksh"]
        .iter()
        .map(|line| words(line))
        .filter(|words: &Vec<OsString>| {
            words[0] == "sh" || Path::new("/bin").join(&words[0]).exists()
        })
        .collect()
}

/// What a script that has sourced `wachter.sh` logs, in each shell.
fn shell_logs(script: &str, request: &str, expected: &[&str]) {
    for words in shells() {
        let rendered = Rendered::of("shell");
        rendered.edit(|_| format!(". ./wachter.sh\n{script}\nsucceed false done\n"));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(&rendered.entrypoint).current_dir(rendered.folder.path());
        let ended = ask(command.env("LANG", "C.UTF-8"), request);
        let logs: Vec<_> = ended
            .messages
            .iter()
            .filter_map(|message| match message {
                Message::Log(LogLine { message, .. }) => Some(message.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(logs, expected, "{words:?}: {}", ended.stderr);
    }
}

#[test]
fn the_shell_finds_values_by_their_pointer() {
    let state = json!({
        "a/b": [1, { "c~d": "x" }, []],
        "empty": {}, "list": [], "number": -1.5e3, "nothing": null, "yes": true,
        "tricky": "\\\"}]{[,:", "commas": ",,\",\\,", "/": { "": "deep" }, "last": "end",
    });
    let request = Harness::new().state(state).request_text();
    let script = r#"
for pointer in a~1b/0 a~1b/1/c~0d a~1b/2 a~1b/3 empty list number nothing yes tricky commas ~1/ last none a~1b; do
    if json_get "/state/$pointer"; then log info "$json_kind:$json"; else log info none; fi
done"#;
    shell_logs(
        script,
        &request,
        &[
            "number:1",
            "string:x",
            "array:",
            "none",
            "object:",
            "array:",
            "number:-1500.0",
            "null:null",
            "true:true",
            "string:\\\"}]{[,:",
            "string:,,\",\\,",
            "string:deep",
            "string:end",
            "none",
            "array:",
        ],
    );
}

#[test]
fn the_shell_reads_every_escape() {
    let request = Harness::new().request_text().replacen(
        "\"input\":null",
        r#""input":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00|\ud83d|\ude00|\u0000|""#,
        1,
    );
    let expected = "\"\\/\u{8}\u{c}\n\r\tAé€😀|\u{fffd}|\u{fffd}|\u{fffd}|";
    shell_logs("json_get /input; log info \"$json\"", &request, &[expected]);
}

#[test]
fn the_shell_writes_any_bytes() {
    let script = r#"
log info "$(printf 'a\377b\303(\302')"
log info "$(printf '\303\251\342\202\254\360\237\230\200')"
log info "$(printf '\355\240\200\300\200\365\200\200\200')"
log info "$(printf '\001\033[31m\177')""#;
    // Each byte that begins nothing is replaced; so is a sequence that is too long a form.
    shell_logs(
        script,
        &Harness::new().request_text(),
        &[
            "a\u{fffd}b\u{fffd}(\u{fffd}",
            "é€😀",
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            "\u{1}\u{1b}[31m\u{7f}",
        ],
    );
}
