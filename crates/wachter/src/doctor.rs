//! `wachter doctor`: what can be enforced here, and how to get more.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use wachter_protocol::launcher::{Enforcement, Hello};
use wachter_protocol::{Mechanism, Profile, Python};
use wachter_sandbox::{Launcher, LauncherOptions};

use crate::failure::{CommandError, CommandResult};
use crate::output::{self, Format};
use crate::place::HostOptions;
use crate::python;

#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {}

/// What the strongest profile of this host enforces, by trying it.
pub(crate) async fn probe(host: &HostOptions) -> Result<Hello, CommandError> {
    try_profile(host, None).await
}

async fn try_profile(host: &HostOptions, profile: Option<Profile>) -> Result<Hello, CommandError> {
    // Nothing is run: the launcher says what it found when it is asked for nothing.
    let folder = Folder::new()?;
    let mut arguments = vec![
        "--development".into(),
        folder.0.clone().into_os_string(),
        "--state".into(),
        folder.0.join("state").into_os_string(),
    ];
    if let Some(profile) = profile {
        arguments.extend(["--profile".into(), profile.to_string().into()]);
    }
    let options = LauncherOptions::Spawn { program: host.launcher()?, arguments };
    Ok(Launcher::open(&options).await?.hello().clone())
}

/// A folder for the launcher's state that is gone afterwards.
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, CommandError> {
        let name = format!("wachter-{}-{}", std::process::id(), wachter_model::RunId::new());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Tried = (Profile, Result<Hello, CommandError>);

async fn try_all(host: &HostOptions) -> Vec<Tried> {
    let mut profiles = Vec::new();
    for profile in Profile::ALL {
        profiles.push((profile, try_profile(host, Some(profile)).await));
    }
    profiles
}

/// Everything that `doctor` found.
///
/// # Errors
/// The launcher cannot be started.
pub(crate) async fn report(host: &HostOptions) -> Result<Value, CommandError> {
    let best = probe(host).await?;
    let profiles: serde_json::Map<String, Value> = try_all(host)
        .await
        .into_iter()
        .map(|(profile, tried)| {
            let value = match tried {
                Ok(hello) => json!({ "available": true, "mechanisms": hello.mechanisms }),
                Err(error) => json!({ "available": false, "reason": error.to_string() }),
            };
            (profile.to_string(), value)
        })
        .collect();
    let programs = Programs::find(host);
    let python = json!({ "interpreter": programs.interpreter, "uv": programs.uv });
    Ok(json!({ "profile": best.profile, "profiles": profiles, "python": python }))
}

pub(crate) async fn carry_out(
    _: DoctorArguments,
    host: HostOptions,
    format: Format,
) -> CommandResult {
    match format {
        Format::Json => output::json(&report(&host).await?),
        Format::Human => {
            print(&probe(&host).await?, &try_all(&host).await)?;
            Programs::find(&host).print()
        }
    }
}

/// What modules in Python need of the host.
struct Programs {
    interpreter: Option<PathBuf>,
    uv: Option<PathBuf>,
    /// Whether the local file says where `uv` is.
    named: bool,
}

impl Programs {
    fn find(host: &HostOptions) -> Self {
        let local = host.host().ok().map(|host| host.local);
        let named = local.as_ref().is_some_and(|local| local.python.uv.is_some());
        Self {
            named,
            interpreter: std::fs::canonicalize(Python::INTERPRETER).ok(),
            uv: python::uv(local.as_ref()).filter(|path| path.exists()),
        }
    }

    fn print(&self) -> CommandResult {
        output::data("")?;
        output::data(match &self.interpreter {
            Some(path) => format!("Modules in Python run by {}.", path.display()),
            None => format!(
                "There is no {}, so modules in Python cannot run.\n  To get it: `apt-get install python3`, or the same of your distribution.",
                Python::INTERPRETER
            ),
        })?;
        let usual = |path: &PathBuf| Python::UV.iter().any(|usual| path == Path::new(usual));
        output::data(match &self.uv {
            Some(path) if self.named || usual(path) => {
                format!("Their environments are built by {}.", path.display())
            }
            Some(path) => format!(
                "Their environments are built by {0}. A launcher that is a service does not look there; name it for one by `python: {{ uv: {0} }}` in the local file.",
                path.display()
            ),
            None => "There is no `uv`, so environments of modules with packages cannot be built.\n  To get it: `pip install uv`, or see https://docs.astral.sh/uv; put it into /usr/local/bin, or name it under `python.uv` in the local file.".to_owned(),
        })
    }
}

fn print(best: &Hello, profiles: &[Tried]) -> CommandResult {
    let rows: Vec<Vec<String>> = Mechanism::ALL
        .into_iter()
        .map(|mechanism| {
            let cells = profiles.iter().map(|(_, tried)| match tried {
                Ok(hello) if hello.mechanisms.get(&mechanism) == Some(&Enforcement::Enforced) => {
                    "yes"
                }
                Ok(_) => "no",
                Err(_) => "-",
            });
            std::iter::once(mechanism.to_string()).chain(cells.map(str::to_owned)).collect()
        })
        .collect();
    let names: Vec<String> = Profile::ALL.iter().map(ToString::to_string).collect();
    let head: Vec<&str> =
        std::iter::once("MECHANISM").chain(names.iter().map(String::as_str)).collect();
    output::table(&head, &rows)?;
    output::data("")?;
    output::data(format_args!("This host uses the profile `{}`.", best.profile))?;
    for (profile, tried) in profiles {
        if let Err(error) = tried {
            output::data(format_args!("Not available: {profile}: {error}"))?;
        }
    }
    let absent = best.mechanisms.iter().filter_map(|(mechanism, enforcement)| match enforcement {
        Enforcement::Absent(reason) => Some((mechanism, reason)),
        Enforcement::Enforced => None,
    });
    for (mechanism, reason) in absent {
        output::data(format_args!(
            "\n{mechanism} is absent: {reason}.\n  Without it, {}.\n  To get it: {}.",
            mechanism.without(),
            mechanism.remedy()
        ))?;
    }
    Ok(())
}
