use std::fmt::Write as _;

use crate::armor::BEGIN;
use crate::names::CommitId;
use crate::release_statement::{ReleaseStatement, ReleaseTag};
use crate::{Namespace, SignError, Signature, SignatureError, Signer};

/// A signed tag needs 2 KiB; the rest is room for long names.
const MAX_BYTES: usize = 64 * 1024;

/// A signed, annotated Git tag on a commit: the raw object, as `git cat-file tag` prints it.
///
/// ```text
/// object 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
/// type commit
/// tag wachter/7
/// tagger Alice <alice@example.com> 1767225600 +0100
///
/// wachter-release v1
/// ...
/// -----BEGIN SSH SIGNATURE-----
/// ...
/// -----END SSH SIGNATURE-----
/// ```
///
/// The signature is the one that `git tag -s` makes with `gpg.format=ssh`: in namespace `git`, over
/// everything before it. Only tags in exactly this form are read: no other header, no other kind of
/// object, text only, the signature at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagObject {
    bytes: Vec<u8>,
    payload: usize,
    message: usize,
    object: CommitId,
    name: String,
    signature: Signature,
}

/// Who makes a tag, and when; as Git keeps it. Nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagger {
    /// The name of the person.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
}

/// Why bytes are not a signed tag on a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagObjectError {
    /// Beyond 64 KiB.
    #[error("the tag is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not UTF-8, or with a NUL.
    #[error("the tag is not text")]
    NotText,
    /// A header that is missing, in another place, or not known.
    #[error("the tag's header `{0}` is missing or damaged; make releases with `wachter release`")]
    Header(&'static str),
    /// On a tree, a blob or another tag.
    #[error("the tag does not stand on a commit")]
    NotOnCommit,
    /// No signature.
    #[error(
        "the tag is not signed; make releases with `wachter release` or `git tag -s` with gpg.format=ssh"
    )]
    Unsigned,
    /// A signature that cannot be read.
    #[error("the tag's signature cannot be read")]
    Signature(#[source] SignatureError),
    /// A tagger that Git could not keep.
    #[error(
        "a tagger's name and mail address must not be empty or hold `<`, `>` or control characters"
    )]
    Tagger,
}

/// Why a tag was not signed.
#[derive(Debug, thiserror::Error)]
pub enum TagSignError {
    /// The signer.
    #[error("the release was not signed")]
    Sign(#[source] SignError),
    /// The tag.
    #[error("the release's tag cannot be made")]
    Tag(#[source] TagObjectError),
}

impl TagObject {
    /// Reads a raw tag object.
    ///
    /// # Errors
    /// Anything but a signed tag on a commit in the form above.
    pub fn parse(bytes: &[u8]) -> Result<Self, TagObjectError> {
        if bytes.len() > MAX_BYTES {
            return Err(TagObjectError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TagObjectError::NotText)?;
        if text.contains('\0') {
            return Err(TagObjectError::NotText);
        }
        let mut rest = text;
        let object = header(&mut rest, "object")?;
        let object: CommitId = object.parse().map_err(|_| TagObjectError::Header("object"))?;
        if header(&mut rest, "type")? != "commit" {
            return Err(TagObjectError::NotOnCommit);
        }
        let name = header(&mut rest, "tag")?.to_owned();
        header(&mut rest, "tagger")?;
        rest = rest.strip_prefix('\n').ok_or(TagObjectError::Header("tagger"))?;
        let message = text.len() - rest.len();
        // Git takes the last such line; a message with one of its own is never a statement.
        let payload = message + start_of_signature(rest).ok_or(TagObjectError::Unsigned)?;
        let signature = Signature::parse(&bytes[payload..]).map_err(TagObjectError::Signature)?;
        Ok(Self { bytes: bytes.to_vec(), payload, message, object, name, signature })
    }

    /// What a signer of `statement` signs: the tag without its signature.
    ///
    /// # Errors
    /// A tagger that Git could not keep.
    pub fn payload(
        statement: &ReleaseStatement,
        tag: ReleaseTag,
        tagger: &Tagger,
    ) -> Result<String, TagObjectError> {
        let Tagger { name, email, seconds } = tagger;
        for text in [name, email] {
            let bad = |character: char| character.is_control() || matches!(character, '<' | '>');
            if text.trim().is_empty() || text.contains(bad) {
                return Err(TagObjectError::Tagger);
            }
        }
        let mut payload = format!("object {}\ntype commit\ntag {tag}\n", statement.commit);
        writeln!(payload, "tagger {name} <{email}> {seconds} +0000\n")
            .expect("writing to a string does not fail");
        payload.push_str(&statement.render());
        Ok(payload)
    }

    /// Makes and signs a tag for `statement`.
    ///
    /// # Errors
    /// A tagger that Git could not keep, or a signer that does not sign.
    pub fn sign(
        statement: &ReleaseStatement,
        tag: ReleaseTag,
        tagger: &Tagger,
        signer: &mut dyn Signer,
    ) -> Result<Self, TagSignError> {
        let mut text = Self::payload(statement, tag, tagger).map_err(TagSignError::Tag)?;
        let signature = signer.sign(Namespace::GIT, text.as_bytes()).map_err(TagSignError::Sign)?;
        text.push_str(&signature.to_armor());
        Self::parse(text.as_bytes()).map_err(TagSignError::Tag)
    }

    /// The whole object, as Git stores it: `git hash-object -t tag -w --stdin`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The commit that the tag stands on.
    #[must_use]
    pub fn object(&self) -> &CommitId {
        &self.object
    }

    /// The name in the tag itself, which a reference of another name can point to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was written in the tag.
    #[must_use]
    pub fn message(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.message..self.payload])
            .expect("the whole tag was checked to be UTF-8, and both ends are line starts")
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.bytes[..self.payload]
    }

    /// The signature, not yet verified.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

fn header<'a>(rest: &mut &'a str, name: &'static str) -> Result<&'a str, TagObjectError> {
    let refused = TagObjectError::Header(name);
    let (line, tail) = rest.split_once('\n').ok_or(refused.clone())?;
    *rest = tail;
    line.strip_prefix(name)
        .and_then(|line| line.strip_prefix(' '))
        .filter(|value| !value.is_empty())
        .ok_or(refused)
}

/// Where the first line that begins a signature starts.
fn start_of_signature(message: &str) -> Option<usize> {
    let mut at = 0;
    for line in message.split_inclusive('\n') {
        if line.starts_with(BEGIN) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, message: String) {
            let _ = TagObject::parse(&bytes);
            let id = "0".repeat(40);
            let text = format!("object {id}\ntype commit\ntag a\ntagger b\n\n{message}\n{BEGIN}\n{message}");
            let _ = TagObject::parse(text.as_bytes());
        }
    }
}
