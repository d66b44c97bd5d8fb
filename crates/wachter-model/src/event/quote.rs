/// The first `"` or `\` of `bytes` from `at` on, which is where a text of JSON ends or has an escape.
///
/// Eight bytes at a time: most texts are shorter than what a wider search pays off for.
pub(super) fn next_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut rest = bytes.get(at..)?;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found =
            zero_bytes(word ^ (LOW * b'"' as u64)) | zero_bytes(word ^ (LOW * b'\\' as u64));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        (rest, at) = (after, at + 8);
    }
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|place| at + place)
}

/// One in each byte.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The highest bit of the lowest byte that is 0, and maybe of ones above it.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LOW) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first(
            bytes in prop::collection::vec(
                prop_oneof![4 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(b'#')], 0..40,
            ),
            at in 0_usize..42,
        ) {
            let expected = (at..bytes.len()).find(|place| matches!(bytes[*place], b'"' | b'\\'));
            prop_assert_eq!(next_quote(&bytes, at), expected);
        }
    }
}
