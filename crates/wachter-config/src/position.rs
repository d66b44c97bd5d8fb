use wachter_document::Place;

/// The place of a byte of a text that is a value at `place` of a document.
///
/// A value is found again in the document line by line, so it may be quoted, folded or a block. What
/// was escaped cannot be found, and then the place is that of the value.
pub(crate) fn within(document: &str, place: Place, value: &str, byte: usize) -> Place {
    find(document, place, value, byte).unwrap_or(place)
}

fn find(document: &str, place: Place, value: &str, byte: usize) -> Option<Place> {
    let before = value.get(..byte)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = value[start..].split('\n').next()?.trim_end();
    let indented = line.len() - line.trim_start().len();
    let (line, offset) = (line.trim_start(), (byte - start).checked_sub(indented)?);
    let first = usize::try_from(place.line).ok()?.checked_sub(1)?;
    // As far as the value can reach: its own lines, and the one that a block begins in.
    let reach = value.split('\n').count() + 1;
    for (index, source) in document.split('\n').enumerate().skip(first).take(reach) {
        let skipped = if index == first {
            let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
            source.char_indices().nth(column).map_or(source.len(), |(byte, _)| byte)
        } else {
            0
        };
        if let Some(found) = source.get(skipped..)?.find(line) {
            let column = source.get(..skipped + found + offset)?.chars().count() + 1;
            return Some(Place {
                source: place.source,
                line: u64::try_from(index).ok()? + 1,
                column: u64::try_from(column).ok()?,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_found_however_it_is_written() {
        for (document, column, value, byte, expected) in [
            ("where: a == b", 8, "a == b", 5, Some((1, 13))),
            ("where: \"a == b\"", 8, "a == b", 0, Some((1, 9))),
            ("where: |\n  a ==\n  b\n", 8, "a ==\nb\n", 5, Some((3, 3))),
            ("é: \"é == b\"", 4, "é == b", 6, Some((1, 10))),
            ("where: \"a \\\"b\\\"\"", 8, "a \"b\"", 2, None),
        ] {
            let place = Place { source: 0, line: 1, column };
            let found = within(document, place, value, byte);
            let expected = expected.unwrap_or((1, column));
            assert_eq!((found.line, found.column), expected, "{document}");
        }
    }

    proptest! {
        #[test]
        fn any_place_is_found_or_not(document: String, line in 0..5_u64, column in 0..9_u64, value: String, byte in 0..20_usize) {
            within(&document, Place { source: 0, line, column }, &value, byte);
        }
    }
}
