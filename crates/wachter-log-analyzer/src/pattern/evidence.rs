use std::borrow::Cow;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

/// A text from outside as it may be shown: control characters escaped, what is not UTF-8 replaced,
/// secrets left out, and no longer than `most` characters.
pub(crate) fn shown(bytes: &[u8], most: usize) -> String {
    // A character has at most four bytes, so nothing that is shown is lost here.
    let head = &bytes[..bytes.len().min(most.saturating_mul(4))];
    let text = String::from_utf8_lossy(head);
    let text = without_secrets(&text);
    let mut shown = String::with_capacity(text.len().min(most));
    for (count, character) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            return shown;
        }
        // Marks that turn the direction of writing would let a log line lie about itself.
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    if head.len() < bytes.len() {
        shown.push('…');
    }
    shown
}

/// What people put into logs that should not be there: passwords in addresses, values of keys that
/// name a secret, tokens after `Bearer` and `Basic`.
fn without_secrets(text: &str) -> Cow<'_, str> {
    // Nearly no text holds any of these, and this is looked for much faster.
    static HINTS: OnceLock<AhoCorasick> = OnceLock::new();
    let hints = HINTS.get_or_init(|| {
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(["://", "passw", "secret", "token", "key", "bearer", "basic"])
            .expect("seven words are a search")
    });
    if !hints.is_match(text) {
        return Cow::Borrowed(text);
    }
    static SECRETS: OnceLock<Regex> = OnceLock::new();
    let secrets = SECRETS.get_or_init(|| {
        Regex::new(
            r#"(?ix)
            (?<before> :// [^\s/:@]{0,100} : ) [^\s/@]{1,200} (?<after> @ )
            | (?<key> \b [a-z0-9_.-]{0,40} (?: passw(?:or)?d | passwd | secret | token | api_?key | access_?key )
                ["']? \s{0,2} [=:] \s{0,2} ["']? ) [^\s"'&,;]{1,400}
            | (?<scheme> \b (?: bearer | basic ) \s{1,2} ) [a-z0-9+/=._~-]{8,2000}
            "#,
        )
        .expect("a test reads this expression")
    });
    secrets.replace_all(text, |found: &Captures<'_>| {
        let part = |name| found.name(name).map_or("", |part| part.as_str());
        format!("{}{}{}***{}", part("before"), part("key"), part("scheme"), part("after"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_shown_safely() {
        for (line, expected) in [
            (
                &b"Failed password for root from 1.2.3.4"[..],
                "Failed password for root from 1.2.3.4",
            ),
            (b"a\x1b[31m\0\nb", r"a\u{1b}[31m\u{0}\nb"),
            (b"caf\xff", "caf\u{fffd}"),
            ("\u{202e}txt".as_bytes(), r"\u{202e}txt"),
            (b"GET https://bob:hunter2@h/x", "GET https://bob:***@h/x"),
            (b"login password=hunter2&x=1", "login password=***&x=1"),
            (br#"{"db_password": "hunter2", "a": 1}"#, r#"{"db_password": "***", "a": 1}"#),
            (b"Authorization: Bearer abcdef.ghijk", "Authorization: Bearer ***"),
            (b"bad password: wrong", "bad password: ***"),
        ] {
            assert_eq!(shown(line, 100), expected);
        }
        assert_eq!(shown(&[b'x'; 500], 10), "xxxxxxxxxx…");
    }

    proptest! {
        #[test]
        fn nothing_shown_controls_a_terminal(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let shown = shown(&line, 50);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
