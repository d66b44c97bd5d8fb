use jiff::Timestamp;

use crate::allowed_signer_options::{self as options, Options};
use crate::pattern::{PatternError, PatternList};
use crate::revoked_keys::RevokedKeys;
use crate::{KeyError, Namespace, PublicKey, Signature, VerifyError};

/// Far above any team; keeps a hostile file from costing memory.
const MAX_BYTES: usize = 1024 * 1024;

/// OpenSSH's `allowed_signers` file: who may sign, for which namespaces, and when
/// (`ssh-keygen(1)`, ALLOWED SIGNERS).
///
/// Three differences from `ssh-keygen`, all on the strict side: a line that cannot be read makes the
/// whole file an error (`ssh-keygen` passes over it), times without `Z` are UTC (`ssh-keygen` takes
/// the zone of the machine, so that one file means different things on two machines), and
/// certificates are not verified (a `cert-authority` line is read, and refused when it is the only
/// one that could have matched). One addition: the option `verify-required` asks for a PIN or a
/// finger on a security key; `ssh-keygen` refuses files that have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSigners(Vec<AllowedSigner>);

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedSigner {
    /// The identities that the line is for.
    pub principals: PatternList,
    /// The key belongs to a certificate authority, not to a signer.
    pub cert_authority: bool,
    /// The namespaces that the key may sign for; all, when absent.
    pub namespaces: Option<PatternList>,
    /// The first moment at which the key counts.
    pub valid_after: Option<Timestamp>,
    /// The last moment at which the key counts.
    pub valid_before: Option<Timestamp>,
    /// A security key must have asked for its PIN or a finger.
    pub verify_required: bool,
    /// The key.
    pub key: PublicKey,
    /// Counted from 1.
    pub line: usize,
}

/// Why a file is not a list of allowed signers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedSignersError {
    /// Beyond 1 MiB.
    #[error("the file is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// A line that cannot be read.
    #[error(
        "line {line} cannot be read; correct or remove it, as the whole file is refused until then"
    )]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        problem: LineError,
    },
}

/// What is wrong with a line of an `allowed_signers` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not UTF-8, or a NUL.
    #[error("it is not text")]
    NotText,
    /// Less than principals and a key.
    #[error("expected `PRINCIPALS [OPTIONS] KEYTYPE BASE64`")]
    Incomplete,
    /// A `"` without its partner.
    #[error("a quotation mark is not closed")]
    Quote,
    /// The principals.
    #[error("the principals are not a pattern list")]
    Principals(#[source] PatternError),
    /// The namespaces.
    #[error("the namespaces are not a pattern list")]
    Namespaces(#[source] PatternError),
    /// An option that does not exist.
    #[error(
        "unknown option `{0}`; known are cert-authority, namespaces=\"...\", valid-after=\"...\", \
         valid-before=\"...\" and verify-required"
    )]
    UnknownOption(String),
    /// An option twice.
    #[error("option `{0}` stands twice")]
    RepeatedOption(&'static str),
    /// An option whose value is not in quotation marks.
    #[error("the value of `{0}` must stand in quotation marks, as in {0}=\"...\"")]
    Unquoted(&'static str),
    /// A time that is none.
    #[error(
        "`{0}` is not a time; write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with a Z behind it"
    )]
    Time(String),
    /// An interval without a moment in it.
    #[error("valid-before is not after valid-after")]
    EmptyInterval,
    /// The key.
    #[error("the key cannot be used")]
    Key(#[source] KeyError),
}

/// Why no allowed signer stands behind a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowedError {
    /// The key is in no line for this identity.
    #[error("the key is not allowed to sign as `{identity}`; add it to the allowed signers")]
    UnknownKey {
        /// Who was asked for.
        identity: String,
    },
    /// Only a certificate could have matched.
    #[error(
        "`{identity}` may sign with certificates of the authority on line {line} only, and \
         certificates are not supported; list the signer's own key"
    )]
    Certificate {
        /// Who was asked for.
        identity: String,
        /// Where the authority stands.
        line: usize,
    },
    /// Allowed, but not for this.
    #[error(
        "line {line} does not allow the key for namespace `{namespace}`; add it to `namespaces`"
    )]
    Namespace {
        /// Where the key stands.
        line: usize,
        /// What was asked for.
        namespace: String,
    },
    /// Allowed, but not now.
    #[error("line {line} does not allow the key at {at}; change `valid-after` or `valid-before`")]
    Time {
        /// Where the key stands.
        line: usize,
        /// The time judged by.
        at: Timestamp,
    },
    /// The key was revoked.
    #[error("the key is revoked; sign with another key")]
    Revoked,
    /// The signature.
    #[error("the signature does not hold")]
    Signature(#[source] VerifyError),
}

impl AllowedSigners {
    /// Parses a file. Empty lines and lines that start with `#` are passed over.
    ///
    /// # Errors
    /// The first line that cannot be read, with its number.
    pub fn parse(bytes: &[u8]) -> Result<Self, AllowedSignersError> {
        if bytes.len() > MAX_BYTES {
            return Err(AllowedSignersError::TooLarge);
        }
        let mut signers = Vec::new();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line_number = index + 1;
            let at_line = |problem| AllowedSignersError::Line { line: line_number, problem };
            let text = std::str::from_utf8(line).map_err(|_| at_line(LineError::NotText))?;
            let text = text.trim_matches([' ', '\t', '\r']);
            if text.contains('\0') {
                return Err(at_line(LineError::NotText));
            }
            if !text.is_empty() && !text.starts_with('#') {
                signers.push(AllowedSigner::parse(text, line_number).map_err(at_line)?);
            }
        }
        Ok(Self(signers))
    }

    /// The lines, in order.
    #[must_use]
    pub fn lines(&self) -> &[AllowedSigner] {
        &self.0
    }

    /// The principals of every line that allows `key` for `namespace` at `at`: what
    /// `ssh-keygen -Y find-principals` prints.
    pub fn find_principals(
        &self,
        key: &PublicKey,
        namespace: Namespace<'_>,
        at: Timestamp,
    ) -> Vec<&PatternList> {
        self.0
            .iter()
            .filter(|line| !line.cert_authority && line.key == *key)
            .filter(|line| line.check(namespace, at).is_ok())
            .map(|line| &line.principals)
            .collect()
    }

    /// Checks that `identity` signed `message`: what `ssh-keygen -Y verify` does.
    ///
    /// # Errors
    /// A revoked key, a signature that does not hold, or no line that allows it; in the last case
    /// the reason of the last line that had the key.
    pub fn verify(
        &self,
        identity: &str,
        namespace: Namespace<'_>,
        message: &[u8],
        signature: &Signature,
        revoked: &RevokedKeys,
        at: Timestamp,
    ) -> Result<&AllowedSigner, NotAllowedError> {
        if revoked.contains(signature.key()) {
            return Err(NotAllowedError::Revoked);
        }
        let mut reason = NotAllowedError::UnknownKey { identity: identity.to_owned() };
        for line in self.0.iter().filter(|line| line.principals.matches(identity)) {
            if line.cert_authority {
                if matches!(reason, NotAllowedError::UnknownKey { .. }) {
                    let identity = identity.to_owned();
                    reason = NotAllowedError::Certificate { identity, line: line.line };
                }
                continue;
            }
            if line.key != *signature.key() {
                continue;
            }
            match line.check(namespace, at) {
                Ok(()) => {
                    let held = match line.verify_required {
                        true => signature.verify_with_user_verification(namespace, message),
                        false => signature.verify(namespace, message),
                    };
                    return held.map(|()| line).map_err(NotAllowedError::Signature);
                }
                Err(refusal) => reason = refusal,
            }
        }
        Err(reason)
    }
}

impl AllowedSigner {
    fn parse(text: &str, line: usize) -> Result<Self, LineError> {
        let (principals, rest) = split_principals(text)?;
        let principals = PatternList::parse(principals).map_err(LineError::Principals)?;
        let rest = rest.trim_start_matches([' ', '\t']);
        let first = rest.split([' ', '\t']).next().unwrap_or_default();
        if first.is_empty() {
            return Err(LineError::Incomplete);
        }
        let mut options = Options::default();
        // As OpenSSH does: what reads as a key is a key, and options otherwise.
        let key = match rest.parse::<PublicKey>() {
            Ok(key) => key,
            Err(error) if looks_like_key_type(first) => return Err(LineError::Key(error)),
            Err(_) => {
                let end = options::end(rest)?;
                options.parse(&rest[..end])?;
                let key = rest[end..].trim_start_matches([' ', '\t']);
                if key.is_empty() {
                    return Err(LineError::Incomplete);
                }
                key.parse().map_err(LineError::Key)?
            }
        };
        if let (Some(after), Some(before)) = (options.valid_after, options.valid_before)
            && before <= after
        {
            return Err(LineError::EmptyInterval);
        }
        Ok(Self {
            principals,
            cert_authority: options.cert_authority,
            namespaces: options.namespaces,
            valid_after: options.valid_after,
            valid_before: options.valid_before,
            verify_required: options.verify_required,
            key,
            line,
        })
    }

    fn check(&self, namespace: Namespace<'_>, at: Timestamp) -> Result<(), NotAllowedError> {
        if self.namespaces.as_ref().is_some_and(|list| !list.matches(namespace.as_str())) {
            let namespace = namespace.as_str().to_owned();
            return Err(NotAllowedError::Namespace { line: self.line, namespace });
        }
        let too_early = self.valid_after.is_some_and(|after| at < after);
        let too_late = self.valid_before.is_some_and(|before| at > before);
        if too_early || too_late {
            return Err(NotAllowedError::Time { line: self.line, at });
        }
        Ok(())
    }
}

/// The first word, which may stand in quotation marks to hold spaces.
fn split_principals(text: &str) -> Result<(&str, &str), LineError> {
    match text.strip_prefix('"') {
        Some(rest) => rest.split_once('"').ok_or(LineError::Quote),
        None => text.split_once([' ', '\t']).ok_or(LineError::Incomplete),
    }
}

/// So that a damaged key is called a damaged key and not an unknown option.
fn looks_like_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "webauthn-"].iter().any(|prefix| word.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE";

    fn parse(before_key: &str) -> Result<AllowedSigner, LineError> {
        match AllowedSigners::parse(format!("{before_key} {KEY} comment").as_bytes()) {
            Ok(signers) => Ok(signers.0[0].clone()),
            Err(AllowedSignersError::Line { line: 1, problem }) => Err(problem),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check_refused(before_key: &str, expected: &LineError) {
        assert_eq!(parse(before_key).as_ref(), Err(expected), "{before_key}");
    }

    #[test]
    fn reads_options() {
        let signer = parse(
            "a@b,*@c NameSpaces=\"git,file\",valid-after=\"20200102\",\
             valid-before=\"20300102030405Z\",verify-required",
        )
        .unwrap();
        assert_eq!(signer.principals.to_string(), "a@b,*@c");
        assert_eq!(signer.namespaces.unwrap().to_string(), "git,file");
        assert_eq!(signer.valid_after.unwrap().to_string(), "2020-01-02T00:00:00Z");
        assert_eq!(signer.valid_before.unwrap().to_string(), "2030-01-02T03:04:05Z");
        assert!(signer.verify_required && !signer.cert_authority);
        assert_eq!(signer.key, KEY.parse().unwrap());
        assert!(parse("* cert-authority").unwrap().cert_authority);
        assert_eq!(parse("\"a b\"").unwrap().principals.to_string(), "a b");
        assert_eq!(
            parse("x valid-after=\"202001021314\"").unwrap().valid_after.unwrap().to_string(),
            "2020-01-02T13:14:00Z"
        );
    }

    #[test]
    fn refuses_bad_lines() {
        check_refused("a namespaces=git", &LineError::Unquoted("namespaces"));
        check_refused("a namespaces=\"git", &LineError::Quote);
        check_refused("\"a", &LineError::Quote);
        check_refused("a,", &LineError::Principals(PatternError::Empty));
        check_refused("a namespaces=\"\"", &LineError::Namespaces(PatternError::Empty));
        check_refused("a nonsense", &LineError::UnknownOption("nonsense".into()));
        check_refused("a cert-authority,", &LineError::UnknownOption(String::new()));
        check_refused("a cert-authority=\"x\"", &LineError::UnknownOption("=\"x\"".into()));
        check_refused(
            "a cert-authority,cert-authority",
            &LineError::RepeatedOption("cert-authority"),
        );
        check_refused(
            "a namespaces=\"a\",namespaces=\"b\"",
            &LineError::RepeatedOption("namespaces"),
        );
        check_refused(
            "a valid-after=\"20300101\",valid-before=\"20200101\"",
            &LineError::EmptyInterval,
        );
        for time in ["2020", "20201301", "20200101000", "20200101Zulu", "+2020010", "2020010１"] {
            check_refused(&format!("a valid-after=\"{time}\""), &LineError::Time(time.into()));
        }
    }

    #[test]
    fn a_bad_line_refuses_the_file() {
        for (text, line) in [
            (format!("# comment\n\na {KEY}\nb\n"), 4),
            (format!("a {KEY}\na ssh-ed25519 AAAA\n"), 2),
            (format!("a ssh-dss AAAAB3NzaC1kc3M= x\na {KEY}"), 1),
            (KEY.to_owned(), 1),
            (format!("a {KEY}\0"), 1),
        ] {
            match AllowedSigners::parse(text.as_bytes()) {
                Err(AllowedSignersError::Line { line: found, .. }) => {
                    assert_eq!(found, line, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        let windows = format!("# comment\r\n\r\n  a\t{KEY}\r\n");
        assert_eq!(AllowedSigners::parse(windows.as_bytes()).unwrap().lines().len(), 1);
    }

    #[test]
    fn finds_by_namespace_and_time() {
        let file = format!(
            "a namespaces=\"git\" {KEY}\nb valid-after=\"20200101\",valid-before=\"20210101\" {KEY}\n\
             c cert-authority {KEY}\n"
        );
        let signers = AllowedSigners::parse(file.as_bytes()).unwrap();
        let find = |namespace: &'static str, at: &str| -> String {
            let namespace = Namespace::new(namespace).unwrap();
            let found =
                signers.find_principals(&KEY.parse().unwrap(), namespace, at.parse().unwrap());
            found.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(find("git", "2020-06-01T00:00:00Z"), "a b");
        assert_eq!(find("file", "2020-01-01T00:00:00Z"), "b");
        assert_eq!(find("file", "2021-01-01T00:00:00Z"), "b");
        assert_eq!(find("file", "2021-01-01T00:00:01Z"), "");
        assert_eq!(find("git", "2019-12-31T23:59:59Z"), "a");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = AllowedSigners::parse(&bytes);
        }

        #[test]
        fn any_options_are_parsed_or_refused(options in "[a-z=\"\\\\, 0-9-]{0,60}") {
            let _ = AllowedSigners::parse(format!("a {options} {KEY}").as_bytes());
        }
    }
}
