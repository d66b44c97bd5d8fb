use wachter_trust::{Namespace, Signature, Signer, TrustFile};

use super::roots::{self, KnownRoots};
use crate::failure::{CommandError, CommandResult, chain};
use crate::output;
use crate::repository::{Repository, TRUST, TRUST_SIGNATURES, replace};

/// Signs `text` and writes it with all signatures over it that hold.
///
/// The signatures go first: a trust file without them would stop nodes at the next release, while
/// old bytes with new signatures are noticed by the author.
///
/// # Errors
/// A text that makes no sense, a serial that nodes would refuse, or a signer that refuses.
pub(super) fn store(
    repository: &Repository,
    text: &[u8],
    signer: &mut dyn Signer,
    roots: Option<&KnownRoots>,
) -> CommandResult {
    let trust = TrustFile::parse(text)
        .map_err(|error| CommandError::refused(format!("{TRUST}: {}", chain(&error))))?;
    if trust.revoked().contains(signer.public_key()) {
        return Err(CommandError::refused(format!(
            "the trust file revokes the key {} itself; sign with another root",
            signer.public_key().fingerprint()
        )));
    }
    check_serial(repository, &trust, text)?;
    let own = signer.sign(Namespace::TRUST, text)?;
    let (_, old) = repository.trust_texts()?;
    let old = Signature::parse_all(&old).unwrap_or_default();
    let mut armored = own.to_armor();
    let kept = |signature: &&Signature| {
        signature.key() != own.key() && signature.verify(Namespace::TRUST, text).is_ok()
    };
    for signature in old.iter().filter(kept) {
        armored.push_str(&signature.to_armor());
    }
    replace(&repository.path(TRUST_SIGNATURES), armored.as_bytes())?;
    replace(&repository.path(TRUST), text)?;
    report(&trust, text, armored.as_bytes(), own.key(), roots);
    Ok(())
}

/// What is committed may be out there already: other bytes need a higher serial.
fn check_serial(repository: &Repository, trust: &TrustFile, text: &[u8]) -> CommandResult {
    let Ok(committed) = repository.git().run(&["cat-file", "blob", &format!("HEAD:{TRUST}")], b"")
    else {
        return Ok(());
    };
    let Ok(committed_trust) = TrustFile::parse(&committed) else { return Ok(()) };
    if committed != text && trust.serial() <= committed_trust.serial() {
        return Err(CommandError::refused(format!(
            "{TRUST} changed and has serial {}, as has or had the committed one ({}); raise `serial` to {}",
            trust.serial(),
            committed_trust.serial(),
            committed_trust.serial() + 1
        )));
    }
    let gone =
        committed_trust.revoked().iter().find(|key| !trust.revoked().contains_fingerprint(key));
    match gone {
        Some(key) => Err(CommandError::refused(format!(
            "{TRUST} no longer revokes {key}; put it back, as the list only grows"
        ))),
        None => Ok(()),
    }
}

fn report(
    trust: &TrustFile,
    text: &[u8],
    signatures: &[u8],
    own: &wachter_trust::PublicKey,
    roots: Option<&KnownRoots>,
) {
    let signed = roots::signers(text, signatures);
    output::talk(format_args!(
        "signed {TRUST}, serial {}, with key {}",
        trust.serial(),
        own.fingerprint()
    ));
    let Some(known) = roots else {
        output::talk(
            "note: the nodes' roots are not known here, so whether this is one of them was not checked; name them with --root",
        );
        return;
    };
    let is_root = |key: &wachter_trust::PublicKey| known.roots.keys().any(|root| root == key);
    if !is_root(own) {
        output::talk(format_args!(
            "note: this key is no root by {}, so the signature counts for nothing there",
            known.origin
        ));
    }
    let have = signed.iter().filter(|key| is_root(key) && !trust.revoked().contains(key)).count();
    let need = known.roots.threshold();
    if have < need {
        output::talk(format_args!(
            "{have} of {need} roots have signed; the others run `wachter trust sign`"
        ));
    }
}
