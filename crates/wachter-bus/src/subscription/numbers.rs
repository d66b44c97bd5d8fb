//! Numbers as base-128 varints, least significant first, and a seal at their end: four bytes of SHA-256
//! over all before, so that what was damaged does not pass for something else.

use sha2::{Digest as _, Sha256};

/// Closes what was put together.
pub(super) fn seal(out: &mut Vec<u8>) {
    let check = Sha256::digest(&out);
    out.extend_from_slice(&check[..4]);
}

/// What was sealed; `None` if it is damaged.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (numbers, check) = bytes.split_last_chunk::<4>()?;
    (Sha256::digest(numbers)[..4] == check[..]).then_some(numbers)
}

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(low(number) | 0x80);
        number >>= 7;
    }
    out.push(low(number));
}

/// The lowest seven bits.
fn low(number: u64) -> u8 {
    u8::try_from(number & 0x7f).expect("seven bits fit into eight")
}

pub(super) fn take(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
