//! The SSH wire encoding (RFC 4251 section 5): what keys, signatures and agents need.

/// The input ended, or a length in it points past its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data ends too early")]
pub(crate) struct Truncated;

/// Reads from the front of `bytes`; never copies, never allocates.
#[derive(Clone, Copy)]
pub(crate) struct WireReader<'a> {
    bytes: &'a [u8],
}

impl<'a> WireReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.bytes.split_at_checked(length).ok_or(Truncated)?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, Truncated> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let length = usize::try_from(self.uint32()?).map_err(|_| Truncated)?;
        self.take(length)
    }

    /// A positive `mpint`, without the zero that keeps its first bit from being a sign. A second form of
    /// one number, zero and negative numbers count as damage.
    pub(crate) fn mpint(&mut self) -> Result<&'a [u8], Truncated> {
        match self.string()? {
            [0, number @ ..] if number.first().is_some_and(|first| *first >= 0x80) => Ok(number),
            number @ [1..0x80, ..] => Ok(number),
            _ => Err(Truncated),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Appends a `string`.
///
/// # Panics
/// When `bytes` has 4 GiB or more; every caller bounds its input far below.
pub(crate) fn put_string(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("callers bound their input below 4 GiB");
    into.extend(length.to_be_bytes());
    into.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_one_form() {
        for (bytes, expected) in [
            (&[1u8][..], Some(&[1u8][..])),
            (&[0x7f, 0], Some(&[0x7f, 0])),
            (&[0, 0x80], Some(&[0x80])),
            (&[0x80], None),
            (&[0, 1], None),
            (&[0, 0, 0x80], None),
            (&[0], None),
            (&[], None),
        ] {
            let mut text = Vec::new();
            put_string(&mut text, bytes);
            assert_eq!(WireReader::new(&text).mpint().ok(), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn strings_round_trip(bytes: Vec<u8>, rest: Vec<u8>) {
            let mut text = Vec::new();
            put_string(&mut text, &bytes);
            text.extend(&rest);
            let mut reader = WireReader::new(&text);
            prop_assert_eq!(reader.string(), Ok(&bytes[..]));
            prop_assert_eq!(reader.bytes, &rest[..]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = WireReader::new(&bytes);
            while !reader.is_empty() && reader.string().is_ok() {}
        }
    }
}
