use std::fmt::Write as _;

use wachter_protocol::launcher::{Enforcement, Hello};
use wachter_protocol::{HostView, LocalFile, Manifest, Mechanism};
use wachter_trust::{RepositoryId, Ring};

use super::files;
use crate::doctor;
use crate::failure::{CommandError, CommandResult, chain};
use crate::output;
use crate::place::HostOptions;

/// What the owner of a host decides.
pub(super) struct Decisions {
    pub(super) id: RepositoryId,
    pub(super) url: String,
    /// OpenSSH public keys, and how many of them must have signed.
    pub(super) roots: Vec<String>,
    pub(super) threshold: u32,
    pub(super) labels: Vec<(String, String)>,
    /// None are all.
    pub(super) rings: Vec<Ring>,
}

/// Writes this host's local file, where there is none.
pub(super) fn write(host: &HostOptions, decisions: &Decisions) -> CommandResult {
    let path = host.local_file();
    let absent = match probe(host) {
        Ok(hello) => absent(&hello),
        Err(error) => {
            output::talk(format_args!(
                "note: what this host can enforce was not found out ({error}); run `wachter doctor`, and accept what is missing under `confinement.accept_absent` in {}",
                path.display()
            ));
            Vec::new()
        }
    };
    let text = render(decisions, &absent)?;
    LocalFile::read(&text).map_err(|error| CommandError::failed(chain(&error)))?;
    files::create(&path, text.as_bytes())?;
    output::talk(format_args!("wrote {}, the local file of this host", path.display()));
    for (mechanism, reason) in absent {
        output::talk(format_args!(
            "note: {mechanism} is not enforced here ({reason}): {}; the local file accepts that by name",
            mechanism.without()
        ));
    }
    Ok(())
}

fn probe(host: &HostOptions) -> Result<Hello, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(doctor::probe(host))
}

fn absent(hello: &Hello) -> Vec<(Mechanism, String)> {
    let missing =
        hello.mechanisms.iter().filter_map(|(mechanism, enforcement)| match enforcement {
            Enforcement::Enforced => None,
            Enforcement::Absent(reason) => Some((*mechanism, reason.clone())),
        });
    missing.collect()
}

fn render(decisions: &Decisions, absent: &[(Mechanism, String)]) -> Result<String, CommandError> {
    let Decisions { id, url, roots, threshold, labels, rings } = decisions;
    let mut text = String::new();
    let mut line =
        |line: String| writeln!(text, "{line}").expect("writing to a string does not fail");
    line("# What the owner of this host says. Nothing in the repository can loosen it.".to_owned());
    line("version: 1".to_owned());
    if !labels.is_empty() {
        line("labels:                      # by which configuration is chosen".to_owned());
    }
    // A JSON string is a YAML string too, whatever it holds.
    for (key, value) in labels {
        line(format!("  {}: {}", serde_json::to_string(key)?, serde_json::to_string(value)?));
    }
    line(format!("repository:\n  url: {}\n  id: {id}", serde_json::to_string(url)?));
    if !rings.is_empty() {
        let rings: Vec<_> = rings.iter().map(ToString::to_string).collect();
        line(format!("  rings: {}", serde_json::to_string(&rings)?));
    }
    line(
        "roots:                       # who signs trust/trust.yaml, and how many of them must"
            .to_owned(),
    );
    line(format!("  threshold: {threshold}\n  keys:"));
    for root in roots {
        line(format!("    - {}", serde_json::to_string(root)?));
    }
    line("confinement:".to_owned());
    line("  development: false         # true lets unsigned modules run as the user who asks, for `wachter module test`".to_owned());
    if !absent.is_empty() {
        line(
            "  # What this host cannot enforce. Without such a line a module is refused."
                .to_owned(),
        );
        line("  accept_absent:".to_owned());
    }
    for (mechanism, reason) in absent {
        line(format!("    # {}: {}", one_line(reason), mechanism.without()));
        line(format!("    # to get it: {}", mechanism.remedy()));
        line(format!("    - {mechanism}"));
    }
    line("grants:                      # what each module may touch here".to_owned());
    line(format!("  {}:", files::MODULE));
    line(format!("    host: [{}]", views()?.join(", ")));
    Ok(text)
}

/// The host views that the built-in module asks for: they show, and change nothing.
fn views() -> Result<Vec<String>, CommandError> {
    let manifest = Manifest::read(include_str!(
        "../../../wachter-modules/modules/system-monitor/module.yaml"
    ))?;
    Ok(manifest.permissions.host.iter().map(HostView::to_string).collect())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_local_file() {
        let every: Vec<_> =
            Mechanism::ALL.map(|mechanism| (mechanism, "a reason\nin lines".to_owned())).into();
        for (absent, url) in [(&[][..], "/srv/re\"po"), (&every[..], "https://example.com/a.git")] {
            let decisions = Decisions {
                id: "6f6b1a0e-2c8f-4b1d-9d4e-0c7d4f3a2b19".parse().unwrap(),
                url: url.to_owned(),
                roots: vec!["ssh-ed25519 AAAA alice".to_owned()],
                threshold: 1,
                labels: vec![("role".to_owned(), "web: \"1\"".to_owned())],
                rings: vec!["canary".parse().unwrap(), Ring::default()],
            };
            let text = render(&decisions, absent).unwrap();
            let read = LocalFile::read(&text).unwrap();
            assert_eq!((&read.repository.url, read.repository.id), (&decisions.url, decisions.id));
            assert_eq!(read.roots.keys, decisions.roots);
            assert_eq!(read.labels["role"], "web: \"1\"");
            assert_eq!(read.repository.rings, Some(["canary", "stable"].map(str::to_owned).into()));
            assert_eq!(read.confinement.accept_absent.len(), absent.len(), "{text}");
            assert!(!read.confinement.development);
            let grant = &read.grants[&files::MODULE.parse::<wachter_model::ModuleName>().unwrap()];
            assert_eq!(grant.host, HostView::ALL.into());
        }
    }
}
