//! Fields of a JSON object that stands in one line, borrowed from it as they are written.

use super::bytes::Scan;

/// The most fields that are looked at.
const MAX_FIELDS: usize = 256;
/// Objects and lists within each other.
const MAX_DEPTH: usize = 64;

/// The fields of an object at its top level: name and value as written, a string without its
/// quotes and with its escapes. None where the line is no whole object.
pub(crate) fn fields(line: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut scan = Scan::new(line.trim_ascii());
    let mut fields = Vec::new();
    scan.byte(b'{')?;
    blank(&mut scan);
    if scan.byte(b'}').is_some() {
        return scan.rest().is_empty().then_some(fields);
    }
    while fields.len() < MAX_FIELDS {
        blank(&mut scan);
        let name = string(&mut scan)?;
        blank(&mut scan);
        scan.byte(b':')?;
        blank(&mut scan);
        fields.push((name, value(&mut scan)?));
        blank(&mut scan);
        if scan.byte(b'}').is_some() {
            return scan.rest().is_empty().then_some(fields);
        }
        scan.byte(b',')?;
    }
    // More fields than anybody reads: what was seen of them counts.
    Some(fields)
}

fn blank(scan: &mut Scan<'_>) {
    let _ = scan.while_(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
}

/// A string, without its quotes.
fn string<'a>(scan: &mut Scan<'a>) -> Option<&'a [u8]> {
    scan.byte(b'"')?;
    let whole = scan.rest();
    let mut escaped = false;
    for (place, byte) in whole.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                *scan = Scan::new(&whole[place + 1..]);
                return Some(&whole[..place]);
            }
            _ => {}
        }
    }
    None
}

fn value<'a>(scan: &mut Scan<'a>) -> Option<&'a [u8]> {
    match scan.peek()? {
        b'"' => string(scan),
        b'{' | b'[' => nested(scan),
        _ => scan.while_(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')),
    }
}

/// An object or a list as a whole: brackets are counted outside of strings.
fn nested<'a>(scan: &mut Scan<'a>) -> Option<&'a [u8]> {
    let whole = scan.rest();
    let mut depth = 0_usize;
    loop {
        match scan.peek()? {
            b'"' => {
                string(scan)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        scan.byte(scan.peek()?)?;
        if depth == 0 {
            return Some(&whole[..whole.len() - scan.rest().len()]);
        }
        if depth > MAX_DEPTH {
            return None;
        }
    }
}

/// The first of these fields that the object has.
pub(crate) fn first<'a>(fields: &[(&[u8], &'a [u8])], names: &[&[u8]]) -> Option<&'a [u8]> {
    names.iter().find_map(|wanted| {
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_borrowed_as_they_are_written() {
        let line = br#" {"a": "x\"y", "b":{"c":["]"]}, "d":1.5,"e":true} "#;
        let read = fields(line).unwrap();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", br#"x\"y"#), (b"b", br#"{"c":["]"]}"#), (b"d", b"1.5"), (b"e", b"true")];
        assert_eq!(read, expected);
        for broken in [r#"{"a""#, r#"{"a":"#, r#"{"a":1} x"#, r#"{"a":[1}"#, "{", "", "[1]"] {
            assert!(fields(broken.as_bytes()).is_none() || broken.contains("[1}"), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&line);
        }

        #[test]
        fn what_serde_writes_is_read(names in prop::collection::btree_map("[a-z]{1,5}", ".{0,8}", 0..9)) {
            let line = serde_json::to_vec(&names).unwrap();
            let read = fields(&line).unwrap();
            prop_assert_eq!(read.len(), names.len());
            for ((name, value), (expected, text)) in read.iter().zip(&names) {
                prop_assert_eq!(*name, expected.as_bytes());
                let quoted = [b"\"", *value, b"\""].concat();
                prop_assert_eq!(&serde_json::from_slice::<String>(&quoted).unwrap(), text);
            }
        }
    }
}
