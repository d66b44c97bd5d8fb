//! UUIDs in the one form that is written here (RFC 9562 section 4): lower case, with hyphens.
//!
//! The `uuid` crate makes new ones. Reading and writing needs none of it, and what runs as root does no
//! more than that.

use std::fmt;

/// Where hyphens stand in the text.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// Reads the one form; nothing else is taken.
pub(crate) fn parse(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 || !HYPHENS.iter().all(|at| text.as_bytes()[*at] == b'-') {
        return None;
    }
    let mut digits = text.bytes().enumerate().filter(|(at, _)| !HYPHENS.contains(at)).map(
        |(_, byte)| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        },
    );
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(bytes)
}

pub(crate) fn write(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Written([u8; 16]);

    impl fmt::Display for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(&self.0, f)
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_uuid_crate(bytes: [u8; 16]) {
            let text = uuid::Uuid::from_bytes(bytes).hyphenated().to_string();
            prop_assert_eq!(Written(bytes).to_string(), text.as_str());
            prop_assert_eq!(parse(&text), Some(bytes));
            if text != text.to_uppercase() {
                prop_assert_eq!(parse(&text.to_uppercase()), None);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text: String, near in "[0-9a-fA-Fg-]{36}") {
            for text in [text, near] {
                if let Some(bytes) = parse(&text) {
                    prop_assert_eq!(Written(bytes).to_string(), text);
                }
            }
        }
    }
}
