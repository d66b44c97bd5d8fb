use gix_object::Kind;
use jiff::Timestamp;
use wachter_model::Digest;
use wachter_trust::{PreviousTrust, Roots, TrustFile};

use super::refusal::Refusal;
use super::state::TrustMark;
use crate::ObjectId;
use crate::check::{Commit, HostileTree, ObjectReader};

const FILE: &str = "trust/trust.yaml";
const SIGNATURES: &str = "trust/trust.yaml.sig";

/// The most bytes of either file.
const MAX_BYTES: u64 = 1 << 20;

/// The newest trust file that was seen, and where.
#[derive(Clone, Debug)]
pub(crate) struct KnownTrust {
    pub(crate) file: TrustFile,
    pub(crate) mark: TrustMark,
}

impl KnownTrust {
    /// Reads the file that was accepted before. It was verified then, and its digest is remembered.
    pub(crate) fn load(reader: &ObjectReader, mark: TrustMark) -> Result<Self, Refusal> {
        let commit = Commit::read(reader, mark.commit, &mut Vec::new())?;
        let bytes = read(reader, commit.tree, FILE)?;
        let file = TrustFile::parse(&bytes).map_err(wachter_trust::TrustError::File)?;
        if file.digest() != mark.digest {
            return Err(Refusal::NoTrustFile { path: FILE });
        }
        Ok(Self { file, mark })
    }

    /// The trust file to judge `commit` by: its own if that is newer and the roots signed it, else
    /// the one that is known. What rolls a repository back does not roll trust back.
    pub(crate) fn newest(
        known: Option<&Self>,
        reader: &ObjectReader,
        id: ObjectId,
        tree: ObjectId,
        roots: &Roots,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let bytes = read(reader, tree, FILE)?;
        if let Some(known) = known {
            // Unsigned as it is, its serial can only make it be left aside.
            let stated = TrustFile::parse(&bytes).map_err(wachter_trust::TrustError::File)?;
            if stated.serial() < known.file.serial() {
                return Ok(known.clone());
            }
        }
        let signatures = read(reader, tree, SIGNATURES)?;
        let previous = known.map_or(PreviousTrust::None, |known| PreviousTrust::File(&known.file));
        let file = TrustFile::accept(roots, previous, &bytes, &signatures, now)?;
        let mark = TrustMark { serial: file.serial(), digest: file.digest(), commit: id };
        Ok(Self { file, mark })
    }
}

/// The trust file of a mark and its signatures, as they stand in the repository.
pub(crate) fn files(reader: &ObjectReader, mark: TrustMark) -> Result<TrustFiles, Refusal> {
    let commit = Commit::read(reader, mark.commit, &mut Vec::new())?;
    let file = read(reader, commit.tree, FILE)?;
    if Digest::of(&file) != mark.digest {
        return Err(Refusal::NoTrustFile { path: FILE });
    }
    Ok(TrustFiles { signatures: read(reader, commit.tree, SIGNATURES)?, file })
}

/// A trust file and the roots' signatures, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustFiles {
    /// `trust/trust.yaml`.
    pub file: Vec<u8>,
    /// `trust/trust.yaml.sig`.
    pub signatures: Vec<u8>,
}

/// One file of a tree, without walking the rest.
fn read(reader: &ObjectReader, root: ObjectId, path: &'static str) -> Result<Vec<u8>, Refusal> {
    let object = |source| HostileTree::Object { path: path.to_owned(), source };
    let id = crate::check::find(reader, root, path)?.ok_or(Refusal::NoTrustFile { path })?;
    let mut content = Vec::new();
    reader.read(id, Kind::Blob, MAX_BYTES, &mut content).map_err(object)?;
    Ok(content)
}
