use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;

/// The longest name of a file or folder, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Why a name in a tree is refused, on whatever file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// `.` or `..`.
    #[error("it leads elsewhere")]
    Dots,
    /// Beyond 255 bytes.
    #[error("it is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
    /// A slash, a backslash, a control character, or one that changes the direction of text.
    #[error("it holds a separator, a control character or a character that hides others")]
    Character,
    /// `.git`, or what some file system takes for it.
    #[error("a file system may take it for `.git`")]
    Git,
}

/// Checks one component of a path.
pub(crate) fn check(name: &[u8]) -> Result<&str, NameError> {
    match name {
        b"" => return Err(NameError::Empty),
        b"." | b".." => return Err(NameError::Dots),
        name if name.len() > MAX_NAME_BYTES => return Err(NameError::TooLong),
        _ => {}
    }
    let text = std::str::from_utf8(name).map_err(|_| NameError::NotText)?;
    // Before the check of characters, to name the worse of two reasons.
    if looks_like_git(text) {
        return Err(NameError::Git);
    }
    if text.chars().any(is_refused) {
        return Err(NameError::Character);
    }
    Ok(text)
}

fn is_refused(character: char) -> bool {
    matches!(character, '/' | '\\') || character.is_control() || is_ignored(character)
        // U+2028 and U+2029 break lines, the isolates turn text around (Unicode TR 36, section 2.10).
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

/// What HFS+ leaves out when it compares names (Apple TN1150).
fn is_ignored(character: char) -> bool {
    matches!(character, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

fn looks_like_git(name: &str) -> bool {
    let visible: String = name.chars().filter(|character| !is_ignored(*character)).collect();
    let lower = fold(&visible);
    // NTFS: a stream after a colon, and dots and spaces at the end, name the same file.
    let stem = lower.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    // NTFS: the short name of `.git` is `git~1`, or another number where that was taken.
    let short = stem
        .strip_prefix("git~")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    stem == ".git" || short
}

/// What two names have in common that a file system without regard to case takes for one: composed
/// (NFC), then upper case, then lower case. That joins everything that simple case folding joins, and
/// a little more, such as `ß` and `ss`.
pub(crate) fn fold(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
    }
    let composed: String = name.nfc().collect();
    Cow::Owned(composed.to_uppercase().to_lowercase().nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn git_is_recognized_in_any_dress() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            ".git.",
            ".git ",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            "git~1",
            "GIT~2",
            "GIT~10",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".gi\u{202e}t",
            "git~1:x",
        ] {
            assert_eq!(check(name.as_bytes()), Err(NameError::Git), "{name:?}");
        }
        for name in
            [".gitignore", ".gitattributes", "git", ".gitx", "git~", "git~x", "x.git", ".git-x"]
        {
            assert!(check(name.as_bytes()).is_ok(), "{name}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for (name, expected) in [
            (&b""[..], NameError::Empty),
            (b".", NameError::Dots),
            (b"..", NameError::Dots),
            (b"a/b", NameError::Character),
            (b"a\\b", NameError::Character),
            (b"a\nb", NameError::Character),
            (b"a\x7fb", NameError::Character),
            (b"a\xffb", NameError::NotText),
            ("a\u{85}b".as_bytes(), NameError::Character),
            ("a\u{202e}b".as_bytes(), NameError::Character),
            ("a\u{2028}b".as_bytes(), NameError::Character),
        ] {
            assert_eq!(check(name), Err(expected), "{name:?}");
        }
        assert_eq!(check(&[b'a'; 256]), Err(NameError::TooLong));
        assert!(check(&[b'a'; 255]).is_ok());
    }

    #[test]
    fn names_that_some_file_systems_join_fold_to_the_same() {
        for (one, other) in [
            ("README", "readme"),
            ("É", "e\u{301}"),
            ("ſ", "S"),
            ("K", "k"),
            ("Σ", "ς"),
            ("ß", "SS"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        assert_ne!(fold("a"), fold("b"));
    }

    proptest! {
        #[test]
        fn what_passes_is_one_plain_component(name in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(text) = check(&name) {
                prop_assert!(!text.contains(['/', '\\', '\0', '\n']) && text != ".." && text != "." && text != ".git");
            }
        }
    }
}
