use base64ct::{Base64, Encoding as _};

pub(crate) const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

/// What `ssh-keygen` writes.
const LINE_LENGTH: usize = 70;

/// A file may hold one signature each of several signers; more than this is an attempt to make a
/// verifier work.
pub(crate) const MAX_BLOCKS: usize = 64;

/// No supported signature comes near it: RSA with 16,384 bits takes 5 KiB.
pub(crate) const MAX_BLOCK_BYTES: usize = 16 * 1024;

/// Why a text is not a sequence of armored SSH signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// Nothing between the start and the end of the text.
    #[error("there is no signature; make one with `ssh-keygen -Y sign` or `wachter sign`")]
    Empty,
    /// Something else where a block must begin.
    #[error("line {line}: expected `{BEGIN}` alone on its line")]
    Begin {
        /// Counted from 1.
        line: usize,
    },
    /// A block that does not end.
    #[error("line {line}: the signature that begins here has no `{END}` line")]
    End {
        /// Counted from 1.
        line: usize,
    },
    /// Not base64, RFC 4648 section 4, with padding.
    #[error("line {line}: the signature that begins here is not base64")]
    Base64 {
        /// Counted from 1.
        line: usize,
    },
    /// More than 64 blocks.
    #[error("there are more than {MAX_BLOCKS} signatures")]
    TooMany,
    /// One block beyond 16 KiB.
    #[error("line {line}: the signature that begins here is longer than {MAX_BLOCK_BYTES} bytes")]
    TooLong {
        /// Counted from 1.
        line: usize,
    },
}

/// Takes the armor off each block of `text`, in order; at least one.
///
/// A single block is taken as `ssh-keygen` takes it: the header must be the first thing and end
/// with a line feed, base64 may be broken anywhere. Between and after blocks only blank lines may
/// stand, where `ssh-keygen` ignores anything: a second signature with a typing error must not
/// vanish silently.
pub(crate) fn dearmor(text: &[u8]) -> Result<Vec<Vec<u8>>, ArmorError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    loop {
        if !blocks.is_empty() {
            rest = skip_blanks(rest);
        }
        let line =
            1 + text[..text.len() - rest.len()].iter().filter(|byte| **byte == b'\n').count();
        if rest.is_empty() {
            return if blocks.is_empty() { Err(ArmorError::Empty) } else { Ok(blocks) };
        }
        if blocks.len() == MAX_BLOCKS {
            return Err(ArmorError::TooMany);
        }
        let body = rest
            .strip_prefix(BEGIN.as_bytes())
            .and_then(|body| body.strip_prefix(b"\n"))
            .ok_or(ArmorError::Begin { line })?;
        let end = find_footer(body).ok_or(ArmorError::End { line })?;
        if end > MAX_BLOCK_BYTES {
            return Err(ArmorError::TooLong { line });
        }
        let base64: Vec<u8> = body[..end].iter().copied().filter(|byte| !is_blank(*byte)).collect();
        let base64 = std::str::from_utf8(&base64).map_err(|_| ArmorError::Base64 { line })?;
        blocks.push(Base64::decode_vec(base64).map_err(|_| ArmorError::Base64 { line })?);
        rest = &body[end + 1 + END.len()..];
    }
}

/// Puts one signature into armor, as `ssh-keygen` writes it.
pub(crate) fn armor(blob: &[u8]) -> String {
    let base64 = Base64::encode_string(blob);
    let mut text = format!("{BEGIN}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(LINE_LENGTH.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// Where the line feed before the footer stands.
fn find_footer(body: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(offset) = body[from..].iter().position(|byte| *byte == b'\n') {
        let at = from + offset;
        if body[at + 1..].starts_with(END.as_bytes()) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|byte| is_blank(**byte)).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<&[&[u8]], ArmorError>) {
        let expected = expected.map(|blocks| blocks.iter().map(|block| block.to_vec()).collect());
        assert_eq!(dearmor(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn takes_what_ssh_keygen_takes() {
        let one = format!("{BEGIN}\nYWJj\n{END}\n");
        check(&one, Ok(&[b"abc"]));
        check(one.trim_end(), Ok(&[b"abc"]));
        check(&format!("{BEGIN}\nYW\r\n Jj\t\n{END}"), Ok(&[b"abc"]));
        check(&format!("{one}\n\n{one}"), Ok(&[b"abc", b"abc"]));
        check(&format!("{one}\r\n{one} \n"), Ok(&[b"abc", b"abc"]));
        check("", Err(ArmorError::Empty));
        check("\n", Err(ArmorError::Begin { line: 1 }));
        check(&format!("\n{one}"), Err(ArmorError::Begin { line: 1 }));
        check(&format!(" {one}"), Err(ArmorError::Begin { line: 1 }));
        check(&one.replace("-----\n", "-----\r\n"), Err(ArmorError::Begin { line: 1 }));
        check(&one.replace("\n----", "\n ----"), Err(ArmorError::End { line: 1 }));
        check(&one.replace("YWJj", "YWJ"), Err(ArmorError::Base64 { line: 1 }));
        check(&one.replace("YWJj", "YQ=="), Ok(&[b"a"]));
        check(&one.replace("YWJj", "YR=="), Err(ArmorError::Base64 { line: 1 }));
        check(&one.replace("YWJj", "YW-j"), Err(ArmorError::Base64 { line: 1 }));
        check(&format!("{one}junk"), Err(ArmorError::Begin { line: 4 }));
        check(&format!("{one}{BEGIN}\nYWJj\n"), Err(ArmorError::End { line: 4 }));
        check(&one.repeat(MAX_BLOCKS + 1), Err(ArmorError::TooMany));
        check(&one.replace("YWJj", &"YWJj".repeat(5000)), Err(ArmorError::TooLong { line: 1 }));
    }

    proptest! {
        #[test]
        fn armor_comes_off_again(blob in prop::collection::vec(any::<u8>(), 1..500)) {
            prop_assert_eq!(dearmor(armor(&blob).as_bytes()), Ok(vec![blob]));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(middle: Vec<u8>, tail: Vec<u8>) {
            let mut text = format!("{BEGIN}\n").into_bytes();
            text.extend(middle);
            text.extend(format!("\n{END}").as_bytes());
            text.extend(tail);
            let _ = dearmor(&text);
        }
    }
}
