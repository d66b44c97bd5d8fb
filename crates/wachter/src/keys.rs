//! Which key signs: a file, or one that `ssh-agent` holds.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use wachter_trust::{Agent, AgentIdentity, FileKey, FileKeyError, PublicKey, Signer};
use zeroize::Zeroizing;

use crate::failure::{CommandError, chain};
use crate::git::Git;

/// More than any key file has.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// An agent may wait for a person who types or touches.
const AGENT_ANSWER: Duration = Duration::from_secs(120);
const AGENT_QUESTION: Duration = Duration::from_secs(10);

/// Which key signs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KeyOptions {
    /// The key to sign with: a private key, or a `.pub` whose private half ssh-agent holds
    /// [default: `user.signingkey` of git where gpg.format is ssh, else the only key of ssh-agent]
    #[arg(long, value_name = "FILE", env = "WACHTER_KEY", hide_env_values = true)]
    pub(crate) key: Option<PathBuf>,
}

/// Finds the key to sign with.
///
/// # Errors
/// None is named or the agent holds several, the file cannot be used, or the agent not be reached.
pub(crate) fn signer(
    options: &KeyOptions,
    git: Option<&Git>,
) -> Result<Box<dyn Signer>, CommandError> {
    if let Some(path) = &options.key {
        return from_file(path);
    }
    if let Some(named) = git.and_then(configured) {
        return from_file(Path::new(&named));
    }
    let Some(stream) = connect()? else {
        return Err(CommandError::usage(
            "no key to sign with; name one with --key FILE, or load it into ssh-agent with `ssh-add`",
        ));
    };
    let mut agent = Agent::new(stream);
    let mut keys = agent.identities()?;
    match (keys.pop(), keys.len()) {
        (Some(only), 0) => Ok(Box::new(agent.into_signer(only.key))),
        (None, _) => Err(CommandError::usage(
            "ssh-agent holds no key that can sign; load one with `ssh-add`, or name a file with --key",
        )),
        (Some(last), _) => {
            keys.push(last);
            let keys: Vec<String> = keys.iter().map(describe).collect();
            Err(CommandError::usage(format!(
                "ssh-agent holds several keys: {}; name the `.pub` file of one with --key",
                keys.join(", ")
            )))
        }
    }
}

/// The public half of the key in `path`: of a `.pub` file, or of a private key.
///
/// # Errors
/// A file that cannot be read or holds no key.
pub(crate) fn public_key(path: &Path) -> Result<PublicKey, CommandError> {
    let (text, _) = read(path)?;
    if let Some(key) = parse_public(&text) {
        return key.map_err(|error| at(path, &error));
    }
    match FileKey::from_openssh(&text) {
        Ok(key) => Ok(key.public_key().clone()),
        Err(error) => match beside(path) {
            Some(key) => Ok(key),
            None => Err(at(path, &error)),
        },
    }
}

/// Makes an Ed25519 key in `path`, mode 0600, and `path` with `.pub`. Nothing is overwritten.
///
/// # Errors
/// A file that exists, or a folder that cannot be written.
pub(crate) fn generate(path: &Path, comment: &str) -> Result<PublicKey, CommandError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| {
        CommandError::failed(format!("the system has no random numbers: {error}"))
    })?;
    let key = FileKey::from_seed(&seed, comment)?;
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| at_io(folder, &error))?;
    }
    create(path, key.to_openssh()?.as_bytes(), 0o600)?;
    create(&with_pub(path), format!("{} {comment}\n", key.public_key()).as_bytes(), 0o644)?;
    Ok(key.public_key().clone())
}

/// What Git signs with, where it signs with SSH keys.
pub(crate) fn configured(git: &Git) -> Option<String> {
    git.config("gpg.format").filter(|format| format == "ssh")?;
    git.config("user.signingkey")
}

fn from_file(path: &Path) -> Result<Box<dyn Signer>, CommandError> {
    if let Some(key) = path.to_str().and_then(literal) {
        return from_agent(key?);
    }
    let (text, mode) = read(path)?;
    if let Some(key) = parse_public(&text) {
        return from_agent(key.map_err(|error| at(path, &error))?);
    }
    if mode & 0o077 != 0 {
        return Err(CommandError::refused(format!(
            "the private key {} can be read by others (mode {:04o}); take that away with `chmod 600 {0}`, \
             and replace the key if someone may have read it",
            path.display(),
            mode & 0o7777
        )));
    }
    match FileKey::from_openssh(&text) {
        Ok(key) => Ok(Box::new(key)),
        // Already unlocked in the agent, most likely.
        Err(error @ (FileKeyError::Encrypted | FileKeyError::NotEd25519(_))) => {
            match beside(path) {
                Some(key) if agent_holds(&key) => from_agent(key),
                _ => Err(at(path, &error)),
            }
        }
        Err(error) => Err(at(path, &error)),
    }
}

fn from_agent(key: PublicKey) -> Result<Box<dyn Signer>, CommandError> {
    let fingerprint = key.fingerprint();
    let Some(stream) = connect()? else {
        return Err(CommandError::failed(format!(
            "the key {fingerprint} is a public key and no ssh-agent runs (SSH_AUTH_SOCK is not set); \
             start one and load the private key with `ssh-add`"
        )));
    };
    let mut agent = Agent::new(stream);
    if !agent.identities()?.iter().any(|identity| identity.key == key) {
        return Err(CommandError::failed(format!(
            "ssh-agent does not hold the key {fingerprint}; load it with `ssh-add`"
        )));
    }
    Ok(Box::new(agent.into_signer(key)))
}

fn agent_holds(key: &PublicKey) -> bool {
    let keys = connect().ok().flatten().and_then(|stream| Agent::new(stream).identities().ok());
    keys.is_some_and(|keys| keys.iter().any(|identity| identity.key == *key))
}

fn connect() -> Result<Option<UnixStream>, CommandError> {
    let Some(path) = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let stream = UnixStream::connect(&path).map_err(|error| {
        let path = Path::new(&path).display();
        CommandError::failed(format!(
            "ssh-agent cannot be reached at {path}: {error}; start it, or name a file with --key"
        ))
    })?;
    stream.set_read_timeout(Some(AGENT_ANSWER))?;
    stream.set_write_timeout(Some(AGENT_QUESTION))?;
    Ok(Some(stream))
}

/// A key that stands in the configuration itself, as `key::ssh-ed25519 AAAA…` or without `key::`.
fn literal(text: &str) -> Option<Result<PublicKey, wachter_trust::KeyError>> {
    let key = text.strip_prefix("key::");
    let bare =
        ["ssh-", "ecdsa-", "sk-"].iter().any(|begin| text.starts_with(begin)) && text.contains(' ');
    (key.is_some() || bare).then(|| key.unwrap_or(text).parse())
}

/// The first line of a public key file; nothing when it is something else.
fn parse_public(text: &[u8]) -> Option<Result<PublicKey, wachter_trust::KeyError>> {
    let line = std::str::from_utf8(text).ok()?.lines().next()?.trim();
    literal(line)
}

fn beside(path: &Path) -> Option<PublicKey> {
    parse_public(&fs::read(with_pub(path)).ok()?)?.ok()
}

/// `id` becomes `id.pub`, and `id.work` becomes `id.work.pub`.
fn with_pub(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The content of a file, and its mode.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), CommandError> {
    let read = || {
        let file = fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        // Room at once: growing would leave copies behind that nobody wipes.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES));
        file.take(MAX_KEY_BYTES as u64).read_to_end(&mut text)?;
        Ok((text, mode))
    };
    read().map_err(|error| at_io(path, &error))
}

/// Writes a file that is not there yet, and syncs it.
///
/// # Errors
/// A file that exists, or a folder that cannot be written.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), CommandError> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .map_err(|error| at_io(path, &error))
}

fn describe(identity: &AgentIdentity) -> String {
    format!("{} ({})", identity.key.fingerprint(), identity.comment.escape_debug())
}

fn at(path: &Path, error: &dyn std::error::Error) -> CommandError {
    CommandError::failed(format!("{}: {}", path.display(), chain(error)))
}

fn at_io(path: &Path, error: &io::Error) -> CommandError {
    CommandError::failed(format!("{}: {error}", path.display()))
}
