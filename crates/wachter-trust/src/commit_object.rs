use crate::names::{CommitId, SignerName};
use crate::{Fingerprint, KeyOwner, Namespace, Signature, SignatureError, TrustFile, VerifyError};

/// Longer messages exist, but none that was written by hand.
const MAX_BYTES: usize = 1024 * 1024;

/// A commit that `git commit -S` signed with `gpg.format=ssh`: the raw object, as
/// `git cat-file commit` prints it.
///
/// For the stricter way to follow a repository, in which every commit counts and not only releases.
/// The signature stands in the header `gpgsig` (`gpgsig-sha256` where objects are named by SHA-256)
/// and covers all the rest, in namespace `git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitObject {
    payload: Vec<u8>,
    parents: Vec<CommitId>,
    signature: Signature,
}

/// Why bytes are not a signed commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitObjectError {
    /// Beyond 1 MiB.
    #[error("the commit is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Headers that Git does not write so.
    #[error("the commit's headers are damaged; commit again with `git commit -S`")]
    Header,
    /// No signature.
    #[error("the commit is not signed; sign it with `git commit -S` and gpg.format=ssh")]
    Unsigned,
    /// More than one signature.
    #[error("the commit has more than one signature; commit again with `git commit -S`")]
    Several,
    /// A signature that cannot be read.
    #[error("the commit's signature cannot be read")]
    Signature(#[source] SignatureError),
}

/// Why a commit is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitTrustError {
    /// Signed by a key that the trust file does not have.
    #[error(
        "the commit is signed by the unknown key {0}; add its owner to the trust file's release signers"
    )]
    UnknownSigner(Fingerprint),
    /// Signed by a key that was revoked.
    #[error("the commit is signed by the revoked key {0}; commit again with another key")]
    RevokedSigner(Fingerprint),
    /// Signed by someone who may not sign releases.
    #[error(
        "the commit is signed by `{0}`, who may not sign releases; add the name to the trust file's release signers"
    )]
    NotReleaseSigner(SignerName),
    /// The commit is not the one that was signed.
    #[error("the commit's signature does not hold; it was tampered with")]
    BadSignature(#[source] VerifyError),
}

impl CommitObject {
    /// Reads a raw commit object.
    ///
    /// # Errors
    /// Anything but a commit with exactly one SSH signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommitObjectError> {
        if bytes.len() > MAX_BYTES {
            return Err(CommitObjectError::TooLarge);
        }
        let mut headers = Headers { bytes, at: 0 };
        let mut payload = Vec::new();
        let mut parents = Vec::new();
        let mut signature = None;
        while let Some(header) = headers.next()? {
            let (name, value) = split(header)?;
            match name {
                b"gpgsig" | b"gpgsig-sha256" if signature.is_some() => {
                    return Err(CommitObjectError::Several);
                }
                b"gpgsig" | b"gpgsig-sha256" => {
                    // Lines after the first are set in by one space.
                    let text = std::str::from_utf8(value).map_err(|_| CommitObjectError::Header)?;
                    let text = text.replace("\n ", "\n");
                    let parsed = Signature::parse(text.as_bytes());
                    signature = Some(parsed.map_err(CommitObjectError::Signature)?);
                    continue;
                }
                b"parent" => {
                    let text = value.strip_suffix(b"\n").unwrap_or(value);
                    let id = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                    parents.push(id.ok_or(CommitObjectError::Header)?);
                }
                _ => {}
            }
            payload.extend(header);
        }
        payload.extend(&bytes[headers.at..]);
        let signature = signature.ok_or(CommitObjectError::Unsigned)?;
        Ok(Self { payload, parents, signature })
    }

    /// The commits that this one follows; the first is the one it was made on.
    #[must_use]
    pub fn parents(&self) -> &[CommitId] {
        &self.parents
    }

    /// Who signed the commit: one of the trust file's release signers.
    ///
    /// # Errors
    /// A key that is unknown or revoked, a person who may not sign releases, a signature that does
    /// not hold.
    pub fn signer<'t>(&self, trust: &'t TrustFile) -> Result<&'t SignerName, CommitTrustError> {
        let key = self.signature.key().fingerprint();
        let signer = match trust.owner(self.signature.key()) {
            KeyOwner::Signer(signer) => signer,
            KeyOwner::Revoked => return Err(CommitTrustError::RevokedSigner(key)),
            KeyOwner::Unknown => return Err(CommitTrustError::UnknownSigner(key)),
        };
        if !trust.releases().signers.contains(signer) {
            return Err(CommitTrustError::NotReleaseSigner(signer.clone()));
        }
        self.signature
            .verify(Namespace::GIT, &self.payload)
            .map_err(CommitTrustError::BadSignature)?;
        Ok(signer)
    }
}

/// Walks the headers; each with its continuation lines and last line feed.
struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Headers<'a> {
    /// The next header; nothing at the blank line before the message.
    fn next(&mut self) -> Result<Option<&'a [u8]>, CommitObjectError> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"\n") {
            return Ok(None);
        }
        let mut end = 0;
        loop {
            let line = rest[end..].iter().position(|byte| *byte == b'\n');
            end += line.ok_or(CommitObjectError::Header)? + 1;
            if rest.get(end) != Some(&b' ') {
                break;
            }
        }
        self.at += end;
        Ok(Some(&rest[..end]))
    }
}

fn split(header: &[u8]) -> Result<(&[u8], &[u8]), CommitObjectError> {
    let space = header.iter().position(|byte| *byte == b' ').ok_or(CommitObjectError::Header)?;
    match header.split_at(space) {
        ([], _) => Err(CommitObjectError::Header),
        (name, value) => Ok((name, &value[1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileKey, Signer as _};
    use proptest::prelude::*;

    #[test]
    fn takes_one_signature() {
        let signature =
            FileKey::from_seed(&[1; 32], "").unwrap().sign(Namespace::GIT, b"x").unwrap();
        let header = format!("gpgsig {}", signature.to_armor().trim_end().replace('\n', "\n "));
        let check = |text: &str, expected: Result<usize, CommitObjectError>| {
            let text = text.replace("SIGNATURE", &header).replace("ID", &"0".repeat(40));
            let parsed = CommitObject::parse(text.as_bytes());
            assert_eq!(parsed.map(|commit| commit.parents.len()), expected, "{text}");
        };
        use CommitObjectError as E;
        check("tree ID\nparent ID\nSIGNATURE\n\nmessage", Ok(1));
        check("tree ID\nSIGNATURE\nencoding x\n\n", Ok(0));
        check("tree ID\n\nSIGNATURE\n", Err(E::Unsigned));
        check("tree ID\nSIGNATURE\nSIGNATURE\n\n", Err(E::Several));
        check("tree ID\nSIGNATURE", Err(E::Header));
        check("tree ID\nSIGNATURE\n", Err(E::Header));
        check("tree ID\nparent x\nSIGNATURE\n\n", Err(E::Header));
        check("tree\nSIGNATURE\n\n", Err(E::Header));
        check(" tree\nSIGNATURE\n\n", Err(E::Header));
        check(
            "tree ID\ngpgsig x\n\n",
            Err(E::Signature(SignatureError::Armor(crate::ArmorError::Begin { line: 1 }))),
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, text in "([a-z]{0,3}[ \n]){0,20}") {
            let _ = (CommitObject::parse(&bytes), CommitObject::parse(text.as_bytes()));
        }
    }
}
