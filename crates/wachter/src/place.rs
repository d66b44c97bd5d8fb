//! Where things are on this host.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use wachter_file::read_limited;
use wachter_model::NodeName;
use wachter_protocol::LocalFile;

use crate::failure::{CommandError, chain};
use crate::follow::MAX_LOCAL_FILE_BYTES;

/// The options that every command about this host takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostOptions {
    /// What the owner of this host says [default: /etc/wachter/node.yaml for root,
    /// $XDG_CONFIG_HOME/wachter/node.yaml for others]
    #[arg(
        long,
        value_name = "FILE",
        env = "WACHTER_LOCAL_FILE",
        hide_env_values = true,
        global = true
    )]
    pub(crate) local_file: Option<PathBuf>,
    /// Where the node keeps its state [default: `data` of the local file, or /var/lib/wachter for
    /// root, $XDG_STATE_HOME/wachter for others]
    #[arg(long, value_name = "DIR", env = "WACHTER_DATA", hide_env_values = true, global = true)]
    pub(crate) data: Option<PathBuf>,
    /// The launcher to start [default: beside this executable]
    #[arg(
        long,
        value_name = "FILE",
        env = "WACHTER_LAUNCHER",
        hide_env_values = true,
        global = true
    )]
    pub(crate) launcher: Option<PathBuf>,
    /// The socket of a launcher that runs already, as root under systemd
    #[arg(
        long,
        value_name = "SOCKET",
        env = "WACHTER_LAUNCHER_SOCKET",
        hide_env_values = true,
        global = true
    )]
    pub(crate) launcher_socket: Option<PathBuf>,
}

/// The local file, read, and the folders that follow from it.
pub(crate) struct Host {
    pub(crate) local: LocalFile,
    /// The text of the local file, of which configuration reads `settings`.
    pub(crate) text: String,
    pub(crate) local_file: PathBuf,
    pub(crate) data: PathBuf,
    /// Whether the local file says where the data are, and not an option or a variable.
    pub(crate) data_is_local: bool,
    /// Settings of the command line: dotted paths and values.
    pub(crate) flags: Vec<(String, String)>,
}

impl Host {
    /// The socket of this host's node.
    pub(crate) fn socket(&self) -> PathBuf {
        socket_of(&self.data)
    }

    /// The name that configuration knows this host by: that of the local file, or the host's own
    /// without its domain. None where that is no name, and the local file gives none.
    pub(crate) fn node(&self) -> Option<NodeName> {
        self.local.node.clone().or_else(|| {
            let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
            name.split('.').next().unwrap_or_default().parse().ok()
        })
    }
}

impl HostOptions {
    /// Reads the local file.
    pub(crate) fn host(&self) -> Result<Host, CommandError> {
        let path = self.local_file();
        let text = read_limited(&path, MAX_LOCAL_FILE_BYTES).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
        });
        let text = text.map_err(|error| {
            CommandError::failed(format!("cannot read {}: {error}; make it with `wachter init`, or name it with --local-file", path.display()))
        })?;
        let local = LocalFile::read(&text).map_err(|error| match error {
            wachter_protocol::LocalFileError::Document(error) => {
                CommandError::failed(error.render(&path.display().to_string(), &text))
            }
            other => CommandError::failed(format!("{}: {}", path.display(), chain(&other))),
        })?;
        let data = match (&self.data, &local.data) {
            (Some(data), _) => std::path::absolute(data)?,
            (None, Some(data)) => data.as_path().to_owned(),
            (None, None) => default_data(),
        };
        let local_file = std::path::absolute(path)?;
        Ok(Host {
            local,
            text,
            local_file,
            data,
            data_is_local: self.data.is_none(),
            flags: Vec::new(),
        })
    }

    /// The path of the local file, whether it exists or not.
    pub(crate) fn local_file(&self) -> PathBuf {
        self.local_file.clone().unwrap_or_else(default_local_file)
    }

    /// A client of the node, whether one runs or not. Who may not read the local file, and names no
    /// data folder, asks the host's own node.
    pub(crate) fn client(&self) -> wachter_api::Client {
        let data = match &self.data {
            Some(data) => data.clone(),
            None => self.host().map_or_else(|_| SYSTEM_DATA.into(), |host| host.data),
        };
        wachter_api::Client::new(&socket_of(&data))
    }

    /// The launcher's executable.
    pub(crate) fn launcher(&self) -> Result<PathBuf, CommandError> {
        match &self.launcher {
            Some(path) => Ok(path.clone()),
            None => beside("wachter-launcher"),
        }
    }
}

/// An executable that is installed beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf, CommandError> {
    let own = std::env::current_exe()?;
    Ok(own.parent().unwrap_or(Path::new("/")).join(name))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a user of this host is called, as the node would name them: a number where there is no name.
pub(crate) fn user_name(user: u32) -> String {
    let caller = wachter_api::Roles::default().caller(user, user);
    caller.map_or_else(|_| user.to_string(), |caller| caller.name)
}

fn home(variable: &str, below: &str) -> PathBuf {
    let variable = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = variable.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(below)
    });
    base.join("wachter")
}

/// Where what can be made again is kept for whoever calls.
pub(crate) fn cache() -> PathBuf {
    home("XDG_CACHE_HOME", ".cache")
}

fn default_local_file() -> PathBuf {
    if is_root() {
        "/etc/wachter/node.yaml".into()
    } else {
        home("XDG_CONFIG_HOME", ".config").join("node.yaml")
    }
}

/// Where the host's own node keeps its state.
const SYSTEM_DATA: &str = "/var/lib/wachter";

/// The data folder is the node's alone, so the socket of the host's own node stands where others can
/// reach it too; what they may do there is decided by who they are.
fn socket_of(data: &Path) -> PathBuf {
    if data == Path::new(SYSTEM_DATA) {
        "/run/wachter/node.sock".into()
    } else {
        data.join("node.sock")
    }
}

fn default_data() -> PathBuf {
    if is_root() { SYSTEM_DATA.into() } else { home("XDG_STATE_HOME", ".local/state") }
}
