//! The command line, parsed by hand: it is short, and a library for it would be a fifth of the
//! executable.

use std::ffi::OsString;
use std::path::PathBuf;

use wachter_protocol::Profile;

use crate::authority::Mode;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Verifies Wachter modules and their grants, jails them and starts them.

Usage:
  wachter-launcher --local-file FILE --data DIR --state DIR (--listen SOCKET | --connected)
  wachter-launcher --development DIR --state DIR --connected

Options:
  --local-file FILE   what the owner of this host says; /etc/wachter/node.yaml
  --data DIR          the node's data: trust/ and modules/<digest>/
  --state DIR         the launcher's own state
  --listen SOCKET     a unix socket that nodes connect to
  --connected         the connection is standard input
  --node-user NAME    the user, beside root, whose connections are taken
  --builtin FILE      the executable of the built-in modules
  --environments DIR  where environments of Python modules are kept
  --uv FILE           the executable of uv, where the local file names none
  --development DIR   run the one module in DIR, unsigned, as the user who asks
  --profile NAME      with --development: root, delegated, unprivileged or no-namespaces
  --print-filter      print the system call filter of modules, as bpf(2) instructions, for audits
  --help, --version

Exit codes: 0 the last node disconnected, 1 it could not go on, 2 the command line is wrong.
";

/// What is asked.
pub(crate) enum Command {
    Help,
    Version,
    PrintFilter,
    Serve(Box<Arguments>),
}

/// How nodes connect.
pub(crate) enum Connection {
    Stdin,
    Listen(PathBuf),
}

/// Everything that is said on the command line.
pub(crate) struct Arguments {
    pub(crate) local_file: Option<PathBuf>,
    pub(crate) mode: Mode,
    pub(crate) state: PathBuf,
    pub(crate) connection: Connection,
    pub(crate) node_user: Option<String>,
    pub(crate) builtin: PathBuf,
    pub(crate) environments: Option<PathBuf>,
    pub(crate) uv: Option<PathBuf>,
    pub(crate) profile: Option<Profile>,
}

/// Reads the command line.
///
/// # Errors
/// One sentence.
pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut local_file, mut data, mut state, mut listen) = (None, None, None, None);
    let (mut connected, mut node_user, mut builtin) = (false, None, None);
    let (mut environments, mut uv) = (None, None);
    let (mut development, mut profile) = (None, None);
    while let Some(word) = words.next() {
        let name = word.to_string_lossy().into_owned();
        let mut path = || {
            let value = words
                .next()
                .map(PathBuf::from)
                .ok_or_else(|| format!("`{name}` needs a value; see --help"))?;
            // What is started has another working directory.
            std::path::absolute(&value)
                .map_err(|error| format!("`{name}` {}: {error}", value.display()))
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--version" | "-V" => return Ok(Command::Version),
            "--print-filter" => return Ok(Command::PrintFilter),
            "--local-file" => local_file = Some(path()?),
            "--data" => data = Some(path()?),
            "--state" => state = Some(path()?),
            "--listen" => listen = Some(path()?),
            "--builtin" => builtin = Some(path()?),
            "--environments" => environments = Some(path()?),
            "--uv" => uv = Some(path()?),
            "--development" => development = Some(path()?),
            "--connected" => connected = true,
            "--node-user" => {
                let value = words.next().and_then(|value| value.into_string().ok());
                node_user = Some(value.ok_or("`--node-user` needs a name")?);
            }
            "--profile" => {
                let value = words.next().unwrap_or_default();
                let known = Profile::ALL.into_iter().find(|profile| *profile.to_string() == *value);
                profile = Some(
                    known.ok_or("`--profile` is root, delegated, unprivileged or no-namespaces")?,
                );
            }
            other => return Err(format!("unknown option `{other}`; see --help")),
        }
    }
    let mode = match (data, development) {
        (Some(data), None) => Mode::Signed { data },
        (None, Some(folder)) => Mode::Development { folder },
        _ => return Err("give either `--data` or `--development`; see --help".to_owned()),
    };
    let connection = match (listen, connected) {
        (Some(path), false) => Connection::Listen(path),
        (None, true) => Connection::Stdin,
        _ => return Err("give either `--listen` or `--connected`; see --help".to_owned()),
    };
    let builtin = builtin.or_else(beside).ok_or("`--builtin` is missing; see --help")?;
    let state = state.ok_or("`--state` is missing; see --help")?;
    Ok(Command::Serve(Box::new(Arguments {
        local_file,
        mode,
        state,
        connection,
        node_user,
        builtin,
        environments,
        uv,
        profile,
    })))
}

/// The built-in modules are installed beside this executable.
fn beside() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("wachter-modules"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_page_has_every_option() {
        let page = include_str!("../../../deploy/man/wachter-launcher.8").replace('\\', "");
        let options: Vec<&str> = HELP
            .split_whitespace()
            .map(|word| word.trim_matches(['(', ')', ',', ':']))
            .filter(|word| word.starts_with("--"))
            .collect();
        assert!(options.len() > 10, "{options:?}");
        for option in options {
            assert!(page.contains(&format!("fB{option}fR")), "no {option} in the page");
        }
    }
}
