use wachter_model::{Digest, ModuleName};

use crate::{
    Fingerprint, KeyOwner, ModuleDigests, ModuleDigestsError, Namespace, Signature, SignatureError,
    SignerName, TrustFile, VerifyError,
};

/// A module whose digests a publisher signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedModule {
    digests: ModuleDigests,
    digest: Digest,
    publisher: SignerName,
    key: Fingerprint,
}

/// Why a module is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleTrustError {
    /// `module.sig` cannot be read.
    #[error("the signature of module `{module}` cannot be read; sign it again with `wachter sign`")]
    Signature {
        /// Which module.
        module: ModuleName,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// Signed by a key that the trust file does not have.
    #[error(
        "module `{module}` is signed by the unknown key {key}; add its owner to the trust file's publishers"
    )]
    UnknownSigner {
        /// Which module.
        module: ModuleName,
        /// Whose signature it is.
        key: Fingerprint,
    },
    /// Signed by a key that was revoked.
    #[error("module `{module}` is signed by the revoked key {key}; sign it again with another key")]
    RevokedSigner {
        /// Which module.
        module: ModuleName,
        /// The key.
        key: Fingerprint,
    },
    /// Signed by someone who may not publish it.
    #[error("`{signer}` may not publish module `{module}`; add it to the trust file's publishers")]
    NotPublisher {
        /// Which module.
        module: ModuleName,
        /// Who signed.
        signer: SignerName,
    },
    /// The digests are not the ones that were signed.
    #[error(
        "the signature of module `{module}` does not hold; its files changed after `wachter sign`"
    )]
    BadSignature {
        /// Which module.
        module: ModuleName,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// Signed, and yet wrong in itself.
    #[error("the digests of module `{module}` cannot be used")]
    Digests {
        /// Which module.
        module: ModuleName,
        /// Why.
        #[source]
        source: ModuleDigestsError,
    },
    /// Signed for another name, and moved.
    #[error(
        "the folder of module `{module}` holds module `{found}`; a signed module cannot be renamed, sign it again"
    )]
    OtherModule {
        /// The folder.
        module: ModuleName,
        /// What the digests say.
        found: ModuleName,
    },
}

impl VerifiedModule {
    /// What the module consists of.
    #[must_use]
    pub fn digests(&self) -> &ModuleDigests {
        &self.digests
    }

    /// The module's identity.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who published it.
    #[must_use]
    pub fn publisher(&self) -> &SignerName {
        &self.publisher
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> Fingerprint {
        self.key
    }
}

/// Decides whether `module` may run: `digests` as they stand in `module.digests`, `signatures` as
/// they stand in `module.sig`.
///
/// With several signatures one by a publisher is enough. Whether the files match the digests is not
/// checked here; it must be each time they are read.
///
/// # Errors
/// Nothing inside the digests is looked at before a publisher's signature over them holds. With
/// several signatures the reason is that of the last.
pub fn verify_module(
    trust: &TrustFile,
    digests: &[u8],
    signatures: &[u8],
    module: &ModuleName,
) -> Result<VerifiedModule, ModuleTrustError> {
    let name = || module.clone();
    let signatures = Signature::parse_all(signatures)
        .map_err(|source| ModuleTrustError::Signature { module: name(), source })?;
    let mut outcome =
        Err(ModuleTrustError::Signature { module: name(), source: SignatureError::Malformed });
    for signature in &signatures {
        outcome = check_signature(trust, digests, signature, module);
        if outcome.is_ok() {
            break;
        }
    }
    let (publisher, key) = outcome?;
    let parsed = ModuleDigests::parse(digests)
        .map_err(|source| ModuleTrustError::Digests { module: name(), source })?;
    if parsed.name() != module {
        let found = parsed.name().clone();
        return Err(ModuleTrustError::OtherModule { module: name(), found });
    }
    Ok(VerifiedModule { digest: Digest::of(digests), digests: parsed, publisher, key })
}

fn check_signature(
    trust: &TrustFile,
    digests: &[u8],
    signature: &Signature,
    module: &ModuleName,
) -> Result<(SignerName, Fingerprint), ModuleTrustError> {
    let module = module.clone();
    let key = signature.key().fingerprint();
    let signer = match trust.owner(signature.key()) {
        KeyOwner::Signer(signer) => signer.clone(),
        KeyOwner::Revoked => return Err(ModuleTrustError::RevokedSigner { module, key }),
        KeyOwner::Unknown => return Err(ModuleTrustError::UnknownSigner { module, key }),
    };
    if !trust.may_publish(&signer, &module) {
        return Err(ModuleTrustError::NotPublisher { module, signer });
    }
    signature
        .verify(Namespace::MODULE, digests)
        .map_err(|source| ModuleTrustError::BadSignature { module, source })?;
    Ok((signer, key))
}
