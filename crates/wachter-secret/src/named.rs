use zeroize::Zeroizing;

/// The first word of the first line of what is encrypted.
const MARK: &str = "wachter-secret v1 ";

/// A secret as the managed repository holds it: a first line that says its name, then the value.
///
/// The name is encrypted and authenticated with the value. Without it, whoever carries files to the
/// launcher could hand the secret of one module to another under a name that this one was granted.
pub struct Named {
    /// The value; nothing is added to it or taken from it.
    pub value: Zeroizing<Vec<u8>>,
}

/// Why what was opened is not the secret that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamedError {
    /// There is no first line as there should be.
    #[error("it was not made by `wachter secret set`, so nothing says which secret it is")]
    NoName,
    /// It is another secret.
    #[error("it holds the secret `{}`", .0.escape_debug())]
    Other(String),
}

impl Named {
    /// What to encrypt.
    #[must_use]
    pub fn text(name: &str, value: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut text =
            Zeroizing::new(Vec::with_capacity(MARK.len() + name.len() + 1 + value.len()));
        text.extend_from_slice(MARK.as_bytes());
        text.extend_from_slice(name.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(value);
        text
    }

    /// Of what was opened.
    ///
    /// # Errors
    /// It has no name, or another one than `name`.
    pub fn of(opened: &[u8], name: &str) -> Result<Self, NamedError> {
        let rest = opened.strip_prefix(MARK.as_bytes()).ok_or(NamedError::NoName)?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(NamedError::NoName)?;
        let (found, value) = (&rest[..end], &rest[end + 1..]);
        if found != name.as_bytes() {
            let found = String::from_utf8_lossy(found).chars().take(63).collect();
            return Err(NamedError::Other(found));
        }
        Ok(Self { value: Zeroizing::new(value.to_vec()) })
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Named(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_its_name() {
        let text = Named::text("a", b"v\n\0");
        assert_eq!(*Named::of(&text, "a").unwrap().value, b"v\n\0");
        assert_eq!(Named::of(&text, "b").unwrap_err(), NamedError::Other("a".to_owned()));
        // Whoever made the file chose what it calls itself.
        let odd = Named::of(&Named::text("\u{1b}[2J", b"v"), "a").unwrap_err();
        assert_eq!(odd.to_string(), "it holds the secret `\\u{1b}[2J`");
        for foreign in [b"v".as_slice(), b"", b"wachter-secret v1 a", b"wachter-secret v2 a\nv"] {
            assert_eq!(Named::of(foreign, "a").unwrap_err(), NamedError::NoName);
        }
    }
}
