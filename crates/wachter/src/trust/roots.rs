use std::path::PathBuf;

use clap::Args;
use wachter_trust::{Namespace, PublicKey, RepositoryId, Roots, Signature};

use crate::failure::{CommandError, chain};
use crate::keys;
use crate::place::HostOptions;

/// Which keys are the roots.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RootOptions {
    /// A root's public key; may be given several times [default: `roots` of this host's local file,
    /// where it follows this repository]
    #[arg(long = "root", value_name = "KEY.pub")]
    keys: Vec<PathBuf>,
    /// How many roots must sign [default: all that are given]
    #[arg(long, value_name = "N", requires = "keys")]
    root_threshold: Option<usize>,
}

/// The roots, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct KnownRoots {
    pub(crate) roots: Roots,
    /// For people.
    pub(crate) origin: String,
    /// Nobody says so but the file's own signatures.
    pub(crate) assumed: bool,
}

/// Finds the roots of `repository`: named, or pinned by this host's local file.
///
/// # Errors
/// A key that cannot be read, a threshold that cannot be met, or a local file that is wrong.
pub(crate) fn find(
    options: &RootOptions,
    host: &HostOptions,
    repository: RepositoryId,
) -> Result<Option<KnownRoots>, CommandError> {
    if !options.keys.is_empty() {
        let keys = options
            .keys
            .iter()
            .map(|path| keys::public_key(path))
            .collect::<Result<Vec<_>, _>>()?;
        let roots = Roots::new(options.root_threshold.unwrap_or(keys.len()), keys)?
            .for_repository(repository);
        return Ok(Some(KnownRoots { roots, origin: "--root".to_owned(), assumed: false }));
    }
    if !host.local_file().exists() {
        return Ok(None);
    }
    let host = host.host()?;
    if host.local.repository.id != repository {
        return Ok(None);
    }
    let origin = host.local_file.display().to_string();
    let pinned = &host.local.roots;
    let roots = Roots::of_local_file(pinned.threshold, &pinned.keys, repository)
        .map_err(|error| CommandError::failed(format!("{origin}: `roots`: {}", chain(&error))))?;
    Ok(Some(KnownRoots { roots, origin, assumed: false }))
}

/// Takes those who signed a trust file for the roots, where nothing better is known: good enough to
/// see whether the file makes sense, not to see whether the nodes will take it.
///
/// # Errors
/// Nobody signed it.
pub(crate) fn assume(
    trust: &[u8],
    signatures: &[u8],
    repository: RepositoryId,
) -> Result<KnownRoots, CommandError> {
    let keys = signers(trust, signatures);
    if keys.is_empty() {
        return Err(CommandError::refused(
            "nobody signed trust/trust.yaml as it is; a root does with `wachter trust sign`",
        ));
    }
    let roots = Roots::new(1, keys)?.for_repository(repository);
    Ok(KnownRoots { roots, origin: "the file's own signatures".to_owned(), assumed: true })
}

/// The distinct keys whose signatures over a trust file hold.
pub(crate) fn signers(trust: &[u8], signatures: &[u8]) -> Vec<PublicKey> {
    let signatures = Signature::parse_all(signatures).unwrap_or_default();
    let valid =
        signatures.iter().filter(|signature| signature.verify(Namespace::TRUST, trust).is_ok());
    let mut keys: Vec<PublicKey> = valid.map(|signature| signature.key().clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}
