//! Takes secrets out of text that leaves the host.
//!
//! By what they look like (keys, tokens of known services, credentials in addresses), by what they are
//! called (`password: …`), and by their value, where this host knows it. Names of hosts, users and files
//! stay: without them nothing could be found out.
//!
//! # Invariants
//! - What is taken out leaves no part of itself behind, not even its length.
//! - Text that holds nothing of the kind stays as it is, byte for byte.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64ct::{Base64Unpadded, Encoding};
use regex::{Captures, Regex};

/// What stands in the place of a secret.
pub(super) const MARK: &str = "[redacted]";

/// A value shorter than this would be found everywhere.
const SHORTEST_KNOWN: usize = 8;

/// How often a text is gone through: until nothing more is found, which the second time shows of nearly
/// all.
const MOST_PASSES: u32 = 8;

/// Words in the name of what must not be shown.
const NAMES: &str = "passwords?|passwds?|passphrases?|pwd|secrets?|tokens?|api[_-]?keys?|access[_-]?keys?|\
    private[_-]?keys?|secret[_-]?keys?|signing[_-]?keys?|credentials?|cookies?|authorization|bearer";

/// Each keeps what it calls `before`, and hides the rest.
fn patterns() -> [String; 10] {
    [
        // Keys in PEM and OpenSSH armour, also where the beginning or the end was cut off.
        r"(?s)(?P<before>-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)".to_owned(),
        r"(?:[A-Za-z0-9+/=]+(?:\r?\n|\\n))+-----END [A-Z0-9 ]*PRIVATE KEY-----".to_owned(),
        r"(?i)AGE-(?:SECRET-KEY|PLUGIN-[A-Z0-9]+)-1[A-Z0-9]+".to_owned(),
        // Who logs in where, in an address: RFC 3986, section 3.2.1.
        r#"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#"'<>]*@"#.to_owned(),
        // RFC 9110, section 11.4, and JSON Web Tokens.
        r"(?i)(?P<before>\b(?:bearer|basic|digest|negotiate)[ \t]+)[A-Za-z0-9._~+/=-]{8,}".to_owned(),
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?".to_owned(),
        // Tokens that say what they are.
        r"\b(?:gh[opusr]_|github_pat_|glpat-|gldt-|glrt-|xox[a-z]-|sk-|sk_live_|rk_live_|hf_|npm_|pypi-|dop_v1_|shpat_|AKIA|ASIA|AIza)[A-Za-z0-9_-]{8,}".to_owned(),
        // A key of YAML and its value: the rest of the line, or the lines below that belong to it.
        format!(
            r#"(?im)(?P<before>^[ \t]*(?:- +)?["']?[\w.-]*(?:{NAMES})[\w-]*["']?[ \t]*:[ \t]+)(?:[|>][-+0-9]*[ \t]*\n(?:[ \t]+[^\n]*\n?)*|[^\s"'{{\[|>][^\n]*)"#
        ),
        // A name and its value anywhere else, quoted or one word: JSON, assignments, queries, options.
        format!(
            r#"(?i)(?P<before>[\w.-]*(?:{NAMES})[\w-]*\\?["']?[ \t]*[:=][ \t]*)(?:\\?"(?:[^"\\]|\\[^"])*\\?"|'[^'\n]*'|[^\s"',;&{{}}\[\]()]+)"#
        ),
        format!(r"(?i)(?P<before>--(?:[\w-]*-)?(?:{NAMES})[ \t]+)[^\s\[-]\S*"),
    ]
}

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let compiled = patterns().into_iter().map(|pattern| {
        Regex::new(&pattern).expect("the patterns are constants that a test compiles")
    });
    compiled.collect()
});

/// Takes secrets out.
pub(super) struct Redactor {
    /// Longest first, so that one which holds another goes whole.
    known: Vec<String>,
}

impl Redactor {
    /// One that also knows these values; their Base64 goes too (RFC 4648).
    pub(super) fn new(known: impl IntoIterator<Item = String>) -> Self {
        let known = known.into_iter().filter(|value| value.len() >= SHORTEST_KNOWN);
        let mut known: Vec<String> = known
            .flat_map(|value| [Base64Unpadded::encode_string(value.as_bytes()), value])
            .collect();
        known.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { known }
    }

    /// The text without secrets.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for value in &self.known {
            if text.contains(value.as_str()) {
                text = Cow::Owned(text.replace(value.as_str(), MARK));
            }
        }
        // What is left by one pattern may be what another looks for.
        for _ in 0..MOST_PASSES {
            let redacted = pass(&text);
            if redacted == text {
                break;
            }
            text = Cow::Owned(redacted);
        }
        text.into_owned()
    }
}

/// Takes out what the patterns find, each once.
fn pass(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for pattern in PATTERNS.iter() {
        if let Cow::Owned(replaced) = pattern.replace_all(&text, replacement) {
            text = Cow::Owned(replaced);
        }
    }
    text.into_owned()
}

/// What is shown instead: as it was written, so that JSON stays JSON.
fn replacement(found: &Captures<'_>) -> String {
    let before = found.name("before").map_or("", |before| before.as_str());
    let value = &found[0][before.len()..];
    let bare = value.trim_end_matches(',').trim_matches(['\\', '"', '\'']);
    // Nothing to hide.
    if matches!(bare, "" | "@" | "null" | "true" | "false" | "~" | MARK) {
        return found[0].to_owned();
    }
    // A key that was taken out has no end any more; what follows is none of it.
    if before.ends_with("KEY-----") && value.starts_with(MARK) {
        return found[0].to_owned();
    }
    let quote = ["\\\"", "\"", "'"].into_iter().find(|quote| value.starts_with(quote));
    let quote = quote.unwrap_or_default();
    let after = match value {
        _ if before.ends_with("://") => "@",
        value if value.ends_with(',') => ",",
        value if value.ends_with('\n') => "\n",
        _ => "",
    };
    format!("{before}{quote}{MARK}{quote}{after}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let redactor = Redactor::new(["known-value-1".to_owned()]);
        assert_eq!(redactor.redact(text), expected);
    }

    #[test]
    fn secrets_go_and_what_helps_stays() {
        for (text, expected) in [
            (
                "https://ann:pa:ss@git.example.com/infra.git",
                "https://[redacted]@git.example.com/infra.git",
            ),
            ("a://token://@", "a://token:[redacted]"),
            ("https://git.example.com/a@b", "https://git.example.com/a@b"),
            ("git@git.example.com:infra.git", "git@git.example.com:infra.git"),
            ("Authorization: Bearer abcdefghij", "Authorization: [redacted]"),
            ("sent Bearer abcdefghij to web-1", "sent Bearer [redacted] to web-1"),
            (r#"{"token":"a\nb","host":"web-1"}"#, r#"{"token":"[redacted]","host":"web-1"}"#),
            (
                r#"{"pin_token": 1234, "host": "web-1"}"#,
                r#"{"pin_token": [redacted], "host": "web-1"}"#,
            ),
            (r#""{\"api_key\":\"abc\",\"x\":1}""#, r#""{\"api_key\":\"[redacted]\",\"x\":1}""#),
            ("password: many words of it\nhost: web-1", "password: [redacted]\nhost: web-1"),
            ("  secret: |\n    one\n    two\nhost: web-1", "  secret: [redacted]\nhost: web-1"),
            ("DATABASE_PASSWORD=abc HOST=web-1", "DATABASE_PASSWORD=[redacted] HOST=web-1"),
            ("GET /x?access_token=abc&page=2", "GET /x?access_token=[redacted]&page=2"),
            ("restic --password abc backup", "restic --password [redacted] backup"),
            (
                "credential: { file: /etc/wachter/token }",
                "credential: { file: /etc/wachter/token }",
            ),
            ("credential:\n  environment: GIT", "credential:\n  environment: GIT"),
            ("secrets: [backup-password]", "secrets: [backup-password]"),
            ("token: null", "token: null"),
            ("AGE-SECRET-KEY-1QQQQQQ in a file", "[redacted] in a file"),
            ("age1qqqqqq is a recipient", "age1qqqqqq is a recipient"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\nend",
                "-----BEGIN OPENSSH PRIVATE KEY-----[redacted]\nend",
            ),
            ("-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY-----[redacted]"),
            ("abc=\nAbc=\n-----END RSA PRIVATE KEY-----\nend", "[redacted]\nend"),
            ("pushed with ghp_abcdefghijklm", "pushed with [redacted]"),
            ("saw known-value-1 and a25vd24tdmFsdWUtMQ==", "saw [redacted] and [redacted]=="),
        ] {
            check(text, expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_secret_is_left(
            secret in "[A-Za-z0-9_]{12,40}",
            start in "[a-z .\n]{0,20}",
            end in "[a-z .]{0,20}",
            form in 0..12_usize,
        ) {
            let form = [
                "https://ann:@@host-1/path", "Bearer @", "{\"client_secret\": \"@\", \"b\": 1}",
                "password=@", "token: @", "--api-key @", "ghp_@", "eyJhbGciOiJI.@.@",
                "AGE-SECRET-KEY-1@", "-----BEGIN EC PRIVATE KEY-----\n@\n-----END EC PRIVATE KEY-----",
                "'passphrase': '@'", "x-api-key=\"@\"",
            ][form];
            let is_upper = form.starts_with("AGE");
            let secret = if is_upper { secret.replace('_', "A") } else { secret };
            let form = match form.strip_suffix("@@host-1/path") {
                Some(user) => format!("{user}{secret}@host-1/path"),
                None => form.replace('@', &secret),
            };
            let redacted = Redactor::new([]).redact(&format!("{start} {form}\nhost-1 {end}"));
            prop_assert!(!redacted.contains(&secret), "{}", redacted);
            prop_assert!(redacted.contains("host-1"), "{}", redacted);
        }

        #[test]
        fn a_known_value_is_found_anywhere(
            secret in "[!-~]{12,40}",
            start in any::<String>(),
            end in any::<String>(),
        ) {
            let redactor = Redactor::new([secret.clone()]);
            let redacted = redactor.redact(&format!("{start}{secret}{end}"));
            prop_assert!(!redacted.contains(&secret), "{}", redacted);
        }

        #[test]
        fn twice_is_as_good_as_once(text in "(?s)([ -~\n]|token|password|: |=|://|@|\"|Bearer ){0,60}") {
            let redactor = Redactor::new([]);
            let once = redactor.redact(&text);
            prop_assert_eq!(redactor.redact(&once), once);
        }

        #[test]
        fn what_holds_none_stays(text in "[bfghjlmqvxz0-9 .:=/\n\"{}]{0,200}") {
            prop_assert_eq!(Redactor::new([]).redact(&text), text);
        }
    }
}
