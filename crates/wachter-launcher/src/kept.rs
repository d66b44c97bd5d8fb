//! What was verified and need not be verified again, as long as not one byte of it differs.
//!
//! # Invariants
//! - Nothing is kept but what was accepted, and nothing is compared by anything less than all of its
//!   bytes.
//! - Trust is used again only while the floor that stands on disk is that very file's: there the
//!   rules accept it whatever the clock says. With any other floor, or none, everything is judged anew.
//! - What came of another local file or another trust file is forgotten as a whole.
//! - The contents of modules are not kept: they are hashed before every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use wachter_model::{Digest, ModuleName};
use wachter_trust::{ModuleDigests, TrustFile};

/// Modules that are kept. A host has some dozens; one more costs one signature.
const MODULES: usize = 64;
/// The most bytes of a module's list and signatures together that are kept.
const BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    trust: Option<KeptTrust>,
    modules: BTreeMap<Digest, KeptModule>,
}

#[derive(Debug)]
struct KeptTrust {
    bytes: Vec<u8>,
    signatures: Vec<u8>,
    file: Arc<TrustFile>,
}

#[derive(Debug)]
struct KeptModule {
    name: ModuleName,
    digests: Vec<u8>,
    signatures: Vec<u8>,
    verified: ModuleDigests,
}

impl Kept {
    /// The trust file of exactly these bytes, where `floor` is its own serial and digest.
    pub(crate) fn trust(
        &self,
        bytes: &[u8],
        signatures: &[u8],
        floor: (u64, Digest),
    ) -> Option<Arc<TrustFile>> {
        let kept = self.trust.as_ref()?;
        let same = kept.bytes == bytes
            && kept.signatures == signatures
            && floor == (kept.file.serial(), kept.file.digest());
        same.then(|| Arc::clone(&kept.file))
    }

    /// Keeps a trust file that was accepted, and forgets what was verified by any other.
    pub(crate) fn keep_trust(&mut self, bytes: Vec<u8>, signatures: Vec<u8>, file: Arc<TrustFile>) {
        *self = Self { trust: Some(KeptTrust { bytes, signatures, file }), ..Self::default() };
    }

    /// The module of exactly these bytes and this name, verified by the trust file that is kept.
    pub(crate) fn module(
        &self,
        name: &ModuleName,
        digest: Digest,
        digests: &[u8],
        signatures: &[u8],
    ) -> Option<&ModuleDigests> {
        let kept = self.modules.get(&digest)?;
        let same = kept.name == *name && kept.digests == digests && kept.signatures == signatures;
        same.then_some(&kept.verified)
    }

    /// Keeps a module that the kept trust file's publishers signed.
    pub(crate) fn keep_module(
        &mut self,
        name: ModuleName,
        digests: Vec<u8>,
        signatures: Vec<u8>,
        verified: ModuleDigests,
    ) {
        if digests.len() + signatures.len() > BYTES {
            return;
        }
        if self.modules.len() >= MODULES {
            self.modules.clear();
        }
        let digest = verified.digest();
        self.modules.insert(digest, KeptModule { name, digests, signatures, verified });
    }
}
