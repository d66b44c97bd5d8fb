use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wachter_api::shapes::RunsQuery;
use wachter_api::{ListRuns, Nothing};
use wachter_config::{Catalogue, Sources};
use wachter_file::read_limited;
use wachter_gitops::{Repository, State};

use super::{Redactor, journal, node};
use crate::client::Node;
use crate::configuration::Tree;
use crate::failure::{CommandError, chain};
use crate::node::{Offline, layout, log};
use crate::place::{Host, HostOptions};
use crate::{doctor, status};

/// The most bytes of one file that are taken; of a log, its end.
const MOST_BYTES: u64 = 1 << 20;
/// How many log files, newest first.
const MOST_LOGS: usize = 4;
/// How many runs, newest first.
const MOST_RUNS: u32 = 500;
/// How many names of files.
const MOST_FILES: usize = 2_000;
/// How long another program may take.
const PATIENCE: Duration = Duration::from_secs(20);

const UNITS: [&str; 2] = ["wachter.service", "wachter-launcher.service"];

/// What `systemctl show` is asked for: no environment, no command lines.
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,\
    ExecMainStartTimestamp,StatusText,FragmentPath,DropInPaths,MemoryCurrent,TasksCurrent,CPUUsageNSec,\
    WatchdogUSec,NeedDaemonReload";

/// A file of the bundle.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) content: String,
    /// In a few words, for people.
    pub(super) holds: &'static str,
}

/// Everything that was found, without secrets.
pub(super) struct Bundle {
    pub(super) entries: Vec<Entry>,
    /// What could not be had, and why.
    pub(super) missing: Vec<String>,
    node: String,
    redactor: Redactor,
}

impl Bundle {
    /// Collects what there is. Nothing that is absent or broken is an error.
    pub(super) async fn collect(options: &HostOptions, now: Timestamp) -> Self {
        let host = options.host();
        let known = host.as_ref().map(own_secrets).unwrap_or_default();
        let nodename = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = host.as_ref().ok().and_then(Host::node).map(|node| node.to_string());
        let mut bundle = Self {
            entries: Vec::new(),
            missing: Vec::new(),
            node: name.unwrap_or(nodename),
            redactor: Redactor::new(known),
        };
        bundle.add_json("versions.json", "versions and kernel", Ok(versions(options).await));
        bundle.add_json("doctor.json", "what this host can enforce", doctor::report(options).await);
        bundle.add("units.txt", "states of the units", program("systemctl", &show()).await);
        bundle.add(
            "journald.txt",
            "what the units said last",
            program("journalctl", &last()).await,
        );
        match &host {
            Ok(host) => bundle.of_host(options, host, now).await,
            Err(error) => {
                // It shows where the file is wrong, and so a line of it.
                let error = bundle.redactor.redact(&error.message);
                bundle.missing.push(format!("all that lies in the data folder: {error}"));
                let text = text_of(&options.local_file());
                bundle.add("local-file.yaml", "the local file", text);
            }
        }
        let mut missing = bundle.missing.join("\n");
        missing.push('\n');
        bundle.add("missing.txt", "what could not be had, and why", Ok(missing));
        bundle.entries.sort_by(|one, other| one.name.cmp(&other.name));
        bundle
    }

    /// The folder in the archive, which names the node.
    pub(super) fn folder(&self) -> String {
        format!("wachter-support-{}", self.node)
    }

    /// What the archive is called where nobody says.
    pub(super) fn file_name(&self, now: Timestamp) -> String {
        format!("{}-{}.tar.gz", self.folder(), now.strftime("%Y%m%dT%H%M%SZ"))
    }

    async fn of_host(&mut self, options: &HostOptions, host: &Host, now: Timestamp) {
        let data = &host.data;
        self.add("local-file.yaml", "the local file", Ok(host.text.clone()));
        self.add_json("status.json", "what `wachter status` shows", status::value(options).await);
        self.add("state.json", "accepted releases and floors", text_of(&data.join("state.json")));
        self.add("trust.yaml", "who is trusted", text_of(&data.join("trust/trust.yaml")));
        self.add_json(
            "configuration.json",
            "values in force, and who set them",
            configuration(host, now),
        );
        self.add_json("runs.json", "runs, newest first", runs(options).await);
        self.add_json("journal.json", "sizes of the journal", sizes_of_journal(data));
        self.add("files.txt", "names and sizes in the data folder", files(data));
        self.add_json("host.json", "space, memory and load", machine(data));
        let log_folder = data.join(log::FOLDER);
        match logs(&log_folder) {
            Ok(logs) => {
                for (name, text) in logs {
                    self.add(&format!("logs/{name}"), "the end of a log", Ok(text));
                }
            }
            Err(error) => {
                let folder = log_folder.display();
                self.missing.push(format!("logs: cannot read {folder}: {error}"));
            }
        }
        match node::ask(&host.socket()).await {
            Ok(answers) => {
                for (name, answer) in answers {
                    self.add_json(&format!("node/{name}.json"), "what the node answers", answer);
                }
            }
            Err(reason) => self.missing.push(format!("node/: {reason}")),
        }
    }

    fn add_json(&mut self, name: &str, holds: &'static str, value: Result<Value, CommandError>) {
        let text = value.and_then(|value| Ok(serde_json::to_string_pretty(&value)?));
        self.add(name, holds, text);
    }

    /// The only way in.
    fn add(&mut self, name: &str, holds: &'static str, text: Result<String, CommandError>) {
        match text {
            Ok(text) => {
                let content = self.redactor.redact(&text);
                self.entries.push(Entry { name: name.to_owned(), content, holds });
            }
            Err(error) => {
                let error = self.redactor.redact(&error.message);
                self.missing.push(format!("{name}: {error}"));
            }
        }
    }
}

/// Values that this host knows to be secret: the token for Git, where it can be read without anyone's
/// help.
fn own_secrets(host: &Host) -> Vec<String> {
    let credential = &host.local.repository.credential;
    let file = credential.file.as_ref().and_then(|path| {
        let bytes = read_limited(path.as_path(), 4 * 1024).ok()?;
        Some(String::from_utf8_lossy(&bytes).lines().next()?.trim().to_owned())
    });
    let variable = credential.environment.as_ref().and_then(|name| std::env::var(name).ok());
    file.into_iter().chain(variable).collect()
}

async fn versions(options: &HostOptions) -> Value {
    let launcher = match options.launcher() {
        Ok(path) => program(&path.display().to_string(), &["--version"]).await,
        Err(error) => Err(error),
    };
    let said = |text: Result<String, CommandError>| match text {
        Ok(text) => text.trim().to_owned(),
        Err(error) => error.message,
    };
    let uname = rustix::system::uname();
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut variables: Vec<String> = names.filter(|name| name.starts_with("WACHTER_")).collect();
    variables.sort();
    json!({
        "wachter": env!("CARGO_PKG_VERSION"),
        "launcher": said(launcher),
        "layout": layout::CURRENT,
        "git": said(program("git", &["--version"]).await),
        "systemd": said(program("systemctl", &["--version"]).await),
        "kernel": format!("{} {}", uname.release().to_string_lossy(), uname.machine().to_string_lossy()),
        "system": said(text_of(Path::new("/etc/os-release"))),
        // Their values stay here.
        "variables": variables,
    })
}

fn show() -> Vec<&'static str> {
    let mut arguments = vec!["show", "--no-pager", "--property", PROPERTIES];
    arguments.extend(UNITS);
    arguments
}

fn last() -> Vec<&'static str> {
    let mut arguments = vec!["--no-pager", "--quiet", "--output", "short-iso", "--lines", "1000"];
    arguments.extend(UNITS.iter().flat_map(|unit| ["--unit", *unit]));
    arguments
}

/// What a program prints.
async fn program(name: &str, arguments: &[&str]) -> Result<String, CommandError> {
    let running = tokio::process::Command::new(name)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let failed = |reason: String| CommandError::failed(format!("{name}: {reason}"));
    let output = match tokio::time::timeout(PATIENCE, running).await {
        Err(_) => return Err(failed(format!("took longer than {} s", PATIENCE.as_secs()))),
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("{}, {}", output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text_of(path: &Path) -> Result<String, CommandError> {
    let bytes = read_limited(path, MOST_BYTES)
        .map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the release in force comes to here.
fn configuration(host: &Host, now: Timestamp) -> Result<Value, CommandError> {
    let state = State::read(&host.data)?;
    let release = state
        .in_force(now)
        .ok_or_else(|| CommandError::failed("no release is in force on this host"))?;
    let snapshot = Repository::open(&host.data)?.snapshot_of(release)?;
    let mut problems = Vec::new();
    let tree = Tree::of_snapshot(&snapshot, &mut problems)?;
    let path = host.local_file.display().to_string();
    let sources = Sources {
        local: Some((&path, &host.text)),
        grants: Some(host.local.grants.clone()),
        ..tree.sources(host.node(), host.local.labels.clone())
    };
    let catalogue =
        Catalogue::load(&sources).map_err(|problems| CommandError::failed(problems.to_string()))?;
    let values: Vec<Value> = catalogue
        .values()
        .into_iter()
        .map(|mut value| {
            if node::is_input(&value.path) {
                value.value = "left out".into();
            }
            serde_json::to_value(value)
        })
        .collect::<Result<_, _>>()?;
    Ok(json!({ "release": release.sequence, "values": values, "problems": problems }))
}

fn sizes_of_journal(data: &Path) -> Result<Value, CommandError> {
    let folder = data.join(crate::node::journal::FOLDER);
    journal::statistics(&folder)
        .map_err(|error| CommandError::failed(format!("cannot read {}: {error}", folder.display())))
}

/// What happened, without what went in and came out.
async fn runs(options: &HostOptions) -> Result<Value, CommandError> {
    let query = RunsQuery { limit: Some(MOST_RUNS), ..RunsQuery::default() };
    let node = Node::new(options);
    let asking = node.call::<ListRuns>(&query, &Nothing {});
    let runs = Offline::around(options.host()?, false, asking).await?;
    let lines = runs?.into_iter().map(|run| {
        json!({
            "run": run.run,
            "agent": run.agent,
            "cause": run.cause,
            "module": run.module,
            "started": run.started,
            "milliseconds": run.milliseconds,
            "outcome": run.outcome,
            "message": run.message,
            "changed": run.changed,
            "findings": run.findings.len(),
            "usage": run.record["usage"],
        })
    });
    Ok(lines.collect())
}

/// Modes, sizes, times and names, but not what lies inside a module or the Git repository.
fn files(data: &Path) -> Result<String, CommandError> {
    use std::fmt::Write;
    use std::os::unix::fs::MetadataExt;
    let mut text = String::new();
    let mut folders = vec![(data.to_owned(), 0)];
    let mut count = 0;
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Ok(metadata) = path.symlink_metadata() else { continue };
            count += 1;
            if count > MOST_FILES {
                text.push_str("and more\n");
                return Ok(text);
            }
            let changed = Timestamp::from_second(metadata.mtime()).unwrap_or_default();
            let (mode, owner, size) = (metadata.mode(), metadata.uid(), metadata.len());
            let name = path.strip_prefix(data).unwrap_or(&path).display();
            writeln!(text, "{mode:06o} {owner:>6} {size:>12} {changed} {name}")
                .expect("a string takes everything");
            if metadata.is_dir() && depth < 2 && path.extension().is_none() {
                folders.push((path, depth + 1));
            }
        }
    }
    Ok(text)
}

fn machine(data: &Path) -> Result<Value, CommandError> {
    let space = rustix::fs::statvfs(data)?;
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let memory = read("/proc/meminfo");
    let memory: Vec<&str> = memory.lines().take(3).collect();
    let layout = layout::version(data);
    Ok(json!({
        "data_layout": layout.as_ref().ok(),
        "data_layout_error": layout.as_ref().err().map(|error| chain(error)),
        "data_total_bytes": space.f_blocks.saturating_mul(space.f_frsize),
        "data_available_bytes": space.f_bavail.saturating_mul(space.f_frsize),
        "data_available_inodes": space.f_favail,
        "memory": memory,
        "load": read("/proc/loadavg"),
        "uptime": read("/proc/uptime"),
        "time": Timestamp::now(),
    }))
}

/// The ends of the newest logs.
fn logs(folder: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") && entry.file_type()?.is_file() {
            files.push((entry.metadata()?.modified()?, name));
        }
    }
    files.sort();
    let newest = files.into_iter().rev().take(MOST_LOGS);
    newest.map(|(_, name)| Ok((name.clone(), end_of(&folder.join(name))?))).collect()
}

/// At most [`MOST_BYTES`], from the beginning of a line on: half a line could be half a secret that
/// nothing tells any more.
fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match (skipped, text.split_once('\n')) {
        (0, _) => text.into_owned(),
        (_, Some((_, whole))) => whole.to_owned(),
        (_, None) => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_cut_between_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let line = format!("{}\n", "x".repeat(99));
        fs::write(&path, line.repeat(11_000)).unwrap();
        let end = end_of(&path).unwrap();
        assert!(end.len() as u64 <= MOST_BYTES && end.len() as u64 > MOST_BYTES - 200);
        assert!(end.lines().all(|line| line.len() == 99), "{} bytes", end.len());
        fs::write(&path, "one\ntwo").unwrap();
        assert_eq!(end_of(&path).unwrap(), "one\ntwo");
        let names: Vec<String> =
            logs(folder.path()).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["node.log"]);
    }
}
