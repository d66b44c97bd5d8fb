use std::collections::BTreeSet;

use jiff::Timestamp;
use wachter_model::Digest;

use crate::{
    Fingerprint, KeyError, Namespace, PublicKey, RepositoryId, RevokedKeys, Signature,
    SignatureError, TrustFile, TrustFileError,
};

/// The root keys that a node's local file pins, and how many of them must sign a trust file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    threshold: usize,
    keys: BTreeSet<PublicKey>,
    repository: Option<RepositoryId>,
}

/// Why keys and a threshold cannot be roots.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// A threshold that none or nobody can reach.
    #[error(
        "a threshold of {threshold} cannot be reached with {keys} root keys; it must be from 1 to their number"
    )]
    Threshold {
        /// How many must sign.
        threshold: usize,
        /// How many there are.
        keys: usize,
    },
    /// One key twice.
    #[error("the root key {0} stands twice; every signature must count once")]
    Repeated(Fingerprint),
    /// A text that is no key.
    #[error("the root key `{}` cannot be used", text.escape_debug())]
    Key {
        /// The beginning of the text.
        text: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// A key of an algorithm that the launcher does not verify.
    #[error(
        "the root key {fingerprint} is an {algorithm} key, which the launcher does not verify; use an Ed25519 \
         or ECDSA P-256 key: `ssh-keygen -t ed25519`"
    )]
    Algorithm {
        /// The key.
        fingerprint: Fingerprint,
        /// Its algorithm.
        algorithm: &'static str,
    },
}

/// What a node knows of the trust file so far.
#[derive(Clone, Copy, Debug)]
pub enum PreviousTrust<'a> {
    /// Nothing: the first start.
    None,
    /// What was kept when the file itself was lost: nothing older than this, nor another of the same
    /// serial. Revocations that only the lost file had cannot be held against the new one.
    Floor {
        /// The serial of the last accepted file.
        serial: u64,
        /// Its digest.
        digest: Digest,
    },
    /// The last accepted file.
    File(&'a TrustFile),
}

/// Why a trust file is not accepted. The last accepted one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// `trust.yaml.sig` cannot be read.
    #[error("the trust file's signatures cannot be read; sign it again with `wachter trust sign`")]
    Signatures(#[source] SignatureError),
    /// Not enough root keys signed these bytes.
    #[error(
        "{have} of {need} required root keys signed the trust file; sign it with `wachter trust sign`"
    )]
    TooFewRoots {
        /// How many distinct root keys signed, the revoked ones left out.
        have: usize,
        /// The threshold.
        need: usize,
    },
    /// Signed, and yet wrong in itself.
    #[error("the trust file cannot be used")]
    File(#[source] TrustFileError),
    /// Of another repository.
    #[error(
        "the trust file is for repository {found}, this node follows {expected}; check the node's repository address"
    )]
    WrongRepository {
        /// What the node follows.
        expected: RepositoryId,
        /// What the file says.
        found: RepositoryId,
    },
    /// Older than one that was accepted.
    #[error(
        "the trust file has serial {found}, and {floor} was accepted already; raise `serial` and sign again"
    )]
    SerialBelowFloor {
        /// What the file says.
        found: u64,
        /// The last accepted one.
        floor: u64,
    },
    /// Two files of one serial.
    #[error(
        "another trust file with serial {serial} was accepted already; raise `serial` and sign again"
    )]
    SameSerial {
        /// The serial of both.
        serial: u64,
    },
    /// Too old to be accepted for the first time.
    #[error(
        "the trust file expired at {not_after}; set a later `not_after`, raise `serial` and sign again"
    )]
    Expired {
        /// What the file says.
        not_after: Timestamp,
    },
    /// A revocation is gone.
    #[error("the trust file no longer revokes {0}; put it back, as the list only grows")]
    RevocationRemoved(Fingerprint),
}

impl Roots {
    /// Root keys, of which `threshold` must sign.
    ///
    /// # Errors
    /// A threshold of none or of more than there are keys, a key that stands twice, or one that is not
    /// [for modules](PublicKey::is_for_modules).
    pub fn new(
        threshold: usize,
        keys: impl IntoIterator<Item = PublicKey>,
    ) -> Result<Self, RootsError> {
        let mut distinct = BTreeSet::new();
        for key in keys {
            let fingerprint = key.fingerprint();
            if !key.is_for_modules() {
                return Err(RootsError::Algorithm { fingerprint, algorithm: key.algorithm() });
            }
            if !distinct.insert(key) {
                return Err(RootsError::Repeated(fingerprint));
            }
        }
        if threshold == 0 || threshold > distinct.len() {
            return Err(RootsError::Threshold { threshold, keys: distinct.len() });
        }
        Ok(Self { threshold, keys: distinct, repository: None })
    }

    /// The roots as a local file has them: how many must sign, the lines of the keys' `.pub` files, and
    /// the repository that they are for. Node, launcher and commands read them by this alone.
    ///
    /// # Errors
    /// As [`Roots::new`], and a text that is no key.
    pub fn of_local_file(
        threshold: u32,
        keys: &[String],
        repository: RepositoryId,
    ) -> Result<Self, RootsError> {
        let parse = |text: &String| {
            text.parse::<PublicKey>()
                .map_err(|source| RootsError::Key { text: text.chars().take(80).collect(), source })
        };
        let keys = keys.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        // More keys than a machine can count are as out of reach as any other excess.
        let threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
        Ok(Self::new(threshold, keys)?.for_repository(repository))
    }

    /// Pins the repository too, so that the same root keys can serve several.
    #[must_use]
    pub fn for_repository(self, repository: RepositoryId) -> Self {
        Self { repository: Some(repository), ..self }
    }

    /// How many must sign.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The keys.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// The distinct root keys that signed `bytes` as a trust file.
    ///
    /// Signatures of other keys, and ones that do not hold, count for nothing and are no error:
    /// removing them from the file would change nothing either.
    fn who_signed(&self, bytes: &[u8], signatures: &[Signature]) -> BTreeSet<&PublicKey> {
        signatures
            .iter()
            .filter_map(|signature| Some((signature, self.keys.get(signature.key())?)))
            .filter(|(signature, _)| signature.verify(Namespace::TRUST, bytes).is_ok())
            .map(|(_, key)| key)
            .collect()
    }

    fn enough(
        &self,
        signed: &BTreeSet<&PublicKey>,
        revoked: &[&RevokedKeys],
    ) -> Result<(), TrustError> {
        let counts = |key: &&&PublicKey| !revoked.iter().any(|list| list.contains(key));
        let have = signed.iter().filter(counts).count();
        if have < self.threshold {
            return Err(TrustError::TooFewRoots { have, need: self.threshold });
        }
        Ok(())
    }
}

impl TrustFile {
    /// Decides whether a node accepts a trust file: `bytes` as they stand in `trust/trust.yaml`,
    /// `signatures` as they stand in `trust/trust.yaml.sig` (armored, one after another), judged at
    /// `now` (see [`ValidityClock`](crate::ValidityClock)).
    ///
    /// A file that was accepted before is accepted again, even after its `not_after`: otherwise a
    /// node that restarts would lock its owner out.
    ///
    /// # Errors
    /// Nothing inside the file is looked at before enough roots have signed it. Then, in this order:
    /// the file's own faults, roots that it revokes itself, repository, serial, revocations, date.
    pub fn accept(
        roots: &Roots,
        previous: PreviousTrust<'_>,
        bytes: &[u8],
        signatures: &[u8],
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let signatures = Signature::parse_all(signatures).map_err(TrustError::Signatures)?;
        let known = match previous {
            PreviousTrust::File(file) => file.revoked().clone(),
            _ => RevokedKeys::default(),
        };
        let signed = roots.who_signed(bytes, &signatures);
        roots.enough(&signed, &[&known])?;
        let trust = Self::parse(bytes).map_err(TrustError::File)?;
        roots.enough(&signed, &[&known, trust.revoked()])?;
        trust.check_succession(roots, previous, now)?;
        Ok(trust)
    }

    fn check_succession(
        &self,
        roots: &Roots,
        previous: PreviousTrust<'_>,
        now: Timestamp,
    ) -> Result<(), TrustError> {
        let found = self.repository;
        let (floor, repository) = match previous {
            PreviousTrust::None => (None, None),
            PreviousTrust::Floor { serial, digest } => (Some((serial, digest)), None),
            PreviousTrust::File(file) => (Some((file.serial, file.digest)), Some(file.repository)),
        };
        for expected in [roots.repository, repository].into_iter().flatten() {
            if expected != found {
                return Err(TrustError::WrongRepository { expected, found });
            }
        }
        if let Some((floor, digest)) = floor {
            if self.serial < floor {
                return Err(TrustError::SerialBelowFloor { found: self.serial, floor });
            }
            if self.serial == floor {
                let same = self.digest == digest;
                return if same { Ok(()) } else { Err(TrustError::SameSerial { serial: floor }) };
            }
        }
        if let PreviousTrust::File(file) = previous
            && let Some(gone) =
                file.revoked().iter().find(|key| !self.revoked.contains_fingerprint(key))
        {
            return Err(TrustError::RevocationRemoved(*gone));
        }
        if now > self.not_after {
            return Err(TrustError::Expired { not_after: self.not_after });
        }
        Ok(())
    }
}
