//! `wachter exec`: one run, watched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wachter_config::InputSchema;
use wachter_file::read_limited;
use wachter_model::{Level, RunId};
use wachter_protocol::module::IdempotencyKey;
use wachter_protocol::{Egress, Excess, Grant, Python, RuntimeKind};
use wachter_runtime::{Cause, ModuleFolder, RunRecord, RunRequest, configured_module, order};
use wachter_sandbox::{HostRoot, Launcher, LauncherOptions, Update, carry_out as run, sample};

use crate::client;
use crate::doctor::Folder;
use crate::failure::{CommandError, CommandResult, ExitKind};
use crate::node;
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::python;

#[derive(Args, Debug)]
pub(crate) struct ExecArguments {
    /// A module of the present release by its name, or the folder of one that nobody signed (with a
    /// slash in it, as in `./my-module`)
    pub(crate) module: String,
    /// Input: NAME=VALUE, where VALUE is JSON or text, or @FILE with YAML or JSON
    #[arg(long, short, value_name = "NAME=VALUE|@FILE")]
    pub(crate) input: Vec<String>,
    /// Withhold everything that has effects, and ask the module to say what it would do
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show all that the module logs, not warnings and errors alone
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// A module that can be run, and who runs it.
pub(crate) struct Runnable {
    pub(crate) request: RunRequest,
    pub(crate) launcher: LauncherOptions,
    pub(crate) egress: Egress,
    /// What the owner of the host says of environments.
    python: Python,
    /// Where the module's files lie.
    place: PathBuf,
    /// Whether the node's journal is told of it.
    journalled: bool,
    /// Holds what exists for the time of the run only.
    _folder: Option<Folder>,
}

pub(crate) async fn carry_out(
    arguments: ExecArguments,
    host: HostOptions,
    format: Format,
) -> CommandResult {
    let input = read_input(&arguments.input)?;
    let mut runnable = if arguments.module.contains('/') {
        from_folder(Path::new(&arguments.module), &host)?
    } else {
        from_release(&arguments.module, &host)?
    };
    runnable.hand_in(input)?;
    runnable.request.dry_run = arguments.dry_run;
    let record = watch(&runnable, arguments.verbose).await?;
    match format {
        Format::Json => output::json(&record)?,
        Format::Human => print(&record)?,
    }
    if runnable.journalled {
        client::record(&host, &record).await?;
    }
    if record.succeeded() {
        return Ok(());
    }
    let reason = record.message.unwrap_or_else(|| record.outcome.clone());
    let kind = if record.outcome == "not-begun" { ExitKind::Refused } else { ExitKind::RunFailed };
    Err(CommandError::new(kind, reason))
}

/// The largest schema that is read: what is over the limit of schemas is told as that.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

impl Runnable {
    /// Hands an input to the module, where its schema allows that.
    pub(crate) fn hand_in(&mut self, input: Value) -> CommandResult {
        let read = |path: &str| {
            let bytes = read_limited(&self.place.join(path), MAX_SCHEMA_BYTES).ok()?;
            String::from_utf8(bytes).ok()
        };
        let manifest = &self.request.manifest;
        if let Some(text) = configured_module(read).input_schema {
            match InputSchema::compile(&text) {
                Ok(schema) => schema
                    .allow(&manifest.name, &input)
                    .map_err(|refused| CommandError::usage(refused.to_string()))?,
                Err(reason) => output::talk(format_args!(
                    "the input schema of {} cannot be used, so the input was not checked: {reason}",
                    manifest.name
                )),
            }
        }
        self.request.input = input;
        Ok(())
    }
}

/// A module in a folder, run as the user who asks.
pub(crate) fn from_folder(path: &Path, host: &HostOptions) -> Result<Runnable, CommandError> {
    let path = std::fs::canonicalize(path).map_err(|error| {
        CommandError::failed(format!("cannot open {}: {error}", path.display()))
    })?;
    let module = ModuleFolder::read(&path)?;
    let digest = module.digests.digest();
    let grant = Grant::for_development(digest, &module.manifest).map_err(|excess| {
        CommandError::refused(format!(
            "`{}` asks for too much: {}",
            module.manifest.name,
            Excess::list(&excess)
        ))
    })?;
    let folder = Folder::new()?;
    let mut arguments: Vec<OsString> = vec![
        "--development".into(),
        path.clone().into_os_string(),
        "--state".into(),
        folder.0.join("state").into_os_string(),
    ];
    // A host with an owner's word is run by it.
    let local_file = host.local_file();
    let local = match local_file.exists() {
        true => {
            let absolute = std::path::absolute(local_file)?;
            arguments.extend(["--local-file".into(), absolute.into_os_string()]);
            Some(host.host()?.local)
        }
        false => None,
    };
    if module.manifest.runtime.kind == RuntimeKind::Python {
        arguments.extend(python::launcher_arguments(local.as_ref(), python::of_development()));
    }
    let run = RunId::new();
    Ok(Runnable {
        request: RunRequest {
            run,
            idempotency_key: IdempotencyKey::of_run(run),
            cause: Cause::AdHoc,
            digest,
            manifest: module.manifest,
            grant,
            input: Value::Null,
            event: None,
            state: Value::Null,
            dry_run: false,
        },
        launcher: LauncherOptions::Spawn { program: host.launcher()?, arguments },
        egress: Egress::default(),
        python: local.map(|local| local.python).unwrap_or_default(),
        place: path,
        journalled: false,
        _folder: Some(folder),
    })
}

/// A module of the release that the node follows.
fn from_release(name: &str, options: &HostOptions) -> Result<Runnable, CommandError> {
    let host = options.host()?;
    let deployed = node::Deployed::read(&host.data)?;
    let (digest, manifest, grant) = deployed.module(name, &host)?;
    let run = RunId::new();
    Ok(Runnable {
        request: RunRequest {
            run,
            idempotency_key: IdempotencyKey::of_run(run),
            cause: Cause::AdHoc,
            digest,
            manifest,
            grant,
            input: Value::Null,
            event: None,
            state: Value::Null,
            dry_run: false,
        },
        // The node's own launcher is the node's; this run has one of its own.
        launcher: node::launcher_options(&host, options, "launcher-exec")?,
        egress: host.local.egress.clone(),
        python: host.local.python.clone(),
        place: node::folder_of(&host.data, digest),
        journalled: true,
        _folder: None,
    })
}

/// Carries a run out and shows how it goes on stderr.
async fn watch(runnable: &Runnable, verbose: bool) -> Result<RunRecord, CommandError> {
    Ok(watch_with_state(runnable, verbose).await?.0)
}

/// The same, with the state that the module wants to keep.
pub(crate) async fn watch_with_state(
    runnable: &Runnable,
    verbose: bool,
) -> Result<(RunRecord, Option<Value>), CommandError> {
    let launcher = Launcher::open(&runnable.launcher).await?;
    let cancel = CancellationToken::new();
    let on_interrupt = cancel.clone();
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_interrupt.cancel();
        }
    });
    let request = &runnable.request;
    if request.manifest.runtime.kind == RuntimeKind::Python {
        let (name, python) = (&request.manifest.name, &runnable.python);
        python::build(&launcher, name, request.digest, python, &cancel).await?;
    }
    // What building took is none of the run's time.
    let started = Timestamp::now();
    let host = sample(&request.grant.permissions().host, &HostRoot::default());
    let order = order(request, &runnable.egress, host, started);
    let bar = bar(request.manifest.name.as_str());
    let report = run(&launcher, order, &cancel, |update| show(&bar, update, verbose)).await?;
    interrupted.abort();
    bar.finish_and_clear();
    let state = report.result.as_ref().and_then(|result| result.state.clone());
    Ok((RunRecord::new(&runnable.request, started, &report), state))
}

/// Draws on stderr, and only where that is a terminal.
fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(1_000);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {percent:>3}% {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}

fn show(bar: &ProgressBar, update: Update, verbose: bool) {
    match update {
        Update::Progress(progress) => {
            if let Some(fraction) = progress.fraction {
                let position = (fraction.clamp(0.0, 1.0) * 1_000.0).round();
                // Within 0 to 1,000, as clamped.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                bar.set_position(position as u64);
            }
            if let Some(message) = progress.message {
                bar.set_message(message);
            }
        }
        Update::Log(line)
            if verbose || line.level >= Level::Warn || line.fields.contains_key("stream") =>
        {
            bar.suspend(|| output::talk(format_args!("{:8} {}", line.level, line.message)));
        }
        Update::Connection(connection) if verbose => {
            bar.suspend(|| output::talk(format_args!("{:8} {:?}", "network", connection)));
        }
        Update::Log(_) | Update::Connection(_) => {}
    }
}

pub(crate) fn print(record: &RunRecord) -> CommandResult {
    for finding in &record.findings {
        output::data(format_args!(
            "finding  {} {} {}: {}",
            finding.severity, finding.kind, finding.subject, finding.message
        ))?;
    }
    for event in &record.events {
        output::data(format_args!("event    {} {}", event.kind, event.data))?;
    }
    if !record.output.is_null() {
        output::data(serde_json::to_string_pretty(&record.output)?)?;
    }
    if !record.succeeded() {
        return Ok(());
    }
    let milliseconds = record.usage.wall_microseconds / 1_000;
    let changed = if record.changed { "changed" } else { "nothing changed" };
    let message =
        record.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    output::talk(format_args!(
        "{} succeeded in {milliseconds} ms, {changed}{message}",
        record.module
    ));
    Ok(())
}

/// Puts input together: later words win.
pub(crate) fn read_input(words: &[String]) -> Result<Value, CommandError> {
    let mut input = serde_json::Map::new();
    for word in words {
        if let Some(path) = word.strip_prefix('@') {
            let path = PathBuf::from(path);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                CommandError::failed(format!("cannot read {}: {error}", path.display()))
            })?;
            let value: serde_json::Map<String, Value> =
                wachter_document::read(&text).map_err(|error| {
                    CommandError::usage(error.render(&path.display().to_string(), &text))
                })?;
            input.extend(value);
        } else if let Some((name, value)) = word.split_once('=') {
            let value =
                serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            input.insert(name.to_owned(), value);
        } else {
            return Err(CommandError::usage(format!(
                "`{word}` is no input; write NAME=VALUE or @FILE"
            )));
        }
    }
    Ok(if input.is_empty() { Value::Null } else { Value::Object(input) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_json_or_text() {
        let words = ["a=1", "b=x=y", "c={\"d\": [2]}", "a=2"].map(str::to_owned);
        let expected = serde_json::json!({ "a": 2, "b": "x=y", "c": { "d": [2] } });
        assert_eq!(read_input(&words).unwrap(), expected);
        assert_eq!(read_input(&[]).unwrap(), Value::Null);
        assert!(read_input(&["a".to_owned()]).is_err());
    }
}
