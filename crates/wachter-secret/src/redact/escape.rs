//! The escapes of strings in JSON (RFC 8259, section 7).

/// What the bytes that were read so far begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// This cannot be told yet.
    Unfinished,
    /// These bytes, made of the first so many.
    Bytes { bytes: [u8; 4], count: usize, of: usize },
}

/// The most bytes of one escape: two halves of a character beyond the basic plane.
pub(super) const LONGEST: usize = 12;

/// Reads one byte or one escape. What is no escape is taken for what it is.
pub(super) fn decode(bytes: &[u8]) -> Decoded {
    let one = |byte, of| Decoded::Bytes { bytes: [byte, 0, 0, 0], count: 1, of };
    match bytes {
        [] | [b'\\'] => Decoded::Unfinished,
        [b'\\', simple, ..] => match simple {
            b'"' | b'\\' | b'/' => one(*simple, 2),
            b'b' => one(8, 2),
            b'f' => one(12, 2),
            b'n' => one(b'\n', 2),
            b'r' => one(b'\r', 2),
            b't' => one(b'\t', 2),
            b'u' => character(bytes),
            _ => one(b'\\', 1),
        },
        [byte, ..] => one(*byte, 1),
    }
}

fn character(bytes: &[u8]) -> Decoded {
    let literal = Decoded::Bytes { bytes: [b'\\', 0, 0, 0], count: 1, of: 1 };
    let unit = match unit(bytes) {
        Unit::Unfinished => return Decoded::Unfinished,
        Unit::None => return literal,
        Unit::Of(unit) => unit,
    };
    let (code, of) = match unit {
        0xd800..0xdc00 => match self::unit(&bytes[6..]) {
            Unit::Unfinished => return Decoded::Unfinished,
            Unit::Of(low @ 0xdc00..0xe000) => {
                (0x1_0000 + ((u32::from(unit) - 0xd800) << 10) + (u32::from(low) - 0xdc00), 12)
            }
            _ => return literal,
        },
        unit => (u32::from(unit), 6),
    };
    let Some(character) = char::from_u32(code) else { return literal };
    let mut encoded = [0; 4];
    let count = character.encode_utf8(&mut encoded).len();
    Decoded::Bytes { bytes: encoded, count, of }
}

enum Unit {
    Unfinished,
    None,
    Of(u16),
}

/// The number of `\uXXXX`.
fn unit(bytes: &[u8]) -> Unit {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(6).enumerate() {
        let digit = char::from(*byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        match (at, byte, digit) {
            (0, b'\\', _) | (1, b'u', _) => {}
            (2.., _, Some(digit)) => value = value << 4 | digit,
            _ => return Unit::None,
        }
    }
    if bytes.len() < 6 { Unit::Unfinished } else { Unit::Of(value) }
}
