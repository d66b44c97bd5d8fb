use std::fmt::Write as _;

/// What may stand for the text of a log in front of people: control characters, what turns the direction of writing, and
/// bytes that are no UTF-8 are escaped, and at most so many bytes are kept.
pub(crate) fn printable(bytes: &[u8], most: usize) -> String {
    // No character is written in fewer bytes than it was read from, so more need not be looked at.
    let cut = bytes.get(..most.saturating_add(4)).unwrap_or(bytes);
    let mut text = String::new();
    for chunk in cut.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || is_invisible(character) {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if text.len() > most || cut.len() < bytes.len() {
        let mut end = most.saturating_sub('…'.len_utf8()).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Characters that people do not see, and that change how they see others (Unicode Standard Annex 9).
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_deceive_is_escaped() {
        for (bytes, expected) in [
            (&b"plain \xC3\xA9"[..], "plain é"),
            (b"\x1B[31m\tred\xFF", "\\u{1b}[31m\\tred\\xff"),
            ("a\u{202E}b".as_bytes(), "a\\u{202e}b"),
            (&[b'x'; 50], "xxxxxxxxxxxxxxxxxxxxxxxxxxx…"),
        ] {
            assert_eq!(printable(bytes, 30), expected);
        }
    }

    proptest! {
        #[test]
        fn it_is_short_and_has_no_control_character(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            most in 10_usize..200,
        ) {
            let text = printable(&bytes, most);
            prop_assert!(text.len() <= most && !text.contains(char::is_control));
        }
    }
}
