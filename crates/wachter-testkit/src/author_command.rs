use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// A command with a home of its own and nothing of the user who runs the tests: what an author does in
/// the managed repository `infra` below `folder`, and its node, whose local file is `node.yaml` and
/// whose data are in `data`.
///
/// It starts in the repository once there is one, reads nothing, and signs with `key` once there is one.
#[must_use]
pub fn author_command(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let (repository, key) = (folder.join("infra"), folder.join("key"));
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("GIT_AUTHOR_NAME", "Ann")
        .env("GIT_AUTHOR_EMAIL", "ann@example.com")
        .env("GIT_COMMITTER_NAME", "Ann")
        .env("GIT_COMMITTER_EMAIL", "ann@example.com")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("WACHTER_LOCAL_FILE", folder.join("node.yaml"))
        .env("WACHTER_DATA", folder.join("data"))
        .current_dir(if repository.exists() { &repository } else { folder })
        .stdin(Stdio::null());
    if key.exists() {
        command.env("WACHTER_KEY", key);
    }
    command
}
