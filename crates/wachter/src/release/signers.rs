use std::collections::BTreeSet;

use jiff::Timestamp;
use wachter_trust::{
    KeyOwner, PublicKey, ReleaseCandidate, ReleaseError, SignerName, TagObject, Tagger, TrustFile,
};

use crate::repository::Repository;

/// Who has signed so far.
///
/// # Errors
/// The first tag does not count, so no further signature would make it a release.
pub(super) fn signers(
    tags: &[TagObject],
    trust: &TrustFile,
) -> Result<BTreeSet<SignerName>, ReleaseError> {
    Ok(ReleaseCandidate::new(tags)?.who_signed(trust)?.signers().clone())
}

/// Under which name a key may sign releases, or why not.
pub(super) fn may_sign<'t>(
    trust: &'t TrustFile,
    key: &PublicKey,
) -> Result<&'t SignerName, String> {
    let fingerprint = key.fingerprint();
    let rules = trust.releases();
    match trust.owner(key) {
        KeyOwner::Signer(name)
            if rules.signers.contains(name)
                || rules.paths.iter().any(|rule| rule.signers.contains(name)) =>
        {
            Ok(name)
        }
        KeyOwner::Signer(name) => Err(format!(
            "`{name}` may not sign releases; a root adds the name with `wachter trust add-signer {name} KEY.pub --release`"
        )),
        KeyOwner::Revoked => {
            Err(format!("your key {fingerprint} is revoked; sign with another one, --key FILE"))
        }
        KeyOwner::Unknown => Err(format!(
            "your key {fingerprint} is not in the trust file; sign with another one, or a root adds it with `wachter trust add-signer NAME KEY.pub --release`"
        )),
    }
}

/// Whose tag it is, by what Git says; nothing is decided by it.
pub(super) fn tagger(
    repository: &Repository,
    trust: &TrustFile,
    key: &PublicKey,
    now: Timestamp,
) -> Tagger {
    let (name, email) = repository.git().identity().unwrap_or_else(|| {
        let signer = match trust.owner(key) {
            KeyOwner::Signer(name) => name.to_string(),
            _ => "wachter".to_owned(),
        };
        (signer.clone(), format!("{signer}@localhost"))
    });
    let plain = |text: String| {
        text.replace(|character: char| character.is_control() || "<>".contains(character), "")
    };
    Tagger { name: plain(name), email: plain(email), seconds: now.as_second() }
}
