//! What is looked for: a value, and what base64 makes of it.

use base64ct::{Base64Unpadded, Encoding as _};
use zeroize::Zeroizing;

/// A value with fewer bytes than this is not looked for: it would be found in ordinary words, and
/// what stands in its place would give it away.
pub const MIN_REDACTED_BYTES: usize = 8;

/// The bits of a base64 character that the value beside it decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    mask: u8,
    bits: u8,
}

impl Edge {
    pub(super) fn fits(self, byte: u8) -> bool {
        sextet(byte).is_some_and(|value| value & self.mask == self.bits)
    }
}

/// A text to be found, with what Knuth, Morris and Pratt need to find it in one pass.
pub(super) struct Needle {
    /// Which of the secrets it gives away.
    pub(super) secret: usize,
    text: Zeroizing<Vec<u8>>,
    /// For each prefix, the longest shorter one that ends it.
    failure: Vec<usize>,
    /// The character before, where the value decides some of its bits.
    pub(super) lead: Option<Edge>,
    /// The character after, likewise.
    pub(super) tail: Option<Edge>,
    /// Whether it is base64, which programs break into lines.
    pub(super) broken: bool,
}

/// The needles of one secret.
pub(super) fn needles(secret: usize, value: &[u8]) -> Vec<Needle> {
    // The line feed of `echo` is no part of what is secret.
    let value = value.trim_ascii();
    if value.len() < MIN_REDACTED_BYTES {
        return Vec::new();
    }
    let mut needles = vec![Needle::new(secret, Zeroizing::new(value.to_vec()))];
    for before in 0..3 {
        let standard = base64(secret, value, before);
        let mut other = Zeroizing::new(standard.text.to_vec());
        for byte in other.iter_mut() {
            *byte = match *byte {
                b'+' => b'-',
                b'/' => b'_',
                same => same,
            };
        }
        if other != standard.text {
            needles.push(Needle {
                lead: standard.lead,
                tail: standard.tail,
                broken: true,
                ..Needle::new(secret, other)
            });
        }
        needles.push(standard);
    }
    needles
}

/// The characters that the value alone decides where `before` bytes stand before it in a group of
/// three, and what it decides of the two beside them (RFC 4648, section 4).
fn base64(secret: usize, value: &[u8], before: usize) -> Needle {
    let mut bytes = Zeroizing::new(vec![0; before]);
    bytes.extend_from_slice(value);
    let encoded = Zeroizing::new(Base64Unpadded::encode_string(&bytes));
    let (first, last) = (before * 8, bytes.len() * 8);
    let text = &encoded.as_bytes()[first.div_ceil(6)..last / 6];
    let edge = |at: usize, mask: u8| {
        let bits = sextet(encoded.as_bytes()[at]).unwrap_or_default() & mask;
        Edge { mask, bits }
    };
    let lead = match first % 6 {
        2 => Some(edge(first / 6, 0b00_1111)),
        4 => Some(edge(first / 6, 0b00_0011)),
        _ => None,
    };
    let tail = match last % 6 {
        2 => Some(edge(last / 6, 0b11_0000)),
        4 => Some(edge(last / 6, 0b11_1100)),
        _ => None,
    };
    Needle { lead, tail, broken: true, ..Needle::new(secret, Zeroizing::new(text.to_vec())) }
}

/// The value of a character of either alphabet.
fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

impl Needle {
    fn new(secret: usize, text: Zeroizing<Vec<u8>>) -> Self {
        let mut failure = vec![0; text.len()];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = failure[matched - 1];
            }
            if text[at] == text[matched] {
                matched += 1;
            }
            failure[at] = matched;
        }
        Self { secret, text, failure, lead: None, tail: None, broken: false }
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn first(&self) -> u8 {
        self.text[0]
    }

    /// How much of the text the end of a match may be the begin of.
    pub(super) fn border(&self) -> usize {
        self.failure[self.len() - 1]
    }

    /// How much of the text is matched after one more byte, when less than all of it was; all of it at
    /// a match.
    pub(super) fn step(&self, mut matched: usize, byte: u8) -> usize {
        while matched > 0 && self.text[matched] != byte {
            matched = self.failure[matched - 1];
        }
        matched + usize::from(self.text[matched] == byte)
    }
}
